"""Names and texts that people and Stripe bring, written to hurt: every page shows them and none obeys them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from portal.core.database import db
from tests.cast import Cast
from tests.conftest import KEPT
from tests.stage import Stage
from tests.web.security.addresses import Page, addresses, ask

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = ROOT / "templates"

HOSTILE = "</script></title>\"'><canary-xss onload=alert(1)>{{7*7}}"
LINK = "javascript:alert('canary-xss')"

# Columns that hold words or addresses of somebody else's, in whatever table they stand.
WORDS = re.compile(
    r"(^|_)(name|description|source|brand|last4|email|title|comment|reason|number|label|note|words|resolution|agent|ip|"
    r"last_error|meaning|text|message|subject|funding|country|line1|city|code)$"
)
ADDRESSES = re.compile(r"(^|_)(url|pdf|link)$")


def poison(app: Flask) -> set[str]:
    """Write hostile text into every such column that takes it; returns their names."""
    engine = create_engine(app.config["SETTINGS"].database_owner_url, poolclass=NullPool)
    db.session.remove()
    poisoned = set()
    with engine.begin() as connection:
        for table, column in _text_columns(connection):
            payload = HOSTILE if WORDS.search(column) else LINK if ADDRESSES.search(column) else None
            if payload and table not in KEPT and _write(connection, table, column, payload):
                poisoned.add(f"{table}.{column}")
    engine.dispose()
    return poisoned


def _text_columns(connection: Connection) -> list[tuple[str, str]]:
    query = text(
        "select table_name, column_name from information_schema.columns join information_schema.tables"
        " using (table_schema, table_name) where table_schema = 'public' and table_type = 'BASE TABLE'"
        " and data_type in ('text', 'character varying') order by 1, 2"
    )
    return [(row.table_name, row.column_name) for row in connection.execute(query)]


def _write(connection: Connection, table: str, column: str, payload: str) -> bool:
    """Whether any row took it; a check may refuse it, and history's triggers are not what is tested here."""
    connection.execute(text(f"alter table {table} disable trigger user"))
    try:
        with connection.begin_nested():
            # Some must be unique.
            statement = text(f"update {table} set {column} = :payload || left(md5(random()::text), 6)")  # noqa: S608  all of it is ours
            return connection.execute(statement, {"payload": payload}).rowcount > 0
    except DBAPIError:
        return False
    finally:
        connection.execute(text(f"alter table {table} enable trigger user"))


def test_s55_hostile_names_are_shown_and_not_obeyed(app: Flask, cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    pages = list(addresses(app, cast))
    poisoned = poison(app)
    assert {"teams.name", "api_keys.name", "payment_methods.brand", "invoices.number", "users.name"} <= poisoned
    shown = 0
    for route in pages:
        for headers in ({}, {"HX-Request": "true"}):
            answer = ask(cast.owner.client, "GET", route.path, headers=headers)
            page = answer.get_data(as_text=True)
            assert answer.status_code < 500, route
            if answer.mimetype != "text/html":
                continue
            shown += "&lt;canary-xss" in page
            assert "<canary-xss" not in page, route
            for tag, name, value in Page(page).values("href", "src", "action", "formaction", "hx-get", "hx-post"):
                words = f"{route.path}: {tag} {name}={value[:60]}; in a template: {{% if … | web_address %}}"
                assert not re.match(r"\s*javascript:", value, re.IGNORECASE), words
    assert shown > 4, "the names are nowhere to be seen, so nothing was shown to hold"


def test_s55_what_a_form_brings_is_shown_and_not_obeyed(cast: Cast) -> None:
    """The answer to a form repeats it: in a field, in a message, beside the secret of a new key."""
    name = "<canary-xss onload=alert(1)>"
    for headers in ({}, {"HX-Request": "true"}):
        made = ask(cast.owner.client, "POST", f"/teams/{cast.team_id}/api-keys", data={"name": name}, headers=headers)
        assert "&lt;canary-xss" in made.get_data(as_text=True)
        assert "<canary-xss" not in made.get_data(as_text=True)
    for path, form in (
        ("/login", {"email": f"{name}@example.com", "password": name}),
        ("/signup", {"email": name, "password": name, "team_name": name, "name": name}),
        ("/reset", {"email": f'"{name}"@example.com'}),
    ):
        page = ask(cast.anonymous, "POST", path, data=form).get_data(as_text=True)
        assert "<canary-xss" not in page, path
    for path in ("/pricing?plan={}&interval={}", "/login?next=/{}", "/signup?next=/{}", "/{}", "/teams/{}/billing"):
        page = ask(cast.owner.client, "GET", path.replace("{}", name)).get_data(as_text=True)
        assert "<canary-xss" not in page, path


def templates() -> Iterator[tuple[str, str]]:
    for path in sorted(TEMPLATES.rglob("*.html")):
        yield str(path.relative_to(TEMPLATES)), path.read_text()


def test_s55_no_template_trusts_a_text() -> None:
    for name, source in templates():
        assert not re.search(r"\|\s*safe\b|autoescape\s+false|Markup\(", source), name
        assert not re.search(r"\{%\s*autoescape", source), name


def test_s55_markup_is_made_of_literals_with_escaped_values() -> None:
    """`Markup("literal").format(value)` escapes the values; a text that was put together before does not."""
    for path in sorted((ROOT / "portal").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] == "Markup":
                assert len(node.args) == 1, path
                assert isinstance(node.args[0], ast.Constant), f"{path.relative_to(ROOT)}:{node.lineno}"


def test_s57_htmx_asks_only_addresses_of_ours() -> None:
    """Made by `url_for`, or by a view that did; nothing a person wrote steers htmx, and nothing is evaluated."""
    for name, source in templates():
        assert "hx-on" not in source, name
        for attribute, value in re.findall(r'\bhx-(get|post|put|patch|delete)="([^"]*)"', source):
            assert re.fullmatch(r"\{\{ (url_for\(.*\)|\w*_?(url|address)) \}\}|/[\w/-]*", value), (
                name,
                attribute,
                value,
            )
        for value in re.findall(r'\bhx-(?:vals|headers)="?\'?(js:|javascript:)', source):
            pytest.fail(f"{name} evaluates {value}")


CARD_FIELDS = re.compile(
    r"""cc-(number|csc|exp)|name=["'](card|cvc|cvv|csc|pan|card[_-]?number|exp)["']|js\.stripe\.com"""
)


def test_s72_no_page_of_ours_asks_for_a_card(app: Flask, cast: Cast) -> None:
    """Cards are typed at Stripe's pages and nowhere else; the stand-in's pages are in Stripe's place."""
    for name, source in templates():
        assert name.startswith("sandbox/") or not CARD_FIELDS.search(source), name
    for route in addresses(app, cast):
        page = ask(cast.owner.client, "GET", route.path).get_data(as_text=True)
        assert route.endpoint == "static" or not CARD_FIELDS.search(page), route
    for script in (ROOT / "static" / "js").glob("*.js"):
        assert not CARD_FIELDS.search(script.read_text()), script.name
