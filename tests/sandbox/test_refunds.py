"""Refunds: in parts, never more than was paid, and told to whoever listens."""

import pytest

from tests.sandbox.driving import DECLINED_CARD, Driver, Json


@pytest.fixture
def intent(sandbox: Driver) -> str:
    """An intent that paid $18.00 at checkout."""
    session = sandbox.session(sandbox.price(1800, None), mode="payment")
    return str(sandbox.paid(session)["payment_intent"])


def charge_of(sandbox: Driver, intent: str) -> Json:
    found = sandbox.get(f"/v1/payment_intents/{intent}", **{"expand[0]": "latest_charge.refunds"})
    return dict(found["latest_charge"])


def test_in_parts_until_nothing_is_left(sandbox: Driver, intent: str) -> None:
    first = sandbox.post("/v1/refunds", {"payment_intent": intent, "amount": 500, "reason": "requested_by_customer"})
    assert (first["status"], first["amount"], first["payment_intent"]) == ("succeeded", 500, intent)
    charge = charge_of(sandbox, intent)
    assert (charge["amount_refunded"], charge["refunded"]) == (500, False)
    status, error = sandbox.error("POST", "/v1/refunds", {"payment_intent": intent, "amount": 1301})
    assert (status, error["param"]) == (400, "amount")
    rest = sandbox.post("/v1/refunds", {"charge": charge["id"]})
    assert rest["amount"] == 1300
    charge = charge_of(sandbox, intent)
    assert (charge["amount_refunded"], charge["refunded"]) == (1800, True)
    assert [one["id"] for one in charge["refunds"]["data"]] == [rest["id"], first["id"]]
    status, error = sandbox.error("POST", "/v1/refunds", {"payment_intent": intent})
    assert (status, error["code"]) == (400, "charge_already_refunded")


def test_every_refund_is_told_as_itself_and_as_its_charge(sandbox: Driver, intent: str) -> None:
    refund = sandbox.post("/v1/refunds", {"payment_intent": intent, "amount": 500})
    told = sandbox.events()[-2:]
    assert [event["type"] for event in told] == ["refund.created", "charge.refunded"]
    assert told[1]["data"]["previous_attributes"] == {"amount_refunded": 0}
    sandbox.post(f"/v1/refunds/{refund['id']}", {"metadata[why]": "goodwill"})
    assert sandbox.event_types()[-2:] == ["refund.updated", "charge.refund.updated"]
    assert sandbox.get("/v1/refunds", payment_intent=intent)["data"][0]["metadata"] == {"why": "goodwill"}


def test_what_was_not_paid_cannot_be_refunded(sandbox: Driver) -> None:
    session = sandbox.session(sandbox.price(1800, None), mode="payment")
    sandbox.pay(session, DECLINED_CARD)
    intent = sandbox.get(f"/v1/checkout/sessions/{session['id']}")["payment_intent"]
    failed = sandbox.get(f"/v1/payment_intents/{intent}")["latest_charge"]
    assert sandbox.error("POST", "/v1/refunds", {"payment_intent": intent})[0] == 400
    assert sandbox.error("POST", "/v1/refunds", {"charge": failed})[0] == 400
    assert sandbox.error("POST", "/v1/refunds", {})[1]["code"] == "parameter_missing"
    assert sandbox.client.get(f"/r/{failed}").status_code == 404


def test_the_receipt_says_what_was_paid_and_refunded(sandbox: Driver, intent: str) -> None:
    sandbox.post("/v1/refunds", {"payment_intent": intent, "amount": 500})
    address = charge_of(sandbox, intent)["receipt_url"]
    page = sandbox.client.get(address.removeprefix("http://127.0.0.1:12111")).get_data(as_text=True)
    assert "$18.00" in page
    assert "$5.00" in page
    assert "Visa ending in 4242" in page


def refunded_with(sandbox: Driver, card: str) -> Json:
    order = {"amount": 1800, "currency": "usd", "payment_method": card, "confirm": "true"}
    return sandbox.post("/v1/refunds", {"payment_intent": sandbox.post("/v1/payment_intents", order)["id"]})


def test_a_refund_that_takes_its_time(sandbox: Driver) -> None:
    refund = refunded_with(sandbox, "pm_card_pendingRefund")
    assert (refund["status"], refund["pending_reason"]) == ("pending", "processing")
    seen = len(sandbox.events())
    sandbox.pass_by(1)
    done = sandbox.get(f"/v1/refunds/{refund['id']}")
    assert (done["status"], "pending_reason" in done) == ("succeeded", False)
    told = sandbox.events()[seen:]
    assert [event["type"] for event in told] == ["refund.updated", "charge.refund.updated"]
    assert told[0]["data"]["previous_attributes"]["status"] == "pending"
    assert told[0]["created"] == refund["created"] + 600


def test_a_refund_that_fails_after_it_has_succeeded(sandbox: Driver) -> None:
    refund = refunded_with(sandbox, "pm_card_refundFail")
    assert refund["status"] == "succeeded"
    seen = len(sandbox.events())
    sandbox.pass_by(1)
    failed = sandbox.get(f"/v1/refunds/{refund['id']}")
    assert (failed["status"], failed["failure_reason"]) == ("failed", "expired_or_canceled_card")
    assert sandbox.event_types()[seen:] == ["refund.updated", "charge.refund.updated", "refund.failed"]
    charge = charge_of(sandbox, refund["payment_intent"])
    assert (charge["amount_refunded"], charge["refunded"]) == (0, False)
    assert sandbox.post("/v1/refunds", {"charge": charge["id"], "amount": 700})["amount"] == 700
