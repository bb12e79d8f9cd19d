"""Holds: credits kept for a use under way, and how much of which lot each keeps.

The new columns of the lots need no rewriting, and their checks are validated beside the running application. While the
check of the states is exchanged, the new one stands already.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026b"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)

STATE = (
    "case state when 'waiting' then remaining = amount when 'live' then remaining > 0"
    " when 'used' then remaining = 0 when 'ended' then {ended} else false end"
)
CHECKS = {
    "state": STATE.format(ended="remaining = 0 or held > 0"),
    "held": "held between 0 and remaining and (state <> 'waiting' or held = 0)",
    "lapsed_version": "lapsed_version is null or state = 'ended'",
}
HOLD_STATE = (
    "case state when 'open' then settled = 0 and entry_id is null and closed_at is null and closed_version is null"
    " when 'settled' then settled between 1 and amount and entry_id is not null and closed_at is not null"
    " and closed_version > opened_version"
    " when 'released' then settled = 0 and entry_id is null and closed_at is not null"
    " and closed_version >= opened_version"
    " when 'expired' then settled = 0 and entry_id is null and closed_at is not null"
    " and closed_version >= opened_version else false end"
)

# A hold is closed once; how it was made and how it was closed stay.
GUARD_HOLD = """
create function guard_credit_hold() returns trigger language plpgsql as $$
begin
    if old.state <> 'open' or new.state = 'open' then
        raise exception 'credit hold %: it is closed once', old.id using errcode = 'restrict_violation';
    end if;
    if (new.id, new.team_id, new.cause_key, new.amount, new.meter, new.quantity, new.expires_in, new.created_at,
            new.expires_at, new.spend_order, new.opened_version)
        is distinct from
        (old.id, old.team_id, old.cause_key, old.amount, old.meter, old.quantity, old.expires_in, old.created_at,
            old.expires_at, old.spend_order, old.opened_version)
    then
        raise exception 'credit hold %: only how it is closed may change', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$
"""
GUARD_HOLD_LOT = """
create function guard_credit_hold_lot() returns trigger language plpgsql as $$
begin
    if (new.hold_id, new.grant_id, new.team_id, new.amount)
        is distinct from (old.hold_id, old.grant_id, old.team_id, old.amount) or old.repaid <> 0
    then
        raise exception 'credit hold %: of its lots only what is repaid is said, once', old.hold_id
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$
"""
GUARDS = {"credit_holds": "guard_credit_hold", "credit_hold_lots": "guard_credit_hold_lot"}


def upgrade() -> None:
    op.add_column("credit_grants", sa.Column("held", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("credit_grants", sa.Column("lapsed_version", sa.BigInteger(), nullable=True))
    op.execute("alter table credit_grants drop constraint ck_credit_grants_state")
    for name, check in CHECKS.items():
        op.execute(f"alter table credit_grants add constraint ck_credit_grants_{name} check ({check}) not valid")
    _holds()
    _hold_lots()
    _triggers()
    with op.get_context().autocommit_block():
        for name in CHECKS:
            op.execute(f"alter table credit_grants validate constraint ck_credit_grants_{name}")


def _holds() -> None:
    op.create_table(
        "credit_holds",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("cause_key", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("meter", sa.String(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=True),
        sa.Column("expires_in", sa.Interval(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("settled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("entry_id", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("spend_order", sa.String(), nullable=False),
        sa.Column("opened_version", sa.BigInteger(), nullable=False),
        sa.Column("closed_version", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_holds_amount")),
        sa.CheckConstraint(
            "(meter is null) = (quantity is null) and quantity > 0", name=op.f("ck_credit_holds_quantity")
        ),
        sa.CheckConstraint(
            "expires_in > interval '0' and expires_at > created_at", name=op.f("ck_credit_holds_expires_at")
        ),
        sa.CheckConstraint("spend_order in ('expiry', 'kind')", name=op.f("ck_credit_holds_spend_order")),
        sa.CheckConstraint(HOLD_STATE, name=op.f("ck_credit_holds_state")),
        sa.ForeignKeyConstraint(["team_id"], ["credit_accounts.team_id"], name=op.f("fk_credit_holds_team_id")),
        sa.ForeignKeyConstraint(
            ["team_id", "entry_id"],
            ["credit_entries.team_id", "credit_entries.id"],
            name=op.f("fk_credit_holds_team_id_entry_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_holds")),
        sa.UniqueConstraint("team_id", "cause_key", name=op.f("uq_credit_holds_team_id_cause_key")),
        sa.UniqueConstraint("team_id", "id", name=op.f("uq_credit_holds_team_id_id")),
        sa.UniqueConstraint("team_id", "entry_id", name=op.f("uq_credit_holds_team_id_entry_id")),
    )
    is_open = sa.text("state = 'open'")
    op.create_index("ix_credit_holds_open", "credit_holds", ["team_id", "expires_at"], postgresql_where=is_open)
    op.create_index("ix_credit_holds_expiring", "credit_holds", ["expires_at"], postgresql_where=is_open)
    op.create_index("ix_credit_holds_team_id_created_at", "credit_holds", ["team_id", "created_at"])


def _hold_lots() -> None:
    op.create_table(
        "credit_hold_lots",
        sa.Column("hold_id", PREFIXED_ID, nullable=False),
        sa.Column("grant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("repaid", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_hold_lots_amount")),
        sa.CheckConstraint("repaid between 0 and amount", name=op.f("ck_credit_hold_lots_repaid")),
        sa.ForeignKeyConstraint(
            ["team_id", "hold_id"],
            ["credit_holds.team_id", "credit_holds.id"],
            name=op.f("fk_credit_hold_lots_team_id_hold_id"),
        ),
        sa.ForeignKeyConstraint(
            ["team_id", "grant_id"],
            ["credit_grants.team_id", "credit_grants.id"],
            name=op.f("fk_credit_hold_lots_team_id_grant_id"),
        ),
        sa.PrimaryKeyConstraint("hold_id", "grant_id", name=op.f("pk_credit_hold_lots")),
    )


def _triggers() -> None:
    op.execute(GUARD_HOLD)
    op.execute(GUARD_HOLD_LOT)
    for table, guard in GUARDS.items():
        op.execute(f"create trigger {table}_guard before update on {table} for each row execute function {guard}()")
        op.execute(
            f"create trigger {table}_no_delete before delete on {table} for each row execute function refuse_change()"
        )
        op.execute(
            f"create trigger {table}_no_truncate before truncate on {table}"
            " for each statement execute function refuse_change()"
        )


def downgrade() -> None:
    op.drop_table("credit_hold_lots")
    op.drop_table("credit_holds")
    for guard in GUARDS.values():
        op.execute(f"drop function {guard}()")
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_credit_grants_{name}"), "credit_grants", type_="check")
    op.drop_column("credit_grants", "lapsed_version")
    op.drop_column("credit_grants", "held")
    state = STATE.format(ended="remaining = 0")
    op.execute(f"alter table credit_grants add constraint ck_credit_grants_state check ({state}) not valid")
    with op.get_context().autocommit_block():
        op.execute("alter table credit_grants validate constraint ck_credit_grants_state")
