"""Turning the switches of a running app, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask

from portal.core import limits


@contextmanager
def settings(app: Flask, **changes: Any) -> Iterator[None]:
    """The app as if it had been started with these settings."""
    before = app.config["SETTINGS"]
    app.config["SETTINGS"] = dataclasses.replace(before, **changes)
    try:
        yield
    finally:
        app.config["SETTINGS"] = before


def without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to wait, however often they ask."""

    def free(windows: Sequence[limits.Window], times: int) -> list[limits.Counted]:
        sizes = [window.quota.item.amount for window in windows]
        return [limits.Counted(True, tuple(limits.Standing(size, size, 0, 0) for size in sizes))] * max(times, 1)

    monkeypatch.setattr(limits, "_ask", free)
