"""Every address of the portal, for checks that hold for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.cast import Cast
from tests.web.security.rows import address_of, rows_of_team

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")

# Values for ids that are no team's row: files that exist, a link that is none, a mail that is none.
OTHER_VALUES = {
    "filename": "css/base.css",
    "name": "portal.css",
    "token": "no-such-token",
    "mail_id": "mail_none",
    "session_id": "session_none",
    "entry_id": "note_none",
}


@dataclass(frozen=True)
class Address:
    endpoint: str
    verb: str
    path: str


def addresses(app: Flask, cast: Cast, verbs: tuple[str, ...] = ("GET",)) -> Iterator[Address]:
    """One real address for each route and verb of `verbs`, with rows of the cast's team."""
    values = OTHER_VALUES | rows_of_team(cast.team_id, cast.owner.user_id)
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        for verb in verbs:
            if verb in (rule.methods or ()):
                yield Address(rule.endpoint, verb, address_of(app, rule, values))


def ask(client: FlaskClient, verb: str, path: str, **more: Any) -> TestResponse:
    """The answer, read to its end: files are closed with it."""
    return client.open(path, method=verb, buffered=True, **more)


class Page(HTMLParser):
    """The tags of a page with their attributes, and the text in `script` and `style`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: list[tuple[str, str]] = []
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        self._open = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  # the library's signature
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.inline.append((self._open, data))

    def values(self, *names: str) -> Iterator[tuple[str, str, str]]:
        """Tag, attribute and value of each attribute with one of these names."""
        for tag, attributes in self.tags:
            for name in names:
                if name in attributes:
                    yield tag, name, attributes[name]
