"""The inbox of each person, and what they chose to be told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

PREFIXED_ID = sa.String(collation="C")
MOMENT = sa.DateTime(timezone=True)
NOW = sa.text("app_now()")


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", PREFIXED_ID, nullable=False),
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("team_id", PREFIXED_ID, nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("fact", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("link", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("read_at", MOMENT, nullable=True),
        sa.Column("dismissed_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "severity in ('info', 'success', 'warning', 'danger')", name=op.f("ck_notifications_severity")
        ),
        sa.CheckConstraint("dismissed_at is null or read_at is not null", name=op.f("ck_notifications_dismissed_at")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_notifications_user_id")),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_notifications_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("user_id", "fact", name=op.f("uq_notifications_user_id_fact")),
    )
    op.create_index("ix_notifications_of_person", "notifications", ["user_id", "created_at", "id"])
    op.create_index(
        "ix_notifications_unread", "notifications", ["user_id"], postgresql_where=sa.text("read_at is null")
    )
    op.create_index("ix_notifications_created_at", "notifications", ["created_at"])
    op.create_table(
        "notification_preferences",
        sa.Column("user_id", PREFIXED_ID, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("changed_at", MOMENT, server_default=NOW, nullable=False),
        sa.CheckConstraint("channel in ('mail', 'inbox')", name=op.f("ck_notification_preferences_channel")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_notification_preferences_user_id")),
        sa.PrimaryKeyConstraint("user_id", "kind", "channel", name=op.f("pk_notification_preferences")),
    )


def downgrade() -> None:
    op.drop_table("notification_preferences")
    op.drop_table("notifications")
