"""Thin events: delivered and signed like the others, without the object, and read again by API v2."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from portal.sandbox import create_sandbox
from tests.live import serving
from tests.sandbox.driving import KEY, Driver, Json, Receiver, receiving

ALL = "/v2/core/event_destinations"
INCLUDE = ["webhook_endpoint.signing_secret", "webhook_endpoint.url"]


@pytest.fixture
def address(sandbox: Driver) -> Iterator[str]:
    with serving(sandbox.app) as running:
        yield running


@pytest.fixture
def client(address: str) -> stripe.StripeClient:
    return stripe.StripeClient(KEY, base_addresses={"api": address})


def _destination(client: stripe.StripeClient, receiver: Receiver, payload: Any = "thin", *events: str) -> Any:
    params: Any = {
        "name": "portal",
        "type": "webhook_endpoint",
        "event_payload": payload,
        "enabled_events": list(events) or ["*"],
        "webhook_endpoint": {"url": receiver.url},
        "include": INCLUDE,
    }
    return client.v2.core.event_destinations.create(params)


def test_a_thin_event_arrives_signed_and_leads_to_the_rest(
    sandbox: Driver, client: stripe.StripeClient, receiver: Receiver
) -> None:
    secret = _destination(client, receiver).webhook_endpoint.signing_secret
    made = client.v1.customers.create({"email": "a@b.co"}, {"idempotency_key": "team-1"})
    header, body = receiver.wait_for(1)[0]
    notification: Any = client.parse_event_notification(body, header, secret)
    snapshot = sandbox.events()[0]
    assert (notification.type, notification.livemode) == ("v1.customer.created", False)
    assert notification.reason.request.idempotency_key == "team-1"
    sent = json.loads(body)
    assert sent["snapshot_event"] == snapshot["id"]
    assert sent["id"] != snapshot["id"]
    assert "data" not in sent
    assert notification.fetch_related_object().email == made.email
    fetched = notification.fetch_event()
    assert (fetched.id, fetched.snapshot_event, fetched.type) == (sent["id"], snapshot["id"], "v1.customer.created")


def test_what_changed_is_told_when_it_is_read(sandbox: Driver, client: stripe.StripeClient, receiver: Receiver) -> None:
    customer = sandbox.post("/v1/customers", {"name": "Ann"})
    _destination(client, receiver, "thin", "v1.customer.updated")
    sandbox.post(f"/v1/customers/{customer['id']}", {"name": "Bea"})
    sent = json.loads(receiver.wait_for(1)[0][1])
    assert sandbox.get(f"/v2/core/events/{sent['id']}")["changes"] == {
        "before": {"name": "Ann"},
        "after": {"name": "Bea"},
    }


def test_the_object_of_every_event_can_be_read(
    sandbox: Driver, client: stripe.StripeClient, receiver: Receiver
) -> None:
    """Of a purchase, a subscription and a refund, every related object stands at the address that is told."""
    _destination(client, receiver)
    bought = sandbox.paid(sandbox.session(sandbox.price(1800, None), mode="payment", customer_creation="always"))
    sandbox.paid(sandbox.session())
    sandbox.post("/v1/refunds", {"payment_intent": bought["payment_intent"]})
    told = sandbox.events()
    for _, body in receiver.wait_for(len(told)):
        sent = json.loads(body)
        related = sent["related_object"]
        assert sandbox.get(related["url"])["object"] == related["type"], sent
    assert sorted(receiver.types()) == sorted(f"v1.{event['type']}" for event in told)


def test_snapshots_and_thin_events_side_by_side(
    sandbox: Driver, client: stripe.StripeClient, receiver: Receiver
) -> None:
    with receiving() as other:
        _destination(client, receiver, "snapshot", "product.created")
        thin = _destination(client, other, "thin", "v1.product.created")
        sandbox.price()
        assert json.loads(receiver.wait_for(1)[0][1])["object"] == "event"
        assert json.loads(other.wait_for(1)[0][1])["object"] == "v2.core.event"
        client.v2.core.event_destinations.disable(thin.id)
        sandbox.price()
        receiver.wait_for(2)
        assert len(other.received) == 1
        client.v2.core.event_destinations.enable(thin.id)
        sandbox.price()
        other.wait_for(2)
        client.v2.core.event_destinations.delete(thin.id)
        assert sandbox.error("GET", f"{ALL}/{thin.id}")[0] == 404


def test_the_secret_is_shown_once_and_only_when_asked_for(client: stripe.StripeClient, receiver: Receiver) -> None:
    made = _destination(client, receiver)
    assert made.webhook_endpoint.signing_secret.startswith("whsec_")
    assert made.webhook_endpoint.url == receiver.url
    shown = client.v2.core.event_destinations.retrieve(made.id, {"include": ["webhook_endpoint.url"]})
    assert shown.webhook_endpoint is not None
    assert (shown.webhook_endpoint.url, shown.webhook_endpoint.signing_secret) == (receiver.url, None)
    assert client.v2.core.event_destinations.retrieve(made.id).webhook_endpoint is None


def test_the_front_page_names_it(sandbox: Driver, client: stripe.StripeClient, receiver: Receiver) -> None:
    _destination(client, receiver)
    text = sandbox.client.get("/").get_data(as_text=True)
    assert receiver.url in text
    assert "thin events" in text


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"event_payload": "fat"}, "event_payload"),
        ({"enabled_events": []}, "enabled_events"),
        ({"webhook_endpoint": {"url": "nowhere"}}, "webhook_endpoint[url]"),
        ({"webhook_endpoint": None}, "webhook_endpoint"),
        ({"surprise": True}, "surprise"),
        ({"name": {"a": {"b": 1}}}, "name"),
    ],
)
def test_destinations_that_are_refused(sandbox: Driver, body: Json, param: str) -> None:
    whole = {
        "name": "portal",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["*"],
        "webhook_endpoint": {"url": "http://127.0.0.1:9/hook"},
    }
    answer = sandbox.client.post(ALL, json=whole | body, headers={"Authorization": f"Bearer {KEY}"})
    assert (answer.status_code, answer.get_json()["error"]["param"]) == (400, param)
    assert "v2.core.event_destination" not in sandbox.count()


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900])
def test_bodies_that_are_no_json_object(sandbox: Driver, raw: bytes) -> None:
    answer = sandbox.client.post(
        ALL, data=raw, content_type="application/json", headers={"Authorization": f"Bearer {KEY}"}
    )
    assert answer.status_code == 400


def test_an_event_that_is_not_there(sandbox: Driver) -> None:
    assert sandbox.error("GET", "/v2/core/events/evt_test_none")[0] == 404


def test_events_of_a_page_have_no_request(sandbox: Driver, client: stripe.StripeClient, receiver: Receiver) -> None:
    _destination(client, receiver, "thin", "v1.checkout.session.completed")
    sandbox.paid(sandbox.session())
    assert json.loads(receiver.wait_for(1)[0][1])["reason"] is None


def test_it_is_sent_again_after_a_restart(receiver: Receiver, tmp_path: Any) -> None:
    state = str(tmp_path / "sandbox.db")
    app = create_sandbox(state, KEY)
    with serving(app) as address:
        _destination(stripe.StripeClient(KEY, base_addresses={"api": address}), receiver)
    app.extensions["sandbox"].close()
    again = create_sandbox(state, KEY)
    Driver(again).post("/v1/customers")
    receiver.wait_for(1)
    again.extensions["sandbox"].close()
    assert receiver.types() == ["v1.customer.created"]
