"""Threads that want the same at the same moment: one works for all, and each gets its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from portal.core import together
from portal.core.together import Arrivals, Group, Together
from tests.threads import SECONDS_MAX, until


class Doubling:
    """Doubles numbers; its first group waits until the test lets it go on."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.groups: list[list[int]] = []
        self.breaks_at = breaks_at
        self.go_on = threading.Event()
        self.together: Together[int, int] = Together(self._double)

    def _double(self, group: Group[int, int]) -> Sequence[int | None]:
        if not self.groups:
            self.groups.append(group.items)
            assert self.go_on.wait(SECONDS_MAX)
        else:
            group.gather()
            self.groups.append(group.items)
        if self.breaks_at in group.items:
            if len(group.members) == 1:
                raise ZeroDivisionError
            return [None] * len(group.members)
        return [2 * item for item in group.items]

    def waiting(self, name: str = "name") -> int:
        with self.together._guard:
            return len(self.together._waiting.get(name, ()))

    def join_all(self, pool: ThreadPoolExecutor, items: Sequence[int]) -> list[Future[int]]:
        """The first is at work when the others join, in their order."""
        futures = []
        for number, item in enumerate(items):
            futures.append(pool.submit(self.together.join, "name", item))
            until(lambda: bool(self.groups) and self.waiting() == number)  # noqa: B023  called within the turn
        return futures


def test_who_comes_while_one_is_at_work_is_done_in_the_next_group() -> None:
    work = Doubling()
    with ThreadPoolExecutor(5) as pool:
        futures = work.join_all(pool, [1, 2, 3, 4, 5])
        work.go_on.set()
        assert [future.result(SECONDS_MAX) for future in futures] == [2, 4, 6, 8, 10]
    assert work.groups == [[1], [2, 3, 4, 5]]
    assert work.together._waiting == {}


def test_names_have_nothing_to_do_with_each_other() -> None:
    work = Doubling()
    with ThreadPoolExecutor(1) as pool:
        first = work.join_all(pool, [1])[0]
        assert work.together.join("another", 7) == 14
        work.go_on.set()
        assert first.result(SECONDS_MAX) == 2


def test_one_that_breaks_the_group_breaks_alone() -> None:
    work = Doubling(breaks_at=3)
    with ThreadPoolExecutor(4) as pool:
        futures = work.join_all(pool, [1, 2, 3, 4])
        work.go_on.set()
        assert [futures[number].result(SECONDS_MAX) for number in (0, 1, 3)] == [2, 4, 8]
        with pytest.raises(ZeroDivisionError):
            futures[2].result(SECONDS_MAX)
    assert work.together._waiting == {}


def test_what_breaks_under_the_one_who_leads_leaves_nobody_waiting() -> None:
    """Whatever `work` raises is told to the one who leads; the next one leads the rest."""
    work = Doubling(breaks_at=1)
    with ThreadPoolExecutor(3) as pool:
        futures = work.join_all(pool, [1, 2, 3])
        work.go_on.set()
        assert [future.result(SECONDS_MAX) for future in futures[1:]] == [4, 6]
        with pytest.raises(ZeroDivisionError):
            futures[0].result(SECONDS_MAX)
    assert work.together._waiting == {}


def test_a_group_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "AT_ONCE_MAX", 2)
    work = Doubling()
    with ThreadPoolExecutor(6) as pool:
        futures = work.join_all(pool, range(6))
        work.go_on.set()
        assert [future.result(SECONDS_MAX) for future in futures] == [0, 2, 4, 6, 8, 10]
    assert work.groups == [[0], [1, 2], [3, 4], [5]]


def test_who_leads_waits_until_all_who_are_on_the_way_have_arrived() -> None:
    arrivals = Arrivals()
    with arrivals.expected("name") as first, arrivals.expected("name") as second, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(arrivals.wait, "name", SECONDS_MAX)
        until(lambda: "name" in arrivals._awaited)
        first()
        first()
        assert not waiting.done()
        second()
        assert waiting.result()
    assert (arrivals._coming, arrivals._awaited) == ({}, {})


def test_who_does_not_come_is_not_waited_for_either() -> None:
    arrivals = Arrivals()
    with pytest.raises(ZeroDivisionError), arrivals.expected("name"):
        raise ZeroDivisionError
    assert arrivals.wait("name", SECONDS_MAX)
    with arrivals.expected("another"):
        assert arrivals.wait("name", SECONDS_MAX)
    assert arrivals._coming == {}


def test_who_takes_too_long_is_waited_for_once() -> None:
    arrivals = Arrivals()
    with arrivals.expected("name"):
        assert not arrivals.wait("name", 0.01)
        assert arrivals.wait("name", 0.01)
        with arrivals.expected("name"):
            assert not arrivals.wait("name", 0.01)
        with arrivals.expected("name") as arrive:
            arrive()
            assert arrivals.wait("name", 0.01)
    assert (arrivals._coming, arrivals._awaited) == ({}, {})
