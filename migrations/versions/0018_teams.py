"""Invitations, and the rule that a team keeps an owner."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)
OPEN = "accepted_at is null and revoked_at is null"

# Two owners who remove each other at once see each other still there. The team's row makes the second one wait, and
# then look again. Told at the end of the transaction, so that one owner may follow another within it.
KEEP_AN_OWNER = """
create function keep_an_owner() returns trigger language plpgsql as $$
begin
    perform 1 from teams where id = old.team_id for no key update;
    if found and not exists (select 1 from memberships where team_id = old.team_id and role = 'owner') then
        raise exception 'team % would have no owner', old.team_id using errcode = 'restrict_violation';
    end if;
    return null;
end
$$
"""
KEEP_AN_OWNER_TRIGGER = """
create constraint trigger keep_an_owner after delete or update on memberships
deferrable initially deferred for each row when (old.role = 'owner') execute function keep_an_owner()
"""


def upgrade() -> None:
    op.create_table(
        "invitations",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("invited_by_id", PREFIXED_ID, nullable=False),
        sa.Column("sent_at", MOMENT, server_default=sa.text("app_now()"), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("accepted_at", MOMENT, nullable=True),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.CheckConstraint("role in ('admin', 'billing', 'member')", name=op.f("ck_invitations_role")),
        sa.CheckConstraint("length(digest) = 64", name=op.f("ck_invitations_digest")),
        sa.CheckConstraint("accepted_at is null or revoked_at is null", name=op.f("ck_invitations_end")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_invitations_team_id")),
        sa.ForeignKeyConstraint(["invited_by_id"], ["users.id"], name=op.f("fk_invitations_invited_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("digest", name=op.f("uq_invitations_digest")),
    )
    address = sa.text("lower(email)")
    op.create_index(
        "uq_invitations_one_open", "invitations", ["team_id", address], unique=True, postgresql_where=sa.text(OPEN)
    )
    op.create_index("ix_invitations_open_of_address", "invitations", [address], postgresql_where=sa.text(OPEN))
    op.create_index("ix_invitations_expires_at", "invitations", ["expires_at"])
    op.execute(KEEP_AN_OWNER)
    op.execute(KEEP_AN_OWNER_TRIGGER)


def downgrade() -> None:
    op.execute("drop trigger keep_an_owner on memberships")
    op.execute("drop function keep_an_owner()")
    op.drop_table("invitations")
