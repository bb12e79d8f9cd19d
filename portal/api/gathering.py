"""Uses of one team that are reported at the same moment are recorded together, in one unit of work.

The account's lock lets one transaction of a team through at a time, and each costs several round trips and a flush. So while
one is under way, here or in another process, the uses that arrive in this process meanwhile gather, and the first of them
records all that are there when it has the lock. Nobody waits for others to come: a use that finds nothing under way is
recorded at once. Each is answered after the commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.core.database import db
from portal.core.unit_of_work import run_in_unit
from portal.usage.metering import Answer, Recorded, Refusal, Use, record_gathered

AT_ONCE_MAX = 200
# Longer than any transaction may take. Whoever has waited so long records alone, which counts nothing twice.
WAIT_SECONDS_MAX = 20.0

Body = Callable[[Recorded], str]


@dataclass(eq=False)
class _Waiting:
    use: Use
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    outcome: Answer | Refusal | Exception | None = None


class Gathering:
    """Of one process. Every use is recorded by the thread that brought it, or by one that brought another of the team."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        # Of each team for which a thread records now: who waits for it to be done.
        self._waiting: dict[str, list[_Waiting]] = {}

    def record(self, use: Use, answer: Body) -> Answer:
        """As `metering.record` in a unit of its own."""
        mine = _Waiting(use)
        with self._guard:
            others = self._waiting.get(use.team_id)
            if others is None:
                mine.leads = True
                self._waiting[use.team_id] = []
            else:
                others.append(mine)
        if not mine.leads:
            db.session.rollback()  # what has been read for this request holds no connection while it waits
            if not mine.woken.wait(WAIT_SECONDS_MAX):
                self._leave(mine)
        if mine.leads:
            self._lead(mine, answer)
        outcome = mine.outcome or _together([mine], answer)[0]
        if not isinstance(outcome, Answer):
            raise outcome or AssertionError("unreachable")
        return outcome

    def _leave(self, mine: _Waiting) -> None:
        """Wait no longer, unless it has been made to lead in this moment: then somebody may wait for it."""
        with self._guard:
            waiting = self._waiting.get(mine.use.team_id, [])
            if mine in waiting:
                waiting.remove(mine)

    def _lead(self, mine: _Waiting, answer: Body) -> None:
        """Record what has gathered, this thread's own use first, then let the next one lead."""
        team_id = mine.use.team_id
        group = [mine]

        def gather() -> None:
            with self._guard:
                waiting = self._waiting[team_id]
                room = AT_ONCE_MAX - len(group)
                group.extend(waiting[:room])
                del waiting[:room]

        try:
            for one, outcome in zip(group, _together(group, answer, gather), strict=True):
                one.outcome = outcome
        finally:
            self._hand_over(team_id)
            for one in group:
                one.woken.set()

    def _hand_over(self, team_id: str) -> None:
        with self._guard:
            waiting = self._waiting[team_id]
            if not waiting:
                del self._waiting[team_id]
                return
            following = waiting.pop(0)
            following.leads = True
        following.woken.set()


def _together(
    group: list[_Waiting], answer: Body, gather: Callable[[], None] = lambda: None
) -> list[Answer | Refusal | Exception | None]:
    """What comes of each; `gather` adds to the group whoever waits, once the lock is held.

    Where one of several breaks what they do together, each is left to be recorded alone: None. When the database is busy
    or away, that is so for all of them.
    """

    def uses() -> list[Use]:
        gather()
        return [one.use for one in group]

    try:
        return [*run_in_unit(lambda: record_gathered(group[0].use.team_id, uses, answer))]
    except (OperationalError, PoolTimeout) as error:
        if isinstance(error, PoolTimeout) or isinstance(error.orig, LockNotAvailable):
            gather()  # nobody is to wait for the same in vain again
        return [error] * len(group)
    except Exception:
        if len(group) == 1:
            raise
        return [None] * len(group)
