"""Ctrl-C, SIGTERM and a closed terminal all mean: stop everything in order. Once is enough; more change nothing.

A signal only sets a flag, which every wait looks at. Raised from a handler, the wish could be lost in a destructor or
fall between starting a program and remembering that it was started.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = threading.Event()


class StopRequestedError(Exception):
    """Somebody wants the stack stopped."""


def listen() -> None:
    """From now on `check` knows of signals, and none of them ends this process by itself."""
    _asked.clear()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _remember)


def check() -> None:
    """Raise `StopRequestedError` if somebody asked to stop. To be called in every loop that waits."""
    if _asked.is_set():
        raise StopRequestedError


def _remember(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
