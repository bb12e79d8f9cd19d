"""For how long credits last: what can be spent of each lot, until the lot ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from portal.credits.lasting import runs_out_at
from portal.credits.queries import Grant

NOW = datetime(2026, 11, 18, 12, tzinfo=UTC)
DAY = timedelta(days=1)
A_DAY = Decimal(10)


def lot(remaining: int, *, ends: timedelta | None = None, live: bool = True, held: int = 0, frozen: int = 0) -> Grant:
    end = NOW + ends if ends else None
    return Grant("gift", "A gift", 1_000, remaining, NOW - DAY, end, live, "gift:1", held, frozen)


def test_each_lot_lasts_until_it_is_spent_or_ends() -> None:
    lots = [lot(100, ends=4 * DAY), lot(50), lot(900, live=False)]
    assert runs_out_at(lots, A_DAY, NOW) == NOW + 9 * DAY


def test_what_is_frozen_or_held_is_not_spent() -> None:
    assert runs_out_at([lot(300, frozen=100), lot(50, frozen=50)], A_DAY, NOW) == NOW + 20 * DAY
    assert runs_out_at([lot(100, ends=4 * DAY), lot(100, held=70)], A_DAY, NOW) == NOW + 7 * DAY
