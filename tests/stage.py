"""A stage for whole stories without processes: the stand-in for Stripe over HTTP, events delivered by hand, the queue
drained by hand, and one clock that both sides follow.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import requests
from flask import Flask
from werkzeug.test import TestResponse

from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.sandbox import create_sandbox
from portal.webhooks.signature import sign
from portal.worker import drain
from tests.cast import Person
from tests.live import listening, served

API_KEY = "sk_test_stage"
WEBHOOK_SECRET = "whsec_stage"

# What an endpoint does not take is sent again at once: nothing here waits for the sake of waiting.
SOON = (0.02,) * 7

VISA = "4242424242424242"
DECLINED = "4000000000000002"
ASKS_WHO_PAYS = "4000002500003155"


@contextmanager
def serve_sandbox() -> Iterator[str]:
    """A stand-in in a thread of this process, on a free port, with its state in memory and no endpoint to send to."""
    with listening() as (listener, url):
        app = create_sandbox(":memory:", API_KEY, public_url=url, retry_delays=SOON)
        try:
            with served(app, listener):
                yield url
        finally:
            app.extensions["sandbox"].close()


@dataclass
class Stage:
    """The portal's `app`, the stand-in's address, and the events of this story in the order they happened."""

    app: Flask
    stripe_url: str
    last_event: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    # Until when the cards last that people pay with.
    card_expiry: str = "12 / 99"  # one test after the other, the clock goes on for decades

    def __post_init__(self) -> None:
        self._end_other_stories()
        newest = self.stripe("GET", "/v1/events", limit=1)["data"]
        self.last_event = newest[0]["id"] if newest else None
        # The stand-in lives through many stories and its clock only goes forward: ours joins it.
        self._move_portal(timedelta(seconds=self.sandbox("clock")["offset_seconds"]))

    def _end_other_stories(self) -> None:
        """End what earlier stories left, so that it does not renew in the middle of this one."""
        while left := self.stripe("GET", "/v1/subscriptions", limit=100)["data"]:
            for subscription in left:
                self.stripe("DELETE", f"/v1/subscriptions/{subscription['id']}")

    def stripe(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        """One call to the stand-in, as anybody with the key could make it."""
        place = "params" if method == "GET" else "data"
        answer = requests.request(
            method,
            self.stripe_url + path,
            auth=(API_KEY, ""),
            timeout=20,
            **{place: params},  # type: ignore[arg-type]
        )
        answer.raise_for_status()
        return dict(answer.json())

    def begin_checkout(self, person: Person, team_id: str, plan: str, interval: str = "month") -> str:
        """Press the plan's button; returns the address of the hosted page."""
        answer = person.client.post(f"/teams/{team_id}/checkout", data={"plan": plan, "interval": interval})
        assert answer.status_code == 303, answer.get_data(as_text=True)
        return str(answer.location)

    def begin_bundle(self, person: Person, team_id: str, bundle: str = "credits_1000", **fields: str) -> str:
        """Press the button of a bundle; returns the address of the hosted page."""
        answer = person.client.post(f"/teams/{team_id}/checkout", data={"bundle": bundle, **fields})
        assert answer.status_code == 303, answer.get_data(as_text=True)
        return str(answer.location)

    def buy_bundle(self, person: Person, team_id: str, bundle: str = "credits_1000", card: str = VISA) -> str:
        """Buy a bundle; returns the checkout's id. Stripe's events are not delivered yet."""
        return self._paid(self.begin_bundle(person, team_id, bundle), card)

    def pay(self, address: str, card: str = VISA, **ticked: str) -> requests.Response:
        """Fill in the hosted page's form."""
        form = {
            "email": "owner@example.com",
            "card_number": card,
            "exp": self.card_expiry,
            "cvc": "123",
            "name": "Owner",
        }
        form |= ticked
        return requests.post(address, data=form, allow_redirects=False, timeout=20)

    def subscribe(self, person: Person, team_id: str, plan: str, interval: str = "month", card: str = VISA) -> str:
        """Buy a plan; returns the checkout's id. Stripe's events are not delivered yet."""
        return self._paid(self.begin_checkout(person, team_id, plan, interval), card)

    def _paid(self, address: str, card: str) -> str:
        answer = self.pay(address, card)
        assert answer.status_code == 303, answer.text
        found = re.search(r"/checkout/(chk_[0-9A-Z]+)", answer.headers["Location"])
        assert found is not None
        return found.group(1)

    def new_events(self) -> list[dict[str, Any]]:
        """What happened at Stripe since the last look, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            after = {"ending_before": self.last_event} if self.last_event else {}
            page = self.stripe("GET", "/v1/events", limit=100, **after)["data"]
            if not page:
                return found
            self.last_event = page[0]["id"]
            found += reversed(page)

    def deliver(self, event: dict[str, Any]) -> int:
        """Send one event to the front door, signed; returns the status."""
        return self.send(event).status_code

    def send(self, event: dict[str, Any]) -> TestResponse:
        body = json.dumps(event).encode()
        header = sign(body, WEBHOOK_SECRET, int(time.time()))
        return self.app.test_client().post("/webhooks/stripe", data=body, headers={"Stripe-Signature": header})

    def deliver_all(self) -> list[dict[str, Any]]:
        """Deliver everything new in order and apply it."""
        events = self.new_events()
        for event in events:
            assert self.deliver(event) == 200
        self.drain()
        return events

    def drain(self) -> int:
        done = drain()
        db.session.remove()
        return done

    def advance(self, by: timedelta) -> None:
        """Move both clocks on."""
        self._move_portal(by)
        self.sandbox("clock", json={"advance_seconds": int(by.total_seconds())})

    def _move_portal(self, by: timedelta) -> None:
        with unit_of_work():
            clock.advance(by)
        db.session.remove()

    @contextmanager
    def retries(self, days: list[int], afterwards: str) -> Iterator[None]:
        """What Stripe's account does about a refused payment, for a while."""
        before = self.sandbox("retries")
        self.sandbox("retries", json={"retry_days": days, "afterwards": afterwards})
        try:
            yield
        finally:
            self.sandbox("retries", json=before)

    def sandbox(self, what: str, **request: Any) -> dict[str, Any]:
        """Read or set what no API of Stripe's has."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        method = "POST" if request else "GET"
        answer = requests.request(method, f"{self.stripe_url}/_sandbox/{what}", headers=headers, timeout=20, **request)
        answer.raise_for_status()
        return dict(answer.json())
