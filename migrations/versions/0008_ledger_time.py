"""A ledger account's time may be put back, once the clock that had run ahead is right again."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

GUARD = """
create or replace function guard_credit_account() returns trigger language plpgsql as $$
begin
    if new.team_id <> old.team_id or new.version < old.version {and_time} then
        raise exception 'credit account %: {message}', old.team_id using errcode = 'restrict_violation';
    end if;
    return new;
end $$
"""


def upgrade() -> None:
    op.execute(GUARD.format(and_time="", message="its version never falls"))


def downgrade() -> None:
    op.execute(
        GUARD.format(
            and_time="or new.as_of < old.as_of", message="its version never falls and its time never runs back"
        )
    )
