"""Users and their sessions, the teams they belong to or are invited to, and the API keys of a team."""

from __future__ import annotations

from typing import Any

from flask_security import RoleMixin, UserMixin
from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TEXT
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.authz import Role
from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime
from portal.core.ids import new_id

# Tables that tell history: rows are added and never changed.
APPEND_ONLY = ("audit_entries",)


class User(Model, UserMixin):
    """A person who can sign in. `fs_uniquifier` is what a session names; changing it ends all sessions."""

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_email_lower", text("lower(email)"), unique=True),
        Index("uq_users_new_email_digest", "new_email_digest", unique=True),
    )

    id: Mapped[PrimaryId]  # type: ignore[assignment]  # the library says int and never looks
    email: Mapped[str]
    name: Mapped[str] = mapped_column(default="")
    password: Mapped[str | None]
    active: Mapped[bool] = mapped_column(default=True)
    is_staff: Mapped[bool] = mapped_column(default=False)
    fs_uniquifier: Mapped[str] = mapped_column(unique=True)
    confirmed_at: Mapped[UtcDateTime | None]
    locale: Mapped[str | None]
    time_zone: Mapped[str | None]
    # The second factor, under the names the accounts library looks for: secret and codes are encrypted.
    tf_primary_method: Mapped[str | None]
    tf_totp_secret: Mapped[str | None]
    tf_last_counter: Mapped[int | None] = mapped_column(BigInteger)
    mf_recovery_codes: Mapped[list[str] | None] = mapped_column(ARRAY(TEXT))
    # Of the newest mailed link to a new password, and of the one that proves a new address.
    reset_digest: Mapped[str | None]
    new_email: Mapped[str | None]
    new_email_digest: Mapped[str | None]
    new_email_until: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    memberships: Mapped[list[Membership]] = relationship(back_populates="user", order_by="Membership.created_at")

    # The library asks for roles on the user; ours belong to the membership, so that a person may have several.
    roles: list[RoleMixin] = []  # noqa: RUF012  the library's type; nobody adds to it

    def __init__(self, **values: Any) -> None:
        values.pop("roles", None)
        values.setdefault("id", new_id("user"))
        super().__init__(**values)

    @property
    def display_name(self) -> str:
        return self.name or self.email.split("@")[0]

    @property
    def initials(self) -> str:
        return initials_of(self.display_name)


class UserSession(Model):
    """One sign-in on one device. Its cookie carries a token of which only the digest is kept; no row, no session."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("length(digest) = 64", name="digest"),
        Index("ix_sessions_user_id", "user_id"),
        Index("ix_sessions_expires_at", "expires_at"),
    )

    id: Mapped[PrimaryId]
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    digest: Mapped[str] = mapped_column(unique=True)
    kept: Mapped[bool]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    last_seen_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    proven_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    expires_at: Mapped[UtcDateTime]
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("ses"))
        super().__init__(**values)


class Team(Model):
    """The customer: what plans, credits, invoices and keys belong to."""

    __tablename__ = "teams"

    id: Mapped[PrimaryId]
    name: Mapped[str]
    billing_email: Mapped[str]
    currency: Mapped[str] = mapped_column(default="usd")
    time_zone: Mapped[str] = mapped_column(default="UTC")
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("team"))
        super().__init__(**values)

    @property
    def initials(self) -> str:
        return initials_of(self.name)


class BillingEmailChange(Model):
    """Another billing address that a team has asked for, until its reader uses the mailed link. The newest one counts."""

    __tablename__ = "billing_email_changes"
    __table_args__ = (CheckConstraint("length(digest) = 64", name="digest"),)

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    email: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    asked_by_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    expires_at: Mapped[UtcDateTime]


class Membership(Model):
    __tablename__ = "memberships"
    __table_args__ = (
        UniqueConstraint("team_id", "user_id"),
        CheckConstraint("role in ('owner', 'admin', 'billing', 'member')", name="role"),
        Index("ix_memberships_user_id", "user_id"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    role: Mapped[str]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    team: Mapped[Team] = relationship()
    user: Mapped[User] = relationship(back_populates="memberships")

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("mem"))
        values["role"] = Role(values["role"]).value
        super().__init__(**values)


class Invitation(Model):
    """One address asked into a team. Its mailed link carries a token of which only the digest is kept.

    Open until it is accepted or revoked; past `expires_at` it can only be sent again. Sending makes a new token.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        # An owner is made of a member, by somebody who has just given the password.
        CheckConstraint("role in ('admin', 'billing', 'member')", name="role"),
        CheckConstraint("length(digest) = 64", name="digest"),
        CheckConstraint("accepted_at is null or revoked_at is null", name="end"),
        Index(
            "uq_invitations_one_open",
            "team_id",
            text("lower(email)"),
            unique=True,
            postgresql_where=text("accepted_at is null and revoked_at is null"),
        ),
        Index(
            "ix_invitations_open_of_address",
            text("lower(email)"),
            postgresql_where=text("accepted_at is null and revoked_at is null"),
        ),
        Index("ix_invitations_expires_at", "expires_at"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    email: Mapped[str]
    role: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    invited_by_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    sent_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    expires_at: Mapped[UtcDateTime]
    accepted_at: Mapped[UtcDateTime | None]
    revoked_at: Mapped[UtcDateTime | None]
    team: Mapped[Team] = relationship()
    invited_by: Mapped[User] = relationship()

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("invite"))
        values["role"] = Role(values["role"]).value
        super().__init__(**values)


class ApiKey(Model):
    """A key of the team's backend. Only a digest is kept; the secret is shown once, when it is made."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("length(digest) = 64", name="digest"),
        Index("ix_api_keys_team_id", "team_id"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    created_by_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    last4: Mapped[str]
    digest: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    livemode: Mapped[bool]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    last_used_at: Mapped[UtcDateTime | None]
    expires_at: Mapped[UtcDateTime | None]
    revoked_at: Mapped[UtcDateTime | None]
    created_by: Mapped[User] = relationship()

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("key"))
        super().__init__(**values)


class AuditEntry(Model):
    """One act of a person, a key or the system itself. Actors have no foreign key: history outlives whom it names."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        CheckConstraint("actor_kind in ('user', 'key', 'system')", name="actor_kind"),
        CheckConstraint("(actor_kind = 'system') = (actor_id is null)", name="actor_id"),
        Index("ix_audit_entries_team_id", "team_id", "id", postgresql_where=text("team_id is not null")),
        Index("ix_audit_entries_actor_id", "actor_id", "id", postgresql_where=text("actor_id is not null")),
        Index("ix_audit_entries_of_person", "target", "id", postgresql_where=text("team_id is null")),
    )

    id: Mapped[PrimaryId]
    at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    team_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    actor_kind: Mapped[str]
    actor_id: Mapped[str | None] = mapped_column(PrefixedId)
    action: Mapped[str]
    target: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("audit"))
        super().__init__(**values)


def initials_of(name: str) -> str:
    """Two letters for an avatar: of the first two words, or of the only one."""
    words = [word for word in name.split() if word[0].isalnum()]
    letters = "".join(word[0] for word in words[:2]) if len(words) > 1 else (words[0][:2] if words else "?")
    return letters.upper()
