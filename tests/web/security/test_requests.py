"""What every route does with a request it should not serve: forged, from elsewhere, too large, leading astray."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from flask_security import hash_password
from werkzeug.test import TestResponse

from portal import create_app
from portal.core.limits import client_address, forget_counts
from portal.core.security_headers import PUBLIC_ENDPOINTS, content_policy
from portal.core.unit_of_work import unit_of_work
from tests import services, switches
from tests.cast import PASSWORD, Cast, make_user
from tests.web.security.addresses import UNSAFE, Address, Page, addresses, ask
from tests.web.test_access import PROGRAMS, table_contents

EVIL = "https://evil.example"
HEADERS = ("X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy", "Cross-Origin-Opener-Policy")
# Programs prove themselves by key or signature; browsers cannot be made to send either.
BY_KEY = re.compile(r"^/(api/|webhooks/|metrics)")


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """These checks ask everything many times over; limits have tests of their own."""
    switches.without_limits(monkeypatch)


@pytest.fixture
def guarded(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The app with form tokens, as it is outside of tests."""
    monkeypatch.setitem(app.config, "WTF_CSRF_ENABLED", True)
    return app


Another = Callable[..., Flask]


@pytest.fixture
def another(app: Flask) -> Iterator[Another]:
    """Makes the app with other settings."""
    made: list[Flask] = []

    def make(**changes: Any) -> Flask:
        made.append(create_app(dataclasses.replace(app.config["SETTINGS"], **changes)))
        return made[-1]

    yield make
    for one in made:
        with one.app_context():
            services.close_connections()


FORGED = {
    "no token": {},
    "from another site": {"Origin": EVIL},
    "from nowhere": {"Origin": "null"},
    "a browser says it comes from another site": {"Sec-Fetch-Site": "cross-site"},
    "from a neighbour": {"Sec-Fetch-Site": "same-site"},
    "by htmx without a token": {"HX-Request": "true"},
    "with a wrong token": {"X-CSRFToken": "wrong"},
    "a simple request that calls itself JSON": {"Content-Type": "text/plain"},
}


def test_s15_every_unsafe_route_refuses_a_forged_request(guarded: Flask, cast: Cast) -> None:
    """By the owner, who may do everything: what is missing is only the proof that they meant it."""
    routes = [one for one in addresses(guarded, cast, UNSAFE) if not BY_KEY.match(one.path)]
    assert len(routes) > 5
    before = table_contents()
    for how, headers in FORGED.items():
        for route in routes:
            data = "plan=business" if "Content-Type" in headers else {"plan": "business", "name": "x", "theme": "dark"}
            answer = ask(cast.owner.client, route.verb, route.path, headers=headers, data=data)
            assert answer.status_code in (400, 403), (how, route)
            assert "Set-Cookie" not in answer.headers or "theme=" not in answer.headers["Set-Cookie"], (how, route)
    assert {name: rows for name, rows in table_contents().items() if name != "sessions"} == {
        name: rows for name, rows in before.items() if name != "sessions"
    }


def test_s15_what_programs_call_takes_no_session_for_proof(guarded: Flask, cast: Cast) -> None:
    assert {"webhooks.stripe_webhook", "api_usage.create_usage"} <= PROGRAMS
    for route in addresses(guarded, cast, ("GET", *UNSAFE)):
        if BY_KEY.match(route.path) and "openapi" not in route.path and "docs" not in route.path:
            with switches.settings(guarded, metrics_token="t" * 16):
                answer = ask(cast.owner.client, route.verb, route.path, json={})
            assert answer.status_code in (400, 401, 403), route


def test_s16_no_get_signs_anybody_out(app: Flask, cast: Cast) -> None:
    """A picture on another site can make a browser ask for any address."""
    for route in addresses(app, cast, ("GET", "HEAD", "OPTIONS")):
        ask(cast.owner.client, route.verb, route.path)
        assert ask(cast.owner.client, "GET", "/teams", headers={"Accept": "*/*"}).location != "/login?next=/teams", (
            route
        )
        with cast.owner.client.session_transaction() as session:
            assert session.get("_user_id"), route


def test_s17_signing_in_needs_a_token(guarded: Flask, cast: Cast) -> None:
    answer = ask(cast.anonymous, "POST", "/login", data={"email": "owner@example.com", "password": "x"})
    assert answer.status_code == 400


def test_s19_no_other_origin_may_read_an_answer(app: Flask, cast: Cast) -> None:
    for route in addresses(app, cast, ("GET", "OPTIONS")):
        headers = {"Origin": EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
        answer = ask(cast.owner.client, route.verb, route.path, headers=headers)
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")], route


ASTRAY = (
    "//evil.example", "https://evil.example", "https:evil.example", "/\\evil.example", "\\\\evil.example",
    "/%5cevil.example", "/%0d%0aLocation:https://evil.example", "/\r\nX-Evil: 1", "javascript:alert(1)",
    "https://127.0.0.1@evil.example", "http://127.0.0.1:evil@evil.example", "https://evil\u3002example",
    "//evil\u3002example", "///evil.example", "////evil.example", "\t//evil.example", " //evil.example",
    "data:text/html,x", "http:///evil.example", "/.//evil.example", "//127.0.0.1.evil.example", "HTTPS://EVIL.EXAMPLE",
    "/\t/evil.example",
)  # fmt: skip
# Whatever anybody might call the address to go on to.
PARAMETERS = (
    "next",
    "returnUrl",
    "return_url",
    "success_url",
    "cancel_url",
    "redirect",
    "redirect_to",
    "url",
    "continue",
    "back",
)


def leads_away(answer: TestResponse, origins: tuple[str, ...]) -> str | None:
    """The address if a browser would leave for a site that is none of ours.

    `urlsplit` and browsers differ on the forms above, so only a path or one of our origins counts as staying.
    """
    location = answer.headers.get("Location")
    if location is None or re.match(r"/(?![/\\\s])|[\w%]+(?![\w%:])", location):
        return None
    parts = urlsplit(location)
    return None if f"{parts.scheme}://{parts.netloc}" in origins else location


def test_s42_no_parameter_leads_to_another_site(app: Flask, cast: Cast) -> None:
    """Routes that go where a parameter says are found by a harmless one, and then given every other kind."""
    origins = ("http://localhost", app.config["SETTINGS"].base_url, *app.config["SETTINGS"].hosted_page_origins)
    routes = [route for route in addresses(app, cast, ("GET", "POST")) if "?" not in route.path]
    following = set()
    for route in routes:
        client = cast.anonymous if route.endpoint == "security.logout" else cast.owner.client
        if "/pricing?probe" in (_go_on(client, route, "/pricing?probe").location or ""):
            following.add(route.endpoint)
        for address in ASTRAY if route.endpoint in following else ASTRAY[:1]:
            answer = _go_on(client, route, address)
            assert leads_away(answer, origins) is None, (route, address)
            assert "X-Evil" not in answer.headers, (route, address)
    assert "accounts.appearance" in following


def _go_on(client: FlaskClient, route: Address, address: str) -> TestResponse:
    given = dict.fromkeys(PARAMETERS, address)
    form = given | {"theme": "dark", "email": "owner@example.com", "password": "x"} if route.verb == "POST" else None
    return ask(client, route.verb, route.path, query_string=given, data=form)


def test_s42_signing_in_goes_on_to_no_other_site(app: Flask) -> None:
    with unit_of_work():
        user = make_user("way@example.com")
        user.password = hash_password(PASSWORD)
    for address in ("/pricing", *ASTRAY):
        forget_counts()
        form = {"email": "way@example.com", "password": PASSWORD, "next": address}
        answer = ask(app.test_client(), "POST", "/login", data=form, query_string={"next": address})
        if address == "/pricing":
            assert answer.headers["Location"] == address
        else:
            # Refused with the form, or taken to where everybody goes.
            assert answer.status_code in (200, 302), address
            assert leads_away(answer, ()) is None, address


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:80",
        "127.0.0.1, evil.example",
        "localhost@evil",
        "a b",
        "",
    ],
)
def test_s44_another_host_is_nobodys(app: Flask, cast: Cast, host: str) -> None:
    for path in (
        "/",
        "/pricing",
        "/login",
        f"/teams/{cast.team_id}/billing",
        "/api/v1/credits",
        "/static/css/base.css",
    ):
        answer = ask(cast.owner.client, "GET", path, headers={"Host": host})
        assert answer.status_code == 400, path
        assert "evil" not in answer.get_data(as_text=True), path


def test_s44_a_whole_address_in_the_request_line_is_refused(cast: Cast) -> None:
    """As the server hands it on; two Host headers it refuses itself."""
    for line in ("http://evil.example/pricing", "http://127.0.0.1:8000/pricing", "evil.example/pricing"):
        assert ask(cast.owner.client, "GET", "/pricing", environ_overrides={"RAW_URI": line}).status_code == 400, line


def test_s45_nobody_is_believed_to_speak_for_another(app: Flask, client: FlaskClient) -> None:
    forged = {"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https",
              "X-Real-IP": "198.51.100.9", "Forwarded": "for=198.51.100.9;host=evil.example"}  # fmt: skip
    with app.test_request_context("/", headers=forged, environ_base={"REMOTE_ADDR": "192.0.2.7"}):
        assert client_address() == "192.0.2.7"
        assert request.scheme == "http"
    answer = ask(client, "GET", "/teams", headers=forged)
    assert answer.status_code == 302
    assert "evil" not in answer.headers["Location"]


def test_s45_behind_a_proxy_only_its_own_word_counts(another: Another) -> None:
    """The last hop is the proxy's; what stands before it, a client may have written."""
    behind = another(proxy_hops=1)
    seen: list[str] = []

    @behind.before_request
    def note() -> None:
        seen.append(f"{client_address()} {request.scheme}")

    for forwarded in ("203.0.113.5", "198.51.100.9, 203.0.113.5", "evil, 10.0.0.1, 203.0.113.5"):
        behind.test_client().get("/healthz", headers={"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "http, https"})
    assert seen == ["203.0.113.5 https"] * 3


def pages(app: Flask, cast: Cast) -> Iterator[tuple[str, TestResponse]]:
    """Every answer to a GET: as a page and as a fragment, by an owner and by a stranger, and the pages of errors."""
    for route in addresses(app, cast):
        for headers in ({}, {"HX-Request": "true"}):
            yield route.path, ask(cast.owner.client, "GET", route.path, headers=headers)
        yield route.path, ask(cast.anonymous, "GET", route.path)
    yield "/nowhere", ask(cast.owner.client, "GET", "/nowhere")
    yield "/appearance", ask(cast.owner.client, "GET", "/appearance")
    yield "/appearance", ask(cast.owner.client, "POST", "/appearance", data={"theme": "x"})


def test_s56_nothing_inline_and_a_strict_policy_on_every_page(app: Flask, cast: Cast) -> None:
    policy = content_policy(app.config["SETTINGS"])
    for part in (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    ):
        assert part in policy
    assert "unsafe" not in policy
    for path, answer in pages(app, cast):
        if answer.mimetype != "text/html":
            continue
        assert answer.headers["Content-Security-Policy"] == policy or path.startswith("/dev/mail"), path
        page = Page(answer.get_data(as_text=True))
        assert [tag for tag, _ in page.inline if tag == "style"] == [], path
        for tag, attributes in page.tags:
            assert tag not in ("style", "object", "embed", "base"), path
            assert "style" not in attributes, (path, tag)
            assert not [name for name in attributes if name.startswith("on")], (path, tag)
            if tag == "script":
                assert "src" in attributes or attributes.get("type") == "application/json", path
        for tag, name, value in page.values("src", "href", "action", "formaction", "data", "poster"):
            picture = tag == "img" and value.startswith("data:image/")  # the policy lets pictures, and runs none
            script = re.match(r"\s*(javascript|vbscript|data):", value, re.IGNORECASE)
            assert not script or picture, (path, tag, name, value)


def test_s57_htmx_evaluates_nothing_and_asks_nobody_else(app: Flask, cast: Cast) -> None:
    seen = 0
    for path, answer in pages(app, cast):
        if answer.mimetype != "text/html" or "<head>" not in answer.get_data(as_text=True):
            continue
        for tag, attributes in Page(answer.get_data(as_text=True)).tags:
            if tag == "meta" and attributes.get("name") == "htmx-config":
                config, seen = json.loads(attributes["content"]), seen + 1
                assert config["allowEval"] is False, path
                assert config["allowScriptTags"] is False, path
                assert config["selfRequestsOnly"] is True, path
                assert config["includeIndicatorStyles"] is False, path
                assert config["historyCacheSize"] == 0, path
    assert seen > 10


def test_s58_every_answer_carries_the_headers(app: Flask, cast: Cast) -> None:
    for path, answer in pages(app, cast):
        for name in HEADERS:
            assert name in answer.headers, (path, name)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Strict-Transport-Security" not in answer.headers, "the address of this app is not https"
        if answer.status_code == 200 and path.startswith("/teams"):
            assert answer.headers["Cache-Control"] == "no-store", path
    assert {"static", "bundles.bundle", "catalog.pricing", "catalog.accent_css"} == set(PUBLIC_ENDPOINTS)


def test_s58_what_a_signed_in_person_sees_is_kept_nowhere(app: Flask, cast: Cast) -> None:
    for route in addresses(app, cast):
        answer = ask(cast.owner.client, "GET", route.path)
        if route.endpoint not in ("static", "security.static", "bundles.bundle", "catalog.accent_css"):
            assert answer.headers["Cache-Control"] == "no-store", route


def test_s58_over_tls_browsers_are_told_to_stay_there(another: Another) -> None:
    secure = another(base_url="https://billing.example.com", mail_url="smtp://mail.example.com")
    for path in ("/pricing", "/nowhere", "/healthz", "/static/css/base.css", "/api/v1/credits"):
        answer = ask(secure.test_client(), "GET", path, base_url="https://billing.example.com")
        found = re.fullmatch(r"max-age=(\d+).*", answer.headers["Strict-Transport-Security"])
        assert found is not None
        assert int(found[1]) >= 365 * 24 * 3600


BROKEN_LINES = ("a\r\nX-Evil: 1", "a\nSet-Cookie: evil=1", "a\x1b[31mred", "a\x00b", "a\u2028b", "%0d%0aX-Evil: 1")


@pytest.mark.parametrize("text", BROKEN_LINES)
def test_s60_no_text_of_a_request_begins_a_new_header_or_line_of_log(
    app: Flask, cast: Cast, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    answers = [
        ask(cast.owner.client, "GET", "/pricing", query_string={"plan": text, "interval": text}),
        ask(
            cast.owner.client,
            "GET",
            "/teams/" + text.replace("\r", "%0d").replace("\n", "%0a").replace("\x00", "%00") + "/billing",
        ),
        ask(cast.owner.client, "POST", "/appearance", data={"theme": "dark", "next": "/" + text}),
        ask(cast.owner.client, "POST", f"/teams/{cast.team_id}/api-keys", data={"name": text}),
        ask(cast.anonymous, "POST", "/login", data={"email": text, "password": text}),
        ask(
            cast.owner.client,
            "GET",
            "/teams",
            headers={"User-Agent": text.encode("ascii", "replace").decode().translate({10: 32, 13: 32, 0: 32})},
        ),
    ]
    for answer in answers:
        assert answer.status_code < 500
        assert "X-Evil" not in answer.headers
        assert "evil" not in answer.headers.get("Set-Cookie", "")
        assert not any("\n" in value or "\r" in value for value in answer.headers.values())
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("{"), line
        assert "\x1b" not in line


def test_s61_pages_take_no_more_than_they_need(guarded: Flask, cast: Cast) -> None:
    """Too much is refused before it is read into memory, by every route that takes a form."""
    many = "&".join(f"f{number}=x" for number in range(1001))
    parts = "".join(f'--b\r\nContent-Disposition: form-data; name="f{number}"\r\n\r\nx\r\n' for number in range(1001))
    for route in addresses(guarded, cast, UNSAFE):
        if BY_KEY.match(route.path):
            continue
        form = {"Content-Type": "multipart/form-data; boundary=b"}
        fields = "application/x-www-form-urlencoded"
        client = cast.owner.client
        assert ask(client, route.verb, route.path, data={"name": "x" * 2_000_000}).status_code == 413, route
        assert ask(client, route.verb, route.path, data=parts + "--b--\r\n", headers=form).status_code == 413, route
        assert ask(client, route.verb, route.path, data=many, content_type=fields).status_code in (400, 413), route


def test_s76_an_error_says_nothing_of_the_inside(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_values: object) -> str:
        raise RuntimeError("canary-inside")

    for endpoint in ("catalog.pricing", "billing.overview", "api_credits.read_credits"):
        monkeypatch.setitem(app.view_functions, endpoint, broken)
    for path in ("/pricing", f"/teams/{cast.team_id}/billing", "/api/v1/credits"):
        answer = ask(cast.owner.client, "GET", path)
        page = answer.get_data(as_text=True)
        assert answer.status_code == 500
        assert answer.headers["Request-Id"] in page
        for inside in ("canary-inside", "Traceback", "RuntimeError", "File &#34;", "portal/"):
            assert inside not in page, (path, inside)


@pytest.mark.parametrize(
    "path", ["/console", "/.git/config", "/.git/HEAD", "/.env", "/static/../wsgi.py", "/static/%2e%2e/wsgi.py",
             "/static/..%2fwsgi.py", "/debug", "/admin", "/server-status", "/static/"]
)  # fmt: skip
def test_s76_nothing_of_the_inside_is_served(cast: Cast, path: str) -> None:
    assert ask(cast.owner.client, "GET", path).status_code == 404


def test_s76_no_route_can_be_traced_or_debugged(app: Flask, cast: Cast) -> None:
    assert not app.debug
    for route in addresses(app, cast):
        for verb in ("TRACE", "TRACK", "CONNECT", "DEBUG"):
            answer = ask(cast.owner.client, verb, route.path, headers={"Cookie": "a=canary"})
            assert answer.status_code == 405, (verb, route)
            assert "canary" not in answer.get_data(as_text=True)
    assert "__debugger__" not in ask(
        cast.owner.client, "GET", "/pricing?__debugger__=yes&cmd=resource&f=style.css"
    ).get_data(as_text=True)
