"""Sessions as rows; a person's locale and zone, second factor, and what mailed links are checked against."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0010"
down_revision = "0009"

PREFIXED_ID = sa.String(collation="C")
OF_USERS = (
    sa.Column("locale", sa.String(), nullable=True),
    sa.Column("time_zone", sa.String(), nullable=True),
    sa.Column("tf_primary_method", sa.String(), nullable=True),
    sa.Column("tf_totp_secret", sa.String(), nullable=True),
    sa.Column("tf_last_counter", sa.BigInteger(), nullable=True),
    sa.Column("mf_recovery_codes", ARRAY(sa.TEXT()), nullable=True),
    sa.Column("reset_digest", sa.String(), nullable=True),
    sa.Column("new_email", sa.String(), nullable=True),
    sa.Column("new_email_digest", sa.String(), nullable=True),
    sa.Column("new_email_until", sa.DateTime(timezone=True), nullable=True),
)


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.Column("proven_at", sa.DateTime(timezone=True), server_default=sa.text("app_now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ip", sa.String(), nullable=True),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.CheckConstraint("length(digest) = 64", name=op.f("ck_sessions_digest")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("digest", name=op.f("uq_sessions_digest")),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    for column in OF_USERS:
        op.add_column("users", column.copy())


def downgrade() -> None:
    for column in reversed(OF_USERS):
        op.drop_column("users", column.name)
    op.drop_table("sessions")
