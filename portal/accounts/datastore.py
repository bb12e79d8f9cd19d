"""Flask-Security's view of our users: found by our models, saved by our unit of work."""

from __future__ import annotations

from flask_security import RoleMixin, SQLAlchemyUserDatastore, UserMixin

from portal.accounts import email_change
from portal.accounts.models import User
from portal.core import unit_of_work
from portal.core.database import db


class UserDatastore(SQLAlchemyUserDatastore):
    """Routes the library's own commit through the one committer, so that mails and hints wait for it."""

    def __init__(self) -> None:
        # Roles stand on memberships; the library only ever compares against this class, it never queries it.
        super().__init__(db, User, _NoRole)

    def commit(self) -> None:
        unit_of_work.commit()

    def set_uniquifier(self, user: UserMixin, uniquifier: str | None = None) -> None:
        """Whatever renames the person ends all that was begun before, a move to another address as well."""
        assert isinstance(user, User)
        email_change.withdraw(user)
        super().set_uniquifier(user, uniquifier)


class _NoRole(RoleMixin):
    """No role of the library's kind exists."""
