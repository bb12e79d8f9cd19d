"""Instants as words: for the filters of pages, and where none is at hand, in mails and in sentences."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from portal.core.reader import DEFAULT_LOCALE


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; UTC when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def day_words(moment: datetime, zone: str, locale: str = DEFAULT_LOCALE) -> str:
    """`18 Nov 2026` in a zone, as people of the locale write it."""
    local = moment.astimezone(zone_of(zone))
    match locale:
        case "en-US":
            return f"{local:%b} {local.day}, {local.year}"
        case "en-SE":
            return f"{local:%Y-%m-%d}"
        case _:
            return f"{local.day} {local:%b %Y}"


def moment_words(moment: datetime, zone: str, locale: str = DEFAULT_LOCALE, *, seconds: bool = False) -> str:
    """`18 Nov 2026, 14:02 CET` in a zone, as people of the locale write it."""
    local = moment.astimezone(zone_of(zone))
    clock = _clock_words(local, locale, f":{local:%S}" if seconds else "")
    return f"{day_words(moment, zone, locale)}, {clock} {local.tzname()}"


def _clock_words(local: datetime, locale: str, seconds: str) -> str:
    if locale == "en-US":
        return f"{local.hour % 12 or 12}:{local:%M}{seconds} {local:%p}"
    return f"{local:%H:%M}{seconds}"
