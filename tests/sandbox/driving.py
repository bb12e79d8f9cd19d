"""Driving a sandbox in tests: its API and pages in process, and the same over HTTP where a real client is used."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

KEY = "sk_test_tests"
GOOD_CARD = {"card_number": "4242 4242 4242 4242", "exp": "12/34", "cvc": "123", "name": "Ada Buyer"}
DECLINED_CARD = GOOD_CARD | {"card_number": "4000 0000 0000 0002"}
Json = dict[str, Any]
PORTAL: Json = {
    "business_profile[headline]": "Manage your plan",
    "business_profile[privacy_policy_url]": "https://example.com/privacy",
    "default_return_url": "http://127.0.0.1:9/billing",
    "features[customer_update][allowed_updates][0]": "name",
    "features[customer_update][allowed_updates][1]": "email",
    "features[customer_update][allowed_updates][2]": "address",
    "features[customer_update][enabled]": "true",
    "features[invoice_history][enabled]": "true",
    "features[payment_method_update][enabled]": "true",
    "features[subscription_cancel][cancellation_reason][enabled]": "true",
    "features[subscription_cancel][cancellation_reason][options][0]": "too_expensive",
    "features[subscription_cancel][cancellation_reason][options][1]": "unused",
    "features[subscription_cancel][cancellation_reason][options][2]": "other",
    "features[subscription_cancel][enabled]": "true",
}


class Wall:
    """A wall clock that stands still until it is moved."""

    def __init__(self, at: int = 1_800_000_000) -> None:
        self.at = at

    def __call__(self) -> float:
        """Return the time in epoch seconds."""
        return float(self.at)


def _first(subscription: Json) -> str:
    return str(subscription["items"]["data"][0]["id"])


class Driver:
    """Requests to one sandbox, in process."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client()

    def send(self, method: str, path: str, data: Json | None = None, **headers: str) -> TestResponse:
        """Send a request with the right key; `headers` use underscores for dashes."""
        sent = {"Authorization": f"Bearer {KEY}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if method in {"GET", "DELETE"}:
            return self.client.open(path, method=method, query_string=data, headers=sent)
        return self.client.open(path, method=method, data=data or {}, headers=sent)

    def call(self, method: str, path: str, data: Json | None = None, **headers: str) -> Json:
        """Send a request that must succeed and return its body."""
        response = self.send(method, path, data, **headers)
        body = json.loads(response.data)
        assert response.status_code == 200, body
        return body

    def get(self, path: str, **params: Any) -> Json:
        """Read one object or list."""
        return self.call("GET", path, params)

    def post(self, path: str, data: Json | None = None, **headers: str) -> Json:
        """Change something."""
        return self.call("POST", path, data, **headers)

    def error(self, method: str, path: str, data: Json | None = None, **headers: str) -> tuple[int, Json]:
        """Send a request that must fail; returns the status and the error."""
        response = self.send(method, path, data, **headers)
        assert response.status_code >= 400, response.data
        return response.status_code, json.loads(response.data)["error"]

    def retry(self, days: list[int], afterwards: str) -> None:
        """Try refused payments of plans again on these days, and then do this."""
        policy = {"retry_days": days, "afterwards": afterwards}
        answer = self.client.post("/_sandbox/retries", json=policy, headers={"Authorization": f"Bearer {KEY}"})
        assert json.loads(answer.data) == policy

    def price(self, amount: int = 2900, interval: str | None = "month", name: str = "Pro", **more: Any) -> Json:
        """Make a product with one price."""
        product = self.post("/v1/products", {"name": name})
        data: Json = {"product": product["id"], "currency": "usd", "unit_amount": amount, **more}
        if interval:
            data["recurring[interval]"] = interval
        return self.post("/v1/prices", data)

    def session(self, price: Json | None = None, /, **more: Any) -> Json:
        """Make a Checkout Session in subscription mode, unless `mode` says otherwise."""
        data = {
            "mode": "subscription",
            "line_items[0][price]": (price or self.price())["id"],
            "line_items[0][quantity]": 1,
            "success_url": "http://127.0.0.1:9/return?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://127.0.0.1:9/pricing",
        }
        return self.post("/v1/checkout/sessions", data | more)

    def pay(self, session: Json, form: Json | None = None, /, **fields: Any) -> TestResponse:
        """Post the checkout page's form."""
        sent = {"email": "buyer@example.com", **GOOD_CARD, **(form or {}), **fields}
        return self.client.post(f"/c/pay/{session['id']}", data=sent)

    def paid(self, session: Json, /, **fields: Any) -> Json:
        """Pay a session with a good card and return it as it is afterwards."""
        response = self.pay(session, **fields)
        assert response.status_code == 303, response.get_data(as_text=True)
        return self.get(f"/v1/checkout/sessions/{session['id']}")

    def begin(self, price: Json | None = None, /, card: str = "pm_card_visa", **more: Any) -> Json:
        """Begin a subscription of a new customer through the API, paid with a stock card."""
        customer = self.post("/v1/customers", {"email": "a@b.co"})["id"]
        attached = self.post(f"/v1/payment_methods/{card}/attach", {"customer": customer})["id"]
        order = {
            "customer": customer,
            "items[0][price]": (price or self.price())["id"],
            "default_payment_method": attached,
        }
        return self.post("/v1/subscriptions", order | more)

    def change(self, subscription: Json, **sent: Any) -> Json:
        """Change a subscription; `price` and `quantity` are those of its first item."""
        for name in ("price", "quantity"):
            if name in sent:
                sent |= {"items[0][id]": _first(subscription), f"items[0][{name}]": sent.pop(name)}
        return self.post(f"/v1/subscriptions/{subscription['id']}", sent)

    def subscription(self, known: Json) -> Json:
        """Read a subscription again."""
        return self.get(f"/v1/subscriptions/{known['id']}")

    def latest_invoice(self, known: Json) -> Json:
        """Read the newest invoice of a subscription."""
        return self.get(f"/v1/invoices/{self.subscription(known)['latest_invoice']}")

    def card(self, known: Json, card: str = "pm_card_visa") -> str:
        """Attach another stock card to the customer of a subscription; returns its id."""
        return str(self.post(f"/v1/payment_methods/{card}/attach", {"customer": known["customer"]})["id"])

    def pass_by(self, days: float) -> None:
        """Move the sandbox's clock forward."""
        self.pass_seconds(int(days * 86400))

    def pass_until(self, at: int) -> None:
        """Move the sandbox's clock forward to an instant."""
        self.pass_seconds(at - self.get("/_sandbox/clock")["now"])

    def pass_seconds(self, seconds: int) -> None:
        """Move the sandbox's clock forward by whole seconds."""
        headers = {"Authorization": f"Bearer {KEY}"}
        sent = {"advance_seconds": seconds}
        assert self.client.post("/_sandbox/clock", json=sent, headers=headers).status_code == 200

    def events(self, **params: Any) -> list[Json]:
        """Return all events, oldest first."""
        listed = self.get("/v1/events", limit=100, **params)
        found = listed["data"]
        while listed["has_more"]:
            listed = self.get("/v1/events", limit=100, starting_after=found[-1]["id"], **params)
            found += listed["data"]
        return list(reversed(found))

    def event_types(self) -> list[str]:
        """Return the types of all events, oldest first."""
        return [event["type"] for event in self.events()]

    def count(self) -> dict[str, int]:
        """Return how many objects of each type the state holds."""
        rows = self.app.extensions["sandbox"].store.query("SELECT type, count(*) AS n FROM objects GROUP BY type")
        return {row["type"]: row["n"] for row in rows}


@dataclass
class Receiver:
    """A webhook endpoint that keeps what it gets and answers as it is told."""

    url: str
    statuses: list[int] = field(default_factory=list)
    received: list[tuple[str, bytes]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    location: str | None = None
    hold: threading.Event | None = None

    def wait_for(self, number: int, seconds: float = 20) -> list[tuple[str, bytes]]:
        """Wait until so many requests have come, and return them."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= number, seconds), self.received
            return list(self.received)

    def types(self) -> list[str]:
        """Return the types of the events that came."""
        return [json.loads(body)["type"] for _, body in self.received]


@contextmanager
def receiving(statuses: list[int] | None = None) -> Iterator[Receiver]:
    """Run a receiver that answers with `statuses` one after the other, then 200."""
    receiver = Receiver("", list(statuses or []))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.hold is not None:
                receiver.hold.wait(20)
            with receiver.arrived:
                receiver.received.append((self.headers["Stripe-Signature"], body))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                receiver.arrived.notify_all()
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.end_headers()
            self.wfile.write(b"x" * 5000)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class names it so)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        server.shutdown()
        server.server_close()
