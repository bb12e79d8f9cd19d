"""Waiting for what other threads of a test do."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_MAX = 20
LOOK_EVERY_SECONDS = 0.002


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(LOOK_EVERY_SECONDS)
