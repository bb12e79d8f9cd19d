"""Events: what they say, and how they are listed."""

import pytest

from portal.sandbox.destinations import wants
from portal.sandbox.events import differences
from tests.sandbox.driving import Driver, Json


def test_what_an_event_says(sandbox: Driver) -> None:
    response = sandbox.send("POST", "/v1/customers", {"email": "a@b.co"}, Idempotency_Key="team-1")
    event = sandbox.events()[0]
    assert event["id"].startswith("evt_")
    assert (event["object"], event["type"], event["api_version"]) == ("event", "customer.created", "2026-10-28.endive")
    assert event["data"] == {"object": response.get_json()}
    assert event["request"] == {"id": response.headers["Request-Id"], "idempotency_key": "team-1"}
    assert (event["pending_webhooks"], event["livemode"]) == (0, False)
    assert sandbox.get(f"/v1/events/{event['id']}") == event


def test_a_page_is_no_request(sandbox: Driver) -> None:
    sandbox.paid(sandbox.session())
    assert sandbox.events()[-1]["request"] == {"id": None, "idempotency_key": None}


def test_an_event_is_a_snapshot(sandbox: Driver) -> None:
    path = f"/v1/customers/{sandbox.post('/v1/customers', {'name': 'Ann'})['id']}"
    sandbox.post(path, {"name": "Bea"})
    sandbox.post(path, {"name": "Cea"})
    names = [event["data"]["object"]["name"] for event in sandbox.events()]
    assert names == ["Ann", "Bea", "Cea"]
    assert sandbox.events()[-1]["data"]["previous_attributes"] == {"name": "Bea"}


@pytest.mark.parametrize(
    ("before", "after", "old"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 1}),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 1}}),
        ({"m": {}}, {"m": {"k": "v"}}, {"m": {"k": None}}),
        ({"m": {"k": "v"}}, {"m": {}}, {"m": {"k": "v"}}),
        ({"a": None}, {"a": {"b": 1}}, {"a": None}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1]}),
        ({"i": {"object": "list", "data": [1]}}, {"i": {"object": "list", "data": [2]}}, {"i": {"data": [1]}}),
    ],
)  # fmt: skip
def test_previous_attributes(before: Json, after: Json, old: Json) -> None:
    assert differences(before, after) == old


def test_filters(sandbox: Driver) -> None:
    sandbox.paid(sandbox.session())
    for params, expected in [
        ({"type": "invoice.paid"}, {"invoice.paid"}),
        ({"type": "invoice.*"}, {"invoice.created", "invoice.finalized", "invoice.paid", "invoice.payment_succeeded"}),
        ({"types[]": "invoice.paid", "types[1]": "price.created"}, {"invoice.paid", "price.created"}),
        ({"type": "customer.subscription.*"}, {"customer.subscription.created"}),
        ({"delivery_success": "false"}, set()),
    ]:
        assert {event["type"] for event in sandbox.events(**params)} == expected, params
    assert len(sandbox.events(delivery_success="true")) == len(sandbox.events())
    assert sandbox.error("GET", "/v1/events", {"type": "a", "types[]": "b"})[0] == 400
    assert sandbox.error("GET", "/v1/events", {"type": "[a-z]"})[0] == 400


@pytest.mark.parametrize(
    ("enabled", "wanted"), [(["*"], True), (["invoice.paid"], True), (["invoice.created"], False), ([], False)]
)
def test_what_an_endpoint_wants(enabled: list[str], wanted: bool) -> None:
    assert wants({"enabled_events": enabled}, "invoice.paid") is wanted
