"""The seats of a team: how many are taken and kept free. How many there are is the plan's to say, so callers bring it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select

from portal.accounts.models import Invitation, Membership
from portal.core.clock import app_now
from portal.core.database import db

# Asked once the team's row is locked, so that what it says holds until the unit ends. None is any number.
SeatsOf = Callable[[str], int | None]


class NoSeatFree(Exception):
    """All seats of the team are taken or kept for people who were invited."""


@dataclass(frozen=True)
class SeatUse:
    """`reserved` seats are kept for invitations that are under way. `had` is None for any number."""

    had: int | None
    members: int
    reserved: int

    @property
    def used(self) -> int:
        return self.members + self.reserved

    @property
    def free(self) -> int | None:
        return None if self.had is None else max(0, self.had - self.used)


def members_of(team_id: str) -> int:
    """How many seats are taken."""
    return db.session.execute(select(func.count()).where(Membership.team_id == team_id)).scalar_one()


def seat_use(team_id: str, had: int | None) -> SeatUse:
    reserved = select(func.count()).where(
        Invitation.team_id == team_id,
        Invitation.accepted_at.is_(None),
        Invitation.revoked_at.is_(None),
        Invitation.expires_at > app_now(),
    )
    return SeatUse(had, members_of(team_id), db.session.execute(reserved).scalar_one())


def need_a_seat(team_id: str, had: int | None) -> None:
    """Before a further invitation keeps one. Raises `NoSeatFree`."""
    if seat_use(team_id, had).free == 0:
        raise NoSeatFree


def take_a_seat(team_id: str, had: int | None) -> None:
    """Before somebody joins, whose invitation has kept one unless seats went away since. Raises `NoSeatFree`."""
    if had is not None and members_of(team_id) >= had:
        raise NoSeatFree
