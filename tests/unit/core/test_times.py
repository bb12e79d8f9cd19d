"""Instants in words, in the reader's zone and as people of their locale write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask import Flask, g

from portal.core.reader import Reader
from portal.core.setup import day, exactly, when
from portal.core.times import day_words, moment_words, zone_of

MOMENT = datetime(2026, 11, 8, 23, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "locale", "day_text", "moment_text", "exact_text"),
    [
        ("UTC", "en-GB", "8 Nov 2026", "8 Nov 2026, 23:04 UTC", "8 Nov 2026, 23:04:05 UTC"),
        ("Europe/Berlin", "en-GB", "9 Nov 2026", "9 Nov 2026, 00:04 CET", "9 Nov 2026, 00:04:05 CET"),
        ("Europe/Berlin", "en-US", "Nov 9, 2026", "Nov 9, 2026, 12:04 AM CET", "Nov 9, 2026, 12:04:05 AM CET"),
        ("Asia/Tokyo", "en-SE", "2026-11-09", "2026-11-09, 08:04 JST", "2026-11-09, 08:04:05 JST"),
        ("Mars/Olympus", "en-US", "Nov 8, 2026", "Nov 8, 2026, 11:04 PM UTC", "Nov 8, 2026, 11:04:05 PM UTC"),
    ],
)
def test_pages_and_mails_say_a_moment_alike(
    zone: str, locale: str, day_text: str, moment_text: str, exact_text: str
) -> None:
    assert day_words(MOMENT, zone, locale) == day_text
    assert moment_words(MOMENT, zone, locale) == moment_text
    with Flask("small").app_context():
        g.person = Reader(time_zone=zone, locale=locale)
        for words, markup in ((day_text, day(MOMENT)), (moment_text, when(MOMENT)), (exact_text, exactly(MOMENT))):
            assert f">{words}</time>" in markup
            assert 'datetime="2026-11-08T23:04:05Z"' in markup


@pytest.mark.parametrize("name", ["", "../etc/passwd", "Nowhere"])
def test_a_zone_that_does_not_exist_is_utc(name: str) -> None:
    assert zone_of(name).key == "UTC"
