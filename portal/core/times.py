"""Instants as words: for the filters of pages, and where none is at hand, in mails and in sentences; and read from addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from portal.core.reader import DEFAULT_LOCALE

# Far enough from both ends of the calendar that every zone and every period around an instant still has a date.
YEARS = range(2000, 9000)


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; UTC when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def instant_in(text: str | None) -> datetime | None:
    """The instant that an address names, such as `2026-11-25T09:30:00+00:00`, in UTC.

    None for nothing, for what is no more exact than a day, and for what no page of ours would write.
    """
    try:
        found = datetime.fromisoformat(text) if text and "T" in text else None
    except ValueError:
        return None
    if found is None or found.tzinfo is None or found.year not in YEARS:
        return None
    return found.astimezone(UTC)


def month_start(now: datetime) -> datetime:
    """When the calendar month of an instant began, in UTC."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_end(now: datetime) -> datetime:
    return month_start(month_start(now) + timedelta(days=32))


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
