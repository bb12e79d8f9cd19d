"""Pages and calls while Redis hangs: each is answered, and waits for Redis so few times that it stays under a second.

The waits are counted at the client's sockets rather than timed: how long one lasts is a setting.
"""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis.connection as wire
from flask import Flask
from redis.exceptions import TimeoutError as RedisTimeout

from portal import create_app
from portal.core import limits
from portal.settings import load_settings
from tests import services
from tests.cast import PASSWORD, Cast, gather
from tests.conftest import FreshContextClient, empty_tables
from tests.own_servers import OwnRedis
from tests.services import DatabaseUrls
from tests.stage import WEBHOOK_SECRET
from tests.web.accounts.doors import make_person, sign_in
from tests.web.api.backend import Backend, backend_of
from tests.web.door import BODY, send

SECONDS = 0.25
WAITS_MAX = 3


@dataclass
class Waits:
    """How long this thread's talks with Redis may have taken that came to nothing, one by one, in seconds."""

    seconds: list[float | None] = field(default_factory=list)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mine = threading.get_ident()

        def counted(owner: Any, name: str, setting: str) -> None:
            original = getattr(owner, name)

            def watched(self_: Any, *args: Any, **more: Any) -> Any:
                try:
                    return original(self_, *args, **more)
                except (RedisTimeout, TimeoutError):
                    if threading.get_ident() == mine:
                        self.seconds.append(getattr(self_, setting))
                    raise

            monkeypatch.setattr(owner, name, watched)

        counted(wire.AbstractConnection, "read_response", "socket_timeout")
        counted(wire.Connection, "_connect", "socket_connect_timeout")

    def taken(self) -> list[float | None]:
        found, self.seconds = self.seconds, []
        return found


@pytest.fixture
def hanging_app(
    portal_app: Flask, database_urls: DatabaseUrls, stripe_url: str, own_redis: OwnRedis
) -> Iterator[Flask]:
    """An app that counts in a Redis of the test's own; afterwards the limiter counts where it did before."""
    before = dict(vars(limits))
    environment = services.app_environment(database_urls, own_redis.url) | {
        "STRIPE_API_BASE": stripe_url,
        "HOSTED_PAGE_ORIGINS": stripe_url,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    app = create_app(load_settings(environment))
    app.config["WTF_CSRF_ENABLED"] = False
    app.extensions["security"].pwd_context.update(argon2__time_cost=1, argon2__memory_cost=64, argon2__parallelism=1)
    app.test_client_class = FreshContextClient
    empty_tables(portal_app)
    with app.app_context():
        yield app
        services.close_connections()
    vars(limits).update(before)


@dataclass
class Caller:
    """Who sends the requests of the table: the team's owner, its backend, and people at the door."""

    cast: Cast
    backend: Backend
    keys: Iterator[int] = field(default_factory=itertools.count)

    def page(self, path: str) -> int:
        return self.cast.owner.client.get(path.format(team=self.cast.team_id)).status_code

    def begin_checkout(self) -> int:
        form = {"plan": "business", "interval": "month"}
        return self.cast.owner.client.post(f"/teams/{self.cast.team_id}/checkout", data=form).status_code

    def sign_in(self, password: str) -> int:
        return sign_in(self.backend.app.test_client(), password=password).status_code

    def reset(self) -> int:
        return self.cast.anonymous.post("/reset", data={"email": "robin@example.com"}).status_code

    def api(self, method: str, path: str, body: Any = None, secret: str = "") -> int:
        headers = {"Authorization": f"Bearer {secret or self.backend.secret}", "Idempotency-Key": f"k{next(self.keys)}"}
        client = self.backend.app.test_client()
        return client.open(f"/api/v1{path}", method=method, headers=headers, json=body).status_code


PLAN = {"plan": "business", "interval": "month"}
REQUESTS: dict[str, tuple[int, Callable[[Caller], int]]] = {
    "pricing": (200, lambda by: by.page("/pricing")),
    "overview": (200, lambda by: by.page("/teams/{team}/billing")),
    "credits": (200, lambda by: by.page("/teams/{team}/credits")),
    "invoices": (200, lambda by: by.page("/teams/{team}/invoices")),
    "payments": (200, lambda by: by.page("/teams/{team}/payments")),
    "a checkout": (303, Caller.begin_checkout),
    "signing in": (302, lambda by: by.sign_in(PASSWORD)),
    "a wrong password": (200, lambda by: by.sign_in("not the password")),
    "asking for a new password": (200, Caller.reset),
    "GET /billing": (200, lambda by: by.api("GET", "/billing")),
    "GET /usage": (200, lambda by: by.api("GET", "/usage")),
    "POST /usage": (200, lambda by: by.api("POST", "/usage", {"meter": "send_email", "quantity": 1})),
    "POST /checkout-sessions": (200, lambda by: by.api("POST", "/checkout-sessions", PLAN)),
    "a key that is not valid": (401, lambda by: by.api("GET", "/billing", secret="no_key")),
    "an event": (200, lambda by: send(by.cast.anonymous, BODY)),
    "/readyz": (200, lambda by: by.page("/readyz")),
}


def test_while_redis_hangs_every_request_is_answered_and_waits_for_it_three_times_at_most(
    hanging_app: Flask, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request twice: as the first of its process that meets the trouble, and as the next one."""
    cast = gather(hanging_app)
    make_person()
    by = Caller(cast, backend_of(hanging_app, cast.team_id, cast.owner))
    by.backend.give(1_000)
    for name in ("pricing", "a wrong password", "GET /billing", "POST /usage"):  # the connections are open
        assert REQUESTS[name][1](by) == REQUESTS[name][0]
    unaware = dict(vars(limits))
    waits = Waits()
    waits.watch(monkeypatch)
    own_redis.send(signal.SIGSTOP)
    found = {}
    for name, (expected, request) in REQUESTS.items():
        vars(limits).update(unaware)
        found[name] = _waits_of(by, request, expected, waits), _waits_of(by, request, expected, waits)
    own_redis.send(signal.SIGCONT)

    assert max(first for first, _ in found.values()) > 0, "Redis did not hang"
    assert {name: counts for name, counts in found.items() if max(counts) > WAITS_MAX} == {}


def _waits_of(by: Caller, request: Callable[[Caller], int], expected: int, waits: Waits) -> int:
    assert request(by) == expected
    taken = waits.taken()
    assert set(taken) <= {SECONDS}, "a wait that is not bounded"
    return len(taken)
