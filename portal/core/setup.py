"""What every page needs of the core: filters for amounts and times, the theme, the request's id."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Flask, g, has_request_context, request
from markupsafe import Markup

from portal.core.logging import request_id
from portal.core.money import amount_text, money_markup, money_words
from portal.core.reader import Reader
from portal.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    app.add_template_filter(money_markup, "money")
    app.add_template_filter(lambda minor, currency: amount_text(minor, currency, short=True), "money_short")
    app.add_template_filter(money_words, "money_words")
    app.add_template_filter(whole, "whole")
    app.add_template_filter(web_address, "web_address")
    app.add_template_filter(when, "when")
    app.add_template_filter(exactly, "exactly")
    app.add_template_filter(day, "day")

    @app.context_processor
    def core_context() -> dict[str, object]:
        return {
            "request_id": request_id(),
            "theme": _theme(),
            "time_zone": _zone().key,
            "sandbox_mode": settings.sandbox_mode,
            "sandbox_url": settings.stripe_api_base if settings.sandbox_mode else None,
            "livemode": settings.livemode,
        }


def _theme() -> str:
    theme = request.cookies.get("theme", "") if has_request_context() else ""  # the worker writes mails
    return theme if theme in ("light", "dark") else ""


def _reader() -> Reader:
    return g.get("person") or Reader()


def _zone() -> ZoneInfo:
    """The zone of the person who reads, else of the team on whose page we are (set by the route's guard), else UTC."""
    try:
        return ZoneInfo(_reader().time_zone or g.get("time_zone", "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def whole(number: int) -> str:
    return f"{number:,}".replace("-", "\u2212")


def web_address(address: str | None) -> str:
    """An address that came from elsewhere, if a link may lead there; nothing for any scheme that could run a script."""
    return address if address and address.startswith(("https://", "http://")) else ""


def day(moment: datetime) -> Markup:
    """`18 Nov 2026` in the reader's zone; a hover shows the exact instant."""
    return _time(moment, _day_words(moment.astimezone(_zone())))


def when(moment: datetime) -> Markup:
    """`18 Nov 2026, 14:02 CET` in the reader's zone; a hover shows the exact instant."""
    local = moment.astimezone(_zone())
    return _time(moment, f"{_day_words(local)}, {_clock_words(local)} {local.tzname()}")


def exactly(moment: datetime) -> Markup:
    """`18 Nov 2026, 14:02:33 CET`, for what may matter to the second."""
    local = moment.astimezone(_zone())
    return _time(moment, f"{_day_words(local)}, {_clock_words(local, f':{local:%S}')} {local.tzname()}")


def _day_words(local: datetime) -> str:
    match _reader().locale:
        case "en-US":
            return f"{local:%b} {local.day}, {local.year}"
        case "en-SE":
            return f"{local:%Y-%m-%d}"
        case _:
            return f"{local.day} {local:%b %Y}"


def _clock_words(local: datetime, seconds: str = "") -> str:
    if _reader().locale == "en-US":
        return f"{local.hour % 12 or 12}:{local:%M}{seconds} {local:%p}"
    return f"{local:%H:%M}{seconds}"


def _time(moment: datetime, words: str) -> Markup:
    exact = moment.astimezone(ZoneInfo("UTC"))
    title = f"{_day_words(exact)}, {exact:%H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact.strftime("%Y-%m-%dT%H:%M:%SZ"), title, words)
