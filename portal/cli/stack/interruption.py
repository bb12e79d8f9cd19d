"""Ctrl-C, SIGTERM and a closed terminal all mean: stop everything in order. Once is enough; more change nothing."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(BaseException):
    """Somebody wants the stack stopped. Like KeyboardInterrupt it passes through `except Exception`."""


def raise_when_asked() -> None:
    """From now on the first signal raises `StopRequestedError` in the main thread, and later ones are ignored."""
    for number in SIGNALS:
        signal.signal(number, _raise)


def ignore() -> None:
    """From now on nobody may interrupt: what was started is being stopped."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _raise(_number: int, _frame: FrameType | None) -> None:
    ignore()
    raise StopRequestedError
