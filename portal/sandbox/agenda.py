"""What has come due, carried out in the order of time, whatever it belongs to.

Each thing is carried out by itself. What fails is taken back, logged and set aside: it is not tried again before it
is lifted because its schedule or subscription has changed, and everything else goes on.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any

from portal.sandbox.call import Call
from portal.sandbox.store import path_sql

_LOG = logging.getLogger("sandbox")


def _nothing(_: Call) -> "list[Due]":
    return []


@dataclass(frozen=True)
class Due:
    """Something that has come due: when it did, what it is called, and which object it is set aside with if it fails.

    `act` is given the call as of that instant, and `then` returns what is due next because of it.
    """

    at: int
    task: str
    object_id: str
    act: Callable[[Call], Any]
    then: "Source" = _nothing


Source = Callable[[Call], Iterable[Due]]


def carry_out(call: Call, sources: Sequence[Source]) -> None:
    """Carry out what the sources find, the earliest first; of two at the same instant, the one that was found first."""
    # Nobody else may carry out what was found here.
    with call.store.lock:
        found = [due for source in sources for due in source(call) if is_open(call, due)]
        if found:
            with call.store.transaction():
                _carry_out(call, found)


def _carry_out(call: Call, found: Iterable[Due]) -> None:
    number = count()
    waiting: list[tuple[int, int, Due]] = []
    for due in found:
        heappush(waiting, (due.at, next(number), due))
    while waiting:
        _, _, due = heappop(waiting)
        _attempt(call, due)
        for one in due.then(call):
            heappush(waiting, (one.at, next(number), one))


def _attempt(call: Call, due: Due) -> None:
    try:
        with call.store.savepoint():
            due.act(call.dated(due.at))
    except Exception as error:  # noqa: BLE001  (whatever it is, the rest must go on)
        _LOG.exception("%s of %s, due at %d, failed and is set aside", due.task, due.object_id, due.at)
        call.store.execute(
            "INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?, ?)", (due.object_id, due.task, due.at, repr(error)[:500])
        )


def is_open(call: Call, due: Due) -> bool:
    """Say whether something may be carried out, because it was not set aside."""
    sql = "SELECT 1 FROM set_aside WHERE object_id = ? AND task = ?"
    return not call.store.query(sql, (due.object_id, due.task))


def lift(call: Call, object_id: str) -> None:
    """Let what was set aside with an object be tried again, because the object is another one by now.

    What was set aside with an invoice of a subscription is lifted with that.
    """
    of_it = f"type = 'invoice' AND {path_sql('parent.subscription_details.subscription')} = ?"
    sql = f"DELETE FROM set_aside WHERE object_id = ? OR object_id IN (SELECT id FROM objects WHERE {of_it})"  # noqa: S608  all of it is ours
    call.store.execute(sql, (object_id, object_id))
