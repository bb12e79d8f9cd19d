"""Turning the switches of a running app, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask


@contextmanager
def settings(app: Flask, **changes: Any) -> Iterator[None]:
    """The app as if it had been started with these settings."""
    before = app.config["SETTINGS"]
    app.config["SETTINGS"] = dataclasses.replace(before, **changes)
    try:
        yield
    finally:
        app.config["SETTINGS"] = before
