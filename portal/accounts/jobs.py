"""What the worker does for accounts: clearing away sessions that have ended by themselves, and invitations long over."""

from __future__ import annotations

from datetime import timedelta

from portal.accounts import invitations, sessions
from portal.core.schedule import Task
from portal.core.unit_of_work import unit_of_work


def sweep_sessions() -> int:
    with unit_of_work():
        return sessions.sweep()


def sweep_invitations() -> int:
    with unit_of_work():
        return invitations.sweep()


SCHEDULE = {
    "accounts.ended_sessions": Task(sweep_sessions, timedelta(hours=1)),
    "accounts.old_invitations": Task(sweep_invitations, timedelta(days=1)),
}
