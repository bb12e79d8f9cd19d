"""What the pages of the panel share: the frame with its navigation, forms from this origin only, and paging."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Flask, Response, request

from portal.sandbox.errors import ApiError
from portal.sandbox.hosted.pages import guarded_redirect, plain_page, show
from portal.sandbox.hosted.panel import addresses
from portal.sandbox.sandbox import Sandbox

PAGE = 50
# Takes SQL that goes after the conditions, with its values, and returns rows that have a `seq`.
Fetch = Callable[[str, list[Any]], list[Any]]
NAVIGATION = (
    ("home", addresses.HOME, "Overview"),
    ("objects", addresses.OBJECTS, "Objects"),
    ("events", addresses.EVENTS, "Events"),
    ("clock", addresses.CLOCK, "Clock"),
    ("chaos", addresses.CHAOS, "Chaos"),
    ("cards", addresses.CARDS, "Test cards"),
)
# What a page says after an act, by the word that its address carries.
NOTES = {
    "advanced": "The clock was moved, and what had come due was done.",
    "broken": "It is set. From now on this is what happens.",
    "ended": "Nothing is broken any more.",
    "removed": "The rule is gone.",
    "resent": "It is on its way again.",
    "seeded": "The seed is set, and counting begins anew.",
}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def panel(sandbox: Sandbox, template: str, section: str, status: int = 200, **values: Any) -> Response:
    """Return a page of the panel; `section` is the part of the navigation it belongs to."""
    note = NOTES.get(request.args.get("note", ""))
    return show(sandbox, template, status, section=section, navigation=NAVIGATION, note=note, to=addresses, **values)


def add_page(
    app: Flask, sandbox: Sandbox, path: str, view: Callable[..., Response], methods: tuple[str, ...] = ("GET",)
) -> None:
    """Give a page its address. What it posts must come from one of our own pages, and what is wrong is said."""

    @wraps(view)
    def guarded(**ids: str) -> Response:
        if request.method == "POST" and not _is_ours(sandbox):
            return plain_page(sandbox, 403, "Not from here", "This was sent by another site, and nothing was done.")
        sandbox.settle()
        try:
            return view(**ids)
        except ApiError as error:
            return plain_page(sandbox, error.status, "This cannot be done", error.message, (path_back(), "Go back"))

    app.add_url_rule(path, endpoint=f"panel {path}", view_func=guarded, methods=list(methods))


def path_back() -> str:
    """Return the section of the panel that a request belongs to."""
    return "/" + request.path.split("/")[1]


def _is_ours(sandbox: Sandbox) -> bool:
    """Say whether a form was sent from a page of this server, under a name that nobody else can have.

    The panel has no password, so another site in the same browser must not press its buttons, neither straight nor
    under a name of its own that leads here. The pages send no referrer, so a browser says `null` as its origin.
    """
    host = urlsplit(f"//{request.host}").hostname
    if host not in (*_LOOPBACK, urlsplit(sandbox.configuration.public_url).hostname):
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin") == f"{request.scheme}://{request.host}"


def done(path: str, note: str) -> Response:
    """Lead on after an act, and say there that it was done."""
    return guarded_redirect(f"{path}{'&' if '?' in path else '?'}note={note}")


@dataclass(frozen=True)
class Slice:
    """One page of a list, with the addresses of those before and after it, and what these are called."""

    rows: list[Any]
    back: str | None
    forth: str | None
    names: tuple[str, str]


def newest_first(fetch: Fetch, **kept: str) -> Slice:
    """Return the page of a list that the address asks for."""
    return _cut(fetch, "DESC", ("Newer", "Older"), kept)


def oldest_first(fetch: Fetch, **kept: str) -> Slice:
    """Return the page of a story that the address asks for."""
    return _cut(fetch, "ASC", ("Earlier", "Later"), kept)


def _cut(fetch: Fetch, order: str, names: tuple[str, str], kept: dict[str, str]) -> Slice:
    """`from` is the number of the row after which a page begins, `to` the one before which it ends.

    `kept` are the parts of the address that stay as they are.
    """
    forth, back = ("<", ">") if order == "DESC" else (">", "<")
    begins, ends = _number("from"), _number("to")
    if ends is not None:
        rows = fetch(f"AND seq {back} ? ORDER BY seq {'ASC' if order == 'DESC' else 'DESC'} LIMIT ?", [ends, PAGE + 1])
        more_back, more_forth, rows = len(rows) > PAGE, True, rows[:PAGE][::-1]
    else:
        condition, values = (f"AND seq {forth} ? ", [begins]) if begins is not None else ("", [])
        rows = fetch(f"{condition}ORDER BY seq {order} LIMIT ?", [*values, PAGE + 1])
        more_back, more_forth, rows = begins is not None, len(rows) > PAGE, rows[:PAGE]
    filled = {name: value for name, value in kept.items() if value}
    return Slice(
        rows,
        f"?{urlencode(filled | {'to': rows[0]['seq']})}" if rows and more_back else None,
        f"?{urlencode(filled | {'from': rows[-1]['seq']})}" if rows and more_forth else None,
        names,
    )


def _number(name: str) -> int | None:
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
