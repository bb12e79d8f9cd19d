"""What several threads of this process want done at the same moment is done by one of them for all.

Whoever finds nothing under way begins at once. Who comes while something is under way waits, and once it is done the first
of them begins for all who are there by then. So whatever is read for somebody is read after they came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

AT_ONCE_MAX = 200
# Longer than any transaction may take. Whoever has waited so long does it alone.
WAIT_SECONDS_MAX = 20.0


def _closed() -> threading.Lock:
    """A lock that somebody else opens: an `Event` for one thread, at a third of the price."""
    latch = threading.Lock()
    latch.acquire()
    return latch


@dataclass(eq=False)
class _Waiting(Generic[Item, Outcome]):
    item: Item
    latch: threading.Lock = field(default_factory=_closed)
    leads: bool = False
    outcome: Outcome | None = None


class Group(Generic[Item, Outcome]):
    """Those for whom one thread is at work: at first itself alone, and with each `gather` whoever waits by then.

    Nobody joins one that is `alone`.
    """

    def __init__(
        self,
        name: Any,
        first: _Waiting[Item, Outcome],
        take: Callable[[int], list[_Waiting[Item, Outcome]]] | None = None,
    ) -> None:
        self.name, self.alone = name, take is None
        self.members, self._take = [first], take

    def gather(self) -> None:
        if self._take is not None:
            self.members += self._take(AT_ONCE_MAX - len(self.members))

    @property
    def items(self) -> list[Item]:
        return [one.item for one in self.members]


class Together(Generic[Item, Outcome]):
    """Does `work` for the items of each name, of which one group is under way at a time.

    `work` gathers when it is ready to begin, and returns an outcome for each of the group's items, in their order, or None
    for one that is to be tried again alone. What it raises is raised to whoever leads, and the others try alone.
    """

    def __init__(self, work: Callable[[Group[Item, Outcome]], Sequence[Outcome | None]]) -> None:
        self._work = work
        self._guard = threading.Lock()
        # Of each name for which a thread is at work: who waits for it to be done.
        self._waiting: dict[Hashable, list[_Waiting[Item, Outcome]]] = {}

    def join(self, name: Hashable, item: Item) -> Outcome:
        """What comes of `item`. Whoever calls this is to hold nothing that others may need meanwhile."""
        mine: _Waiting[Item, Outcome] = _Waiting(item)
        with self._guard:
            others = self._waiting.get(name)
            if others is None:
                mine.leads = True
                self._waiting[name] = []
            else:
                others.append(mine)
        if not mine.leads and not mine.latch.acquire(timeout=WAIT_SECONDS_MAX):
            self._leave(name, mine)
        if mine.leads:
            self._lead(name, mine)
        if mine.outcome is None:
            mine.outcome = self._work(Group(name, mine))[0]
        assert mine.outcome is not None, "alone there is nothing to try again"
        return mine.outcome

    def _leave(self, name: Hashable, mine: _Waiting[Item, Outcome]) -> None:
        """Wait no longer, unless it has been made to lead in this moment: then somebody may wait for it."""
        with self._guard:
            waiting = self._waiting.get(name, [])
            if mine in waiting:
                waiting.remove(mine)

    def _lead(self, name: Hashable, mine: _Waiting[Item, Outcome]) -> None:
        """Work for what has gathered, this thread's own item first, then let the next one lead."""

        def take(room: int) -> list[_Waiting[Item, Outcome]]:
            with self._guard:
                waiting = self._waiting[name]
                taken = waiting[:room]
                del waiting[:room]
            return taken

        group = Group(name, mine, take)
        try:
            for one, outcome in zip(group.members, self._work(group), strict=True):
                one.outcome = outcome
        finally:
            self._hand_over(name)
            for one in group.members[1:]:
                one.latch.release()

    def _hand_over(self, name: Hashable) -> None:
        with self._guard:
            waiting = self._waiting[name]
            if not waiting:
                del self._waiting[name]
                return
            following = waiting.pop(0)
            following.leads = True
        following.latch.release()


class Arrivals:
    """Who is on the way to join: a group that costs much for each time may wait a moment for them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        # Of each name: what stands for each thread that is on the way; and what opens when the last of them has arrived.
        self._coming: dict[Hashable, set[object]] = {}
        self._awaited: dict[Hashable, threading.Lock] = {}

    @contextmanager
    def expected(self, name: Hashable) -> Iterator[Callable[[], None]]:
        """This thread is on the way, until it calls what it is given, or leaves without having arrived."""
        me = object()
        with self._guard:
            self._coming.setdefault(name, set()).add(me)
        try:
            yield lambda: self._arrive(name, me)
        finally:
            self._arrive(name, me)

    def wait(self, name: Hashable, seconds_max: float) -> bool:
        """Whether nobody is on the way any more. Who takes longer is not waited for a second time.

        Of each name one thread waits at a time.
        """
        latch = _closed()
        with self._guard:
            if name not in self._coming:
                return True
            self._awaited[name] = latch
        if latch.acquire(timeout=seconds_max):
            return True
        with self._guard:
            self._awaited.pop(name, None)
            self._coming.pop(name, None)
        return False

    def _arrive(self, name: Hashable, who: object) -> None:
        with self._guard:
            coming = self._coming.get(name, set())
            coming.discard(who)
            if coming or name not in self._coming:
                return
            del self._coming[name]
            latch = self._awaited.pop(name, None)
        if latch:
            latch.release()
