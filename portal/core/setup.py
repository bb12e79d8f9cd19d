"""What every page needs of the core: filters for amounts and times, the theme, the request's id."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Flask, g, has_request_context, request
from markupsafe import Markup

from portal.core.logging import request_id
from portal.core.money import amount_text, money_markup, money_words
from portal.core.reader import DEFAULT_LOCALE, Reader
from portal.core.times import day_words, moment_words, zone_of
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
    app.add_template_filter(combine, "combine")
    app.add_template_filter(only, "only")

    @app.context_processor
    def core_context() -> dict[str, object]:
        return {
            "request_id": request_id(),
            "theme": _theme(),
            "time_zone": _zone(),
            "sandbox_mode": settings.sandbox_mode,
            "sandbox_url": settings.stripe_api_base if settings.sandbox_mode else None,
            "livemode": settings.livemode,
        }


def _theme() -> str:
    theme = request.cookies.get("theme", "") if has_request_context() else ""  # the worker writes mails
    return theme if theme in ("light", "dark") else ""


def _reader() -> Reader:
    return g.get("person") or Reader()


def _locale() -> str:
    return _reader().locale or DEFAULT_LOCALE


def _zone() -> str:
    """The zone of the person who reads, else of the team on whose page we are (set by the route's guard), else UTC."""
    return zone_of(_reader().time_zone or g.get("time_zone", "UTC")).key


def whole(number: int) -> str:
    return f"{number:,}".replace("-", "\u2212")


def combine(
    arguments: Mapping[str, object], more: Mapping[str, object] | None = None, **values: object
) -> dict[str, object]:
    """What an address is narrowed to, with something else: `arguments | combine(meter="send_email")`."""
    return {**arguments, **(more or {}), **values}


def only(arguments: Mapping[str, object], *names: str) -> dict[str, object]:
    """Those of the arguments that have these names."""
    return {name: value for name, value in arguments.items() if name in names}


def web_address(address: str | None) -> str:
    """An address that came from elsewhere, if a link may lead there; nothing for any scheme that could run a script."""
    return address if address and address.startswith(("https://", "http://")) else ""


def day(moment: datetime) -> Markup:
    """`18 Nov 2026` in the reader's zone; a hover shows the exact instant."""
    return _time(moment, day_words(moment, _zone(), _locale()))


def when(moment: datetime) -> Markup:
    """`18 Nov 2026, 14:02 CET` in the reader's zone; a hover shows the exact instant."""
    return _time(moment, moment_words(moment, _zone(), _locale()))


def exactly(moment: datetime) -> Markup:
    """`18 Nov 2026, 14:02:33 CET`, for what may matter to the second."""
    return _time(moment, moment_words(moment, _zone(), _locale(), seconds=True))


def _time(moment: datetime, words: str) -> Markup:
    exact = moment.astimezone(UTC)
    title = f"{day_words(exact, 'UTC', _locale())}, {exact:%H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact.strftime("%Y-%m-%dT%H:%M:%SZ"), title, words)
