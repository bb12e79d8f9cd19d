"""Who reads the page, as far as the words of times depend on it."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_LOCALE = "en-GB"
# How times are written; the language of the pages is English.
LOCALES = {
    "en-GB": "18 Nov 2026, 14:02",
    "en-US": "Nov 18, 2026, 2:02 PM",
    "en-SE": "2026-11-18, 14:02",
}


@dataclass(frozen=True)
class Reader:
    """What the person has chosen; None where they have not, and then the team's zone and the usual form apply."""

    time_zone: str | None = None
    locale: str | None = None
