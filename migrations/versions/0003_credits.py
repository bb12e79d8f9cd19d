"""The credit ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)

APPEND_ONLY = ("credit_entries", "credit_consumptions", "credit_reversals")

REFUSE_CHANGE = """
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op)
        using errcode = 'restrict_violation', hint = 'Correct it with a new row.';
end $$
"""

# A grant is a fact with a life: what it is stays, and its life only goes forward.
GUARD_GRANT = """
create function guard_credit_grant() returns trigger language plpgsql as $$
begin
    if (new.id, new.team_id, new.kind, new.amount, new.cause_key, new.source, new.effective_at, new.created_at)
        is distinct from
        (old.id, old.team_id, old.kind, old.amount, old.cause_key, old.source, old.effective_at, old.created_at)
        or new.expires_at is distinct from old.expires_at
    then
        raise exception 'credit grant %: only remaining and state may change', old.id
            using errcode = 'restrict_violation';
    end if;
    if new.remaining > old.remaining then
        raise exception 'credit grant %: remaining may only fall', old.id using errcode = 'restrict_violation';
    end if;
    if array_position(array['waiting', 'live', 'used', 'ended'], new.state)
        < array_position(array['waiting', 'live', 'used', 'ended'], old.state)
    then
        raise exception 'credit grant %: it cannot go from % back to %', old.id, old.state, new.state
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$
"""

GUARD_ACCOUNT = """
create function guard_credit_account() returns trigger language plpgsql as $$
begin
    if new.team_id <> old.team_id or new.version < old.version or new.as_of < old.as_of then
        raise exception 'credit account %: its version never falls and its time never runs back', old.team_id
            using errcode = 'restrict_violation';
    end if;
    return new;
end $$
"""


def upgrade() -> None:
    _accounts()
    _grants()
    _entries()
    _consumptions()
    _reversals()
    _triggers()


def _accounts() -> None:
    op.create_table(
        "credit_accounts",
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("available", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("debt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("as_of", MOMENT, server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("available >= 0", name=op.f("ck_credit_accounts_available")),
        sa.CheckConstraint("reserved >= 0", name=op.f("ck_credit_accounts_reserved")),
        sa.CheckConstraint("debt >= 0", name=op.f("ck_credit_accounts_debt")),
        sa.CheckConstraint("debt = 0 or available = 0", name=op.f("ck_credit_accounts_debt_is_repaid_first")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_credit_accounts_team_id")),
        sa.PrimaryKeyConstraint("team_id", name=op.f("pk_credit_accounts")),
        postgresql_with={"fillfactor": 50},
    )


def _grants() -> None:
    op.create_table(
        "credit_grants",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("effective_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("cause_key", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint(
            "kind in ('subscription', 'bundle', 'gift', 'adjustment')", name=op.f("ck_credit_grants_kind")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_grants_amount")),
        sa.CheckConstraint("remaining between 0 and amount", name=op.f("ck_credit_grants_remaining")),
        sa.CheckConstraint("expires_at >= effective_at", name=op.f("ck_credit_grants_expires_at")),
        sa.CheckConstraint(
            "case state when 'waiting' then remaining = amount when 'live' then remaining > 0"
            " when 'used' then remaining = 0 when 'ended' then remaining = 0 else false end",
            name=op.f("ck_credit_grants_state"),
        ),
        sa.ForeignKeyConstraint(["team_id"], ["credit_accounts.team_id"], name=op.f("fk_credit_grants_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_grants")),
        sa.UniqueConstraint("team_id", "cause_key", name=op.f("uq_credit_grants_team_id_cause_key")),
        sa.UniqueConstraint("team_id", "id", name=op.f("uq_credit_grants_team_id_id")),
        postgresql_with={"fillfactor": 50},
    )
    for name, column, where in (
        ("open", "team_id", "state in ('waiting', 'live')"),
        ("starting", "effective_at", "state = 'waiting'"),
        ("expiring", "expires_at", "state = 'live'"),
    ):
        op.create_index(f"ix_credit_grants_{name}", "credit_grants", [column], postgresql_where=sa.text(where))


def _entries() -> None:
    op.create_table(
        "credit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("cause_key", sa.String(), nullable=False),
        sa.Column("grant_id", sa.BigInteger(), nullable=True),
        sa.Column("spend_order", sa.String(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "case kind when 'granted' then amount > 0 when 'adjusted' then amount > 0 when 'spent' then amount < 0"
            " when 'expired' then amount < 0 when 'reversed' then amount < 0 else false end",
            name=op.f("ck_credit_entries_amount"),
        ),
        sa.CheckConstraint("(kind = 'spent') = (grant_id is null)", name=op.f("ck_credit_entries_grant_id")),
        sa.CheckConstraint("spend_order in ('expiry', 'kind')", name=op.f("ck_credit_entries_spend_order")),
        sa.CheckConstraint(
            "(kind in ('spent', 'reversed')) = (spend_order is not null)", name=op.f("ck_credit_entries_ordered")
        ),
        sa.ForeignKeyConstraint(["team_id"], ["credit_accounts.team_id"], name=op.f("fk_credit_entries_team_id")),
        sa.ForeignKeyConstraint(
            ["team_id", "grant_id"],
            ["credit_grants.team_id", "credit_grants.id"],
            name=op.f("fk_credit_entries_team_id_grant_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_entries")),
        sa.UniqueConstraint("team_id", "cause_key", name=op.f("uq_credit_entries_team_id_cause_key")),
        sa.UniqueConstraint("team_id", "version", name=op.f("uq_credit_entries_team_id_version")),
        sa.UniqueConstraint("team_id", "id", name=op.f("uq_credit_entries_team_id_id")),
    )
    op.create_index(
        "ix_credit_entries_of_grants",
        "credit_entries",
        ["team_id", "grant_id", "version"],
        postgresql_where=sa.text("grant_id is not null"),
    )


def _consumptions() -> None:
    op.create_table(
        "credit_consumptions",
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("grant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_consumptions_amount")),
        sa.ForeignKeyConstraint(
            ["team_id", "entry_id"],
            ["credit_entries.team_id", "credit_entries.id"],
            name=op.f("fk_credit_consumptions_team_id_entry_id"),
        ),
        sa.ForeignKeyConstraint(
            ["team_id", "grant_id"],
            ["credit_grants.team_id", "credit_grants.id"],
            name=op.f("fk_credit_consumptions_team_id_grant_id"),
        ),
        sa.PrimaryKeyConstraint("entry_id", "grant_id", name=op.f("pk_credit_consumptions")),
    )


def _reversals() -> None:
    op.create_table(
        "credit_reversals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("grant_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("cause_key", sa.String(), nullable=False),
        sa.Column("ordered_at", MOMENT, server_default=sa.text("app_now()"), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_reversals_amount")),
        sa.ForeignKeyConstraint(
            ["team_id", "grant_id"],
            ["credit_grants.team_id", "credit_grants.id"],
            name=op.f("fk_credit_reversals_team_id_grant_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_reversals")),
        sa.UniqueConstraint("team_id", "cause_key", name=op.f("uq_credit_reversals_team_id_cause_key")),
    )
    op.create_index("ix_credit_reversals_team_id_grant_id", "credit_reversals", ["team_id", "grant_id"])


def _triggers() -> None:
    op.execute(REFUSE_CHANGE)
    op.execute(GUARD_GRANT)
    op.execute(GUARD_ACCOUNT)
    for table in APPEND_ONLY:
        op.execute(
            f"create trigger {table}_append_only before update or delete on {table}"
            " for each row execute function refuse_change()"
        )
    for table in (*APPEND_ONLY, "credit_grants", "credit_accounts"):
        op.execute(
            f"create trigger {table}_no_truncate before truncate on {table}"
            " for each statement execute function refuse_change()"
        )
    for table in ("credit_grants", "credit_accounts"):
        op.execute(
            f"create trigger {table}_no_delete before delete on {table} for each row execute function refuse_change()"
        )
    for table, guard in (("credit_grants", "guard_credit_grant"), ("credit_accounts", "guard_credit_account")):
        op.execute(f"create trigger {table}_guard before update on {table} for each row execute function {guard}()")


def downgrade() -> None:
    for table in ("credit_reversals", "credit_consumptions", "credit_entries", "credit_grants", "credit_accounts"):
        op.drop_table(table)
    for function in ("refuse_change", "guard_credit_grant", "guard_credit_account"):
        op.execute(f"drop function {function}()")
