"""Whether this process is to end. Whoever works through a list looks before taking the next thing from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_asked = threading.Event()
_change = threading.Condition()
_at_work: list[int] = []


def stop() -> None:
    """Ask this process to end once what it is doing is done."""
    _asked.set()


def stopping() -> bool:
    return _asked.is_set()


def pause(seconds: float) -> None:
    """Wait, but no longer than until this process is asked to end."""
    _asked.wait(seconds)


@contextmanager
def at_work() -> Iterator[None]:
    """What this thread does meanwhile is waited for before the process ends."""
    me = threading.get_ident()
    with _change:
        _at_work.append(me)
    try:
        yield
    finally:
        with _change:
            _at_work.remove(me)
            _change.notify_all()


def wait_for_work(seconds_max: float) -> bool:
    """Wait until no thread is at work; returns whether it came to that in time."""
    with _change:
        return _change.wait_for(lambda: not _at_work, seconds_max)
