"""Whether this process is to end. Whoever works through a list looks before taking the next thing from it."""

from __future__ import annotations

import threading

_asked = threading.Event()


def stop() -> None:
    """Ask this process to end once what it is doing is done."""
    _asked.set()


def stopping() -> bool:
    return _asked.is_set()


def pause(seconds: float) -> None:
    """Wait, but no longer than until this process is asked to end."""
    _asked.wait(seconds)
