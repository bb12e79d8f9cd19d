"""What an endpoint may ask for: its own API version, and a new secret while the old one still signs."""

import json
from collections.abc import Iterator

import pytest
import stripe

from portal.sandbox import create_sandbox
from portal.sandbox.older_versions import OLDER_VERSIONS
from tests.sandbox.driving import KEY, Driver, Json, Receiver

ALL = "/v1/webhook_endpoints"


@pytest.fixture
def driver() -> Iterator[Driver]:
    app = create_sandbox(api_key=KEY)
    yield Driver(app)
    app.extensions["sandbox"].close()


def roll(driver: Driver, endpoint: str, overlap: int) -> Json:
    path = f"/_sandbox/webhook_endpoints/{endpoint}/roll_secret"
    answer = driver.client.post(path, json={"overlap_seconds": overlap}, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200, answer.data
    return dict(json.loads(answer.data))


def test_while_a_secret_is_rolled_both_sign(driver: Driver, receiver: Receiver) -> None:
    endpoint = driver.post(ALL, {"url": receiver.url, "enabled_events[]": "*"})
    rolled = roll(driver, endpoint["id"], 3600)
    assert rolled["secret"] != endpoint["secret"]
    driver.post("/v1/customers")
    header, body = receiver.wait_for(1)[0]
    assert header.count("v1=") == 2
    for secret in (endpoint["secret"], rolled["secret"]):
        stripe.Webhook.construct_event(body, header, secret)

    driver.pass_by(days=1)
    driver.post("/v1/customers")
    header, body = receiver.wait_for(2)[1]
    assert header.count("v1=") == 1
    stripe.Webhook.construct_event(body, header, rolled["secret"])
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, header, endpoint["secret"])


def test_a_secret_can_be_replaced_at_once(driver: Driver, receiver: Receiver) -> None:
    endpoint = driver.post(ALL, {"url": receiver.url, "enabled_events[]": "*"})
    rolled = roll(driver, endpoint["id"], 0)
    driver.post("/v1/customers")
    header, body = receiver.wait_for(1)[0]
    assert header.count("v1=") == 1
    stripe.Webhook.construct_event(body, header, rolled["secret"])


def test_neither_secret_is_told_afterwards(driver: Driver, receiver: Receiver) -> None:
    endpoint = driver.post(ALL, {"url": receiver.url, "enabled_events[]": "*"})
    rolled = roll(driver, endpoint["id"], 3600)
    shown = driver.client.get(f"{ALL}/{endpoint['id']}", headers={"Authorization": f"Bearer {KEY}"}).get_data(
        as_text=True
    )
    assert endpoint["secret"] not in shown
    assert rolled["secret"] not in shown


# What readers of old bodies look for, by the type of the event: where it stands, and that it is there.
OLD_PLACES = {
    "customer.subscription.created": ("current_period_end", "current_period_start", "plan", "quantity"),
    "invoice.paid": ("charge", "payment_intent", "subscription", "paid"),
    "payment_intent.succeeded": ("invoice",),
    "charge.succeeded": ("invoice",),
}
NEW_PLACES = {"invoice.paid": ("parent",), "customer.subscription.created": ("billing_mode", "discounts")}


@pytest.mark.parametrize("version", OLDER_VERSIONS)
def test_an_endpoint_of_an_older_version_is_told_in_its_words(driver: Driver, receiver: Receiver, version: str) -> None:
    asked = {f"enabled_events[{number}]": name for number, name in enumerate(OLD_PLACES)}
    endpoint = driver.post(ALL, {"url": receiver.url, "api_version": version, **asked})
    assert endpoint["api_version"] == version
    rate = driver.post("/v1/tax_rates", {"display_name": "VAT", "percentage": 20, "inclusive": "false"})["id"]
    paid = driver.paid(driver.session(driver.price(1000), **{"subscription_data[default_tax_rates][0]": rate}))
    told = {body["type"]: body for body in (json.loads(body) for _, body in receiver.wait_for(len(OLD_PLACES)))}
    for name, places in OLD_PLACES.items():
        assert told[name]["api_version"] == version
        obj = told[name]["data"]["object"]
        assert [obj.get(place) for place in places].count(None) == 0, (name, obj)
        assert not set(NEW_PLACES.get(name, ())) & set(obj)
    assert told["invoice.paid"]["data"]["object"]["subscription"] == paid["subscription"]
    line = told["invoice.paid"]["data"]["object"]["lines"]["data"][0]
    assert (line["type"], line["proration"], line["price"]["object"]) == ("subscription", False, "price")
    assert (told["invoice.paid"]["data"]["object"]["tax"], line["tax_amounts"][0]["amount"]) == (200, 200)
    assert ("charges" in told["payment_intent.succeeded"]["data"]["object"]) == (version == "2020-08-27")
    items = told["customer.subscription.created"]["data"]["object"]["items"]["data"]
    assert all("current_period_end" not in item for item in items)


def test_other_versions_are_refused(driver: Driver) -> None:
    data = {"url": "https://example.com/hook", "enabled_events[]": "*", "api_version": "2019-05-16"}
    assert driver.error("POST", ALL, data)[0] == 400
