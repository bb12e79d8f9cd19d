"""Indexes of accounts, built beside running work: apart from the columns, which are short work under a lock."""

from __future__ import annotations

from alembic import op

revision = "0010b"
down_revision = "0010"

INDEXES = {
    "uq_users_new_email_digest": "unique index concurrently uq_users_new_email_digest on users (new_email_digest)",
    "ix_audit_entries_of_person": "index concurrently ix_audit_entries_of_person"
    " on audit_entries (target, id) where team_id is null",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")  # it waits for the readers of the table, and nobody waits for it
        for name, index in INDEXES.items():
            # One that was cut off is there and not valid: it is built anew.
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create {index}")
        op.execute("set lock_timeout = '4s'")


def downgrade() -> None:
    op.drop_index("ix_audit_entries_of_person", table_name="audit_entries")
    op.drop_index("uq_users_new_email_digest", table_name="users")
