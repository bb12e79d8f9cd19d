"""From an event of Stripe's to the changed right: how long after it is sent does `GET /api/v1/entitlements` say so?

A plan is changed at the stand-in, back and forth, and each change is told to the portal by an event of our own, so that
the clock starts when the event is sent. Then the API is asked, as a backend would ask it, until it names the other plan.
One event after another: how long one takes is measured, not how many can be had at a time.
"""

from __future__ import annotations

import http.client
import itertools
import json
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import requests

from portal.webhooks.signature import sign
from tests.bench.stand import HOST, ROOT, SECONDS_MAX, SECRET, Customer, Stand, running
from tests.stage import API_KEY

EVENTS, WARM_UP = 500, 20
PLANS = ("business", "pro")
# Between two looks, so that asking does not take the processor from those who are asked about.
LOOK_SECONDS = 0.002

Json = dict[str, Any]


@dataclass
class Backend:
    """A customer's backend: one connection, and the ETag of the answer it has."""

    port: int
    secret: str
    etag: str = ""

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_MAX)

    def plan(self) -> str | None:
        """The plan in force, or None while nothing has changed since the last look."""
        headers = {"Host": HOST, "Authorization": f"Bearer {self.secret}", "If-None-Match": self.etag}
        self._connection.request("GET", "/api/v1/entitlements", headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status == 304:
            return None
        assert answer.status == 200, body
        self.etag = answer.headers["ETag"]
        return str(json.loads(body)["plan"]["key"])

    def wait_for(self, plan: str) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while self.plan() != plan:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the API does not name {plan} after {SECONDS_MAX} s")
            time.sleep(LOOK_SECONDS)


@dataclass
class Subscription:
    """A customer's subscription at the stand-in, and the portal's door for the news of it."""

    stand: Stand
    customer: Customer

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._session = requests.Session()
        self._session.auth = (API_KEY, "")
        self._door = http.client.HTTPConnection("127.0.0.1", self.stand.portal.port, timeout=SECONDS_MAX)
        self._prices = {plan: self._price_of(plan) for plan in PLANS}
        card = self._stripe("POST", "/payment_methods/pm_card_visa/attach", customer=self.customer.stripe_id)["id"]
        terms = {"items[0][price]": self._prices[PLANS[1]], "default_payment_method": card}
        made = self._stripe("POST", "/subscriptions", customer=self.customer.stripe_id, **terms)
        self._id, self._item = made["id"], made["items"]["data"][0]["id"]
        self.tell(*self.news(made))

    def _price_of(self, plan: str) -> str:
        found = self._stripe("GET", "/prices", **{"lookup_keys[]": f"turnpike_plan_{plan}_month"})
        return str(found["data"][0]["id"])

    def _stripe(self, method: str, path: str, **fields: str) -> Json:
        place = {"params" if method == "GET" else "data": fields}
        answer = self._session.request(method, f"{self.stand.stripe_url}/v1{path}", timeout=SECONDS_MAX, **place)  # type: ignore[arg-type]
        answer.raise_for_status()
        return dict(answer.json())

    def change_to(self, plan: str) -> Json:
        """Change the plan; returns the subscription as it is then."""
        item = {"items[0][id]": self._item, "items[0][price]": self._prices[plan]}
        return self._stripe("POST", f"/subscriptions/{self._id}", proration_behavior="none", **item)

    def news(self, subscription: Json) -> tuple[bytes, str]:
        """An event that tells of it, and its signature."""
        event = {
            "id": f"evt_propagation{next(self._numbers):08}",
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": int(time.time()),
            "type": "customer.subscription.updated",
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "data": {"object": subscription},
        }
        body = json.dumps(event).encode()
        return body, sign(body, SECRET, int(time.time()))

    def tell(self, body: bytes, signature: str) -> None:
        headers = {"Host": HOST, "Content-Type": "application/json", "Stripe-Signature": signature}
        self._door.request("POST", "/webhooks/stripe", body, headers)
        answer = self._door.getresponse()
        answer.read()
        assert answer.status == 200


def measure(stand: Stand) -> list[float]:
    """The seconds that each event took; a few events before them warm everything up."""
    with ExitStack() as stack:
        command, log = [sys.executable, "worker.py"], stand.folder / "worker.log"
        running(stack, command, stand.environment, ROOT, signal.SIGTERM, output=log)
        customer = stand.customers[0]
        backend, subscription = Backend(stand.portal.port, customer.api_key), Subscription(stand, customer)
        backend.wait_for(PLANS[1])
        plans = itertools.islice(itertools.cycle(PLANS), WARM_UP + EVENTS)
        return [_one(subscription, backend, plan) for plan in plans][WARM_UP:]


def _one(subscription: Subscription, backend: Backend, plan: str) -> float:
    news = subscription.news(subscription.change_to(plan))
    begin = time.perf_counter()
    subscription.tell(*news)
    backend.wait_for(plan)
    return time.perf_counter() - begin
