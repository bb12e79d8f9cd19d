"""Uses of one team that are reported at the same moment are recorded together, in one unit of work.

The account's lock lets one transaction of a team through at a time, and each costs several round trips and a flush. So while
one is under way, here or in another process, the uses that arrive in this process meanwhile gather, and the first of them
records all that are there when it has the lock. Before it asks for the lock it waits a moment for the requests with its key
that are being read already; for others nobody waits. Each is answered after the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import g, request
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.core.database import db
from portal.core.together import Arrivals, Group, Together
from portal.core.unit_of_work import run_in_unit
from portal.usage.metering import Answer, Recorded, Refusal, Use, record_gathered

# About what the threads of a process take to read a request each. A thread that is held up holds up others no longer.
COMING_SECONDS_MAX = 0.01

View = TypeVar("View", bound=Callable[..., Any])
Body = Callable[[Recorded], str]
Outcome = Answer | Refusal | Exception


class Gathering:
    """Of one process. Every use is recorded by the thread that brought it, or by one that brought another of the team."""

    def __init__(self, answer: Body) -> None:
        self._answer = answer
        self._arrivals = Arrivals()
        self._together: Together[Use, Outcome] = Together(self._record)

    def expects(self, view: View) -> View:
        """Around all of a view that calls `record`: what it reports is waited for from the beginning of the request."""

        @wraps(view)
        def expected(*args: Any, **values: Any) -> Any:
            g.shown = request.headers.get("Authorization")
            with self._arrivals.expected(g.shown) as g.arrived:
                return view(*args, **values)

        return cast(View, expected)

    def record(self, use: Use) -> Answer:
        """As `metering.record` in a unit of its own, for a view that `expects` knows."""
        g.arrived()
        db.session.rollback()  # what has been read for this request holds no connection while it waits
        outcome = self._together.join(use.team_id, use)
        if not isinstance(outcome, Answer):
            raise outcome
        return outcome

    def _record(self, group: Group[Use, Outcome]) -> list[Outcome | None]:
        """What comes of each, once the lock is held.

        Where one of several breaks what they do together, each is left to be recorded alone: None. When the database is busy
        or away, that is so for all of them.
        """
        if not group.alone:
            self._arrivals.wait(g.shown, COMING_SECONDS_MAX)

        def uses() -> list[Use]:
            group.gather()
            return group.items

        try:
            return [*run_in_unit(lambda: record_gathered(group.name, uses, self._answer))]
        except (OperationalError, PoolTimeout) as error:
            if isinstance(error, PoolTimeout) or isinstance(error.orig, LockNotAvailable):
                group.gather()  # nobody is to wait for the same in vain again
            return [error] * len(group.members)
        except Exception:
            if len(group.members) == 1:
                raise
            return [None] * len(group.members)
