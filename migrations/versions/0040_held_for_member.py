"""Which member credits are held for, so that the member's budget stops holds too and what is settled of them is the member's.

Holds from before this are for nobody. Nothing is rewritten: the column is null in them. A run that was cut off is completed by
the next, since the second part commits what came before it.
"""

from __future__ import annotations

from alembic import op

revision = "0040"
down_revision = "0039"

FOREIGN_KEY = "fk_credit_holds_user_id"
# As of 0033, with one column more among those that stay as they are.
GUARD_HOLD = """
create or replace function guard_credit_hold() returns trigger language plpgsql as $$
begin
    if old.state <> 'open' or new.state = 'open' then
        raise exception 'credit hold %: it is closed once', old.id using errcode = 'restrict_violation';
    end if;
    if (new.id, new.team_id, new.cause_key, new.amount, new.meter, new.quantity, new.expires_in, new.created_at,
            new.expires_at, new.spend_order, new.opened_version, new.api_key_id{columns})
        is distinct from
        (old.id, old.team_id, old.cause_key, old.amount, old.meter, old.quantity, old.expires_in, old.created_at,
            old.expires_at, old.spend_order, old.opened_version, old.api_key_id{old_columns})
    then
        raise exception 'credit hold %: only how it is closed may change', old.id using errcode = 'restrict_violation';
    end if;
    return new;
end $$
"""


def upgrade() -> None:
    op.execute('alter table credit_holds add column if not exists user_id varchar collate "C"')
    op.execute(f"alter table credit_holds drop constraint if exists {FOREIGN_KEY}")
    op.execute(
        f"alter table credit_holds add constraint {FOREIGN_KEY} foreign key (user_id) references users (id) not valid"
    )
    op.execute(GUARD_HOLD.format(columns=", new.user_id", old_columns=", old.user_id"))
    with op.get_context().autocommit_block():
        op.execute(f"alter table credit_holds validate constraint {FOREIGN_KEY}")


def downgrade() -> None:
    op.execute(GUARD_HOLD.format(columns="", old_columns=""))
    op.drop_column("credit_holds", "user_id")
