"""Instants as words, where no page's filter is at hand: in mails and in sentences."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; UTC when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def day_words(moment: datetime, zone: str) -> str:
    """`18 Nov 2026` in a zone."""
    local = moment.astimezone(zone_of(zone))
    return f"{local.day} {local:%b %Y}"


def moment_words(moment: datetime, zone: str) -> str:
    """`18 Nov 2026, 14:02 CET` in a zone."""
    local = moment.astimezone(zone_of(zone))
    return f"{local.day} {local:%b %Y}, {local:%H:%M} {local.tzname()}"
