"""Whether this process is to end. Whoever works through a list looks before taking the next thing from it.

Asking comes from signal handlers, so it takes no lock: a handler may interrupt whoever holds that lock, itself included,
and would wait for ever (`threading.Event` is such a lock). What wakes those who wait is a pipe with something in it.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_asked = False
_woken_by, _wake = os.pipe()
_change = threading.Condition()
_at_work: list[int] = []


def stop() -> None:
    """Ask this process to end once what it is doing is done. Safe in a signal handler."""
    global _asked  # noqa: PLW0603  one process, one end
    if not _asked:
        _asked = True
        os.write(_wake, b"!")


def stopping() -> bool:
    return _asked


def pause(seconds: float) -> None:
    """Wait, but no longer than until this process is asked to end."""
    select.select([_woken_by], [], [], seconds)


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
