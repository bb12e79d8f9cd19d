"""`flask clock`: it moves the clock on and back, and says what it takes to be an amount."""

from __future__ import annotations

from datetime import timedelta

import pytest
from click.testing import Result
from flask import Flask

from portal.core import clock


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["clock", *words])


@pytest.mark.parametrize("back", ["-3", "-31"])
def test_the_clock_goes_on_and_back(app: Flask, back: str) -> None:
    assert run(app, "advance", "31", "days").exit_code == 0
    assert clock.offset() == timedelta(days=31)
    moved = run(app, "advance", back, "days")
    assert moved.exit_code == 0, moved.output
    assert clock.offset() == timedelta(days=31 + int(back))
    assert str(clock.offset()) in run(app, "show").output


@pytest.mark.parametrize("words", [["--fast", "days"], ["-x", "days"], ["3", "weeks"], ["3"]])
def test_what_is_no_amount_moves_nothing(app: Flask, words: list[str]) -> None:
    assert run(app, "advance", *words).exit_code == 2
    assert clock.offset() == timedelta()


def test_help_is_still_an_option(app: Flask) -> None:
    told = run(app, "advance", "--help")
    assert told.exit_code == 0
    assert told.output.startswith("Usage:")
