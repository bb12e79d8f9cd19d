"""Which API key has credits held, so that its budget stops holds too and counts what was settled of them.

Holds from before this have no key and count towards no budget. Nothing is rewritten: the column is null in them. A run that
was cut off is completed by the next, since the second part commits what came before it.
"""

from __future__ import annotations

from alembic import op

revision = "0033"
down_revision = "0032"

FOREIGN_KEY = "fk_credit_holds_api_key_id"
# As of 0027, with one column more among those that stay as they are.
GUARD_HOLD = """
create or replace function guard_credit_hold() returns trigger language plpgsql as $$
begin
    if old.state <> 'open' or new.state = 'open' then
        raise exception 'credit hold %: it is closed once', old.id using errcode = 'restrict_violation';
    end if;
    if (new.id, new.team_id, new.cause_key, new.amount, new.meter, new.quantity, new.expires_in, new.created_at,
            new.expires_at, new.spend_order, new.opened_version{columns})
        is distinct from
        (old.id, old.team_id, old.cause_key, old.amount, old.meter, old.quantity, old.expires_in, old.created_at,
            old.expires_at, old.spend_order, old.opened_version{old_columns})
    then
        raise exception 'credit hold %: only how it is closed may change', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$
"""
INDEX = "ix_credit_holds_plain_of_key"


def upgrade() -> None:
    op.execute('alter table credit_holds add column if not exists api_key_id varchar collate "C"')
    op.execute(f"alter table credit_holds drop constraint if exists {FOREIGN_KEY}")
    op.execute(
        f"alter table credit_holds add constraint {FOREIGN_KEY} foreign key (api_key_id) references api_keys (id) not valid"
    )
    op.execute(GUARD_HOLD.format(columns=", new.api_key_id", old_columns=", old.api_key_id"))
    with op.get_context().autocommit_block():
        op.execute(f"alter table credit_holds validate constraint {FOREIGN_KEY}")
        op.execute("set lock_timeout = 0")  # it waits for the writers of the table, and nobody waits for it
        op.execute(f"drop index concurrently if exists {INDEX}")
        op.execute(
            f"create index concurrently {INDEX} on credit_holds (api_key_id, closed_at) include (settled)"
            " where meter is null and api_key_id is not null"
        )
        op.execute("set lock_timeout = '4s'")


def downgrade() -> None:
    op.execute(GUARD_HOLD.format(columns="", old_columns=""))
    op.drop_column("credit_holds", "api_key_id")
