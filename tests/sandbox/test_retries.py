"""A renewal that is not paid: when it is tried again, what becomes of the plan, and how it recovers."""

import pytest

from portal.sandbox import create_sandbox
from tests.sandbox.driving import DECLINED_CARD, GOOD_CARD, KEY, Driver, Json, Wall

DAY = 86400
MONTH = 31
FAILING = "pm_card_chargeCustomerFail"
ASKING = "pm_card_authenticationRequired"


def _unpaid(sandbox: Driver, card: str = FAILING) -> Json:
    """Begin a plan whose first renewal is refused, at this moment."""
    begun = sandbox.begin()
    sandbox.change(begun, default_payment_method=sandbox.card(begun, card))
    sandbox.pass_until(begun["items"]["data"][0]["current_period_end"])
    return begun


def test_a_refused_renewal_says_when_it_is_tried_again(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["status"], invoice["attempt_count"], invoice["auto_advance"]) == ("open", 1, True)
    assert invoice["next_payment_attempt"] == invoice["created"] + DAY
    assert sandbox.subscription(begun)["status"] == "past_due"
    told = sandbox.events(type="invoice.payment_failed")[-1]
    assert told["data"]["object"]["next_payment_attempt"] == invoice["next_payment_attempt"]
    before = sandbox.events(type="invoice.updated")[-1]["data"]["previous_attributes"]
    assert before["attempt_count"] == 0
    assert before["next_payment_attempt"] is None


@pytest.mark.parametrize(
    ("afterwards", "status", "reason"),
    [("cancel", "canceled", "payment_failed"), ("unpaid", "unpaid", None), ("past_due", "past_due", None)],
)
def test_after_the_last_try(sandbox: Driver, afterwards: str, status: str, reason: str | None) -> None:
    sandbox.retry([1, 3, 5, 7], afterwards)
    begun = _unpaid(sandbox)
    seen = []
    for _ in range(8):
        invoice = sandbox.latest_invoice(begun)
        next_at = invoice["next_payment_attempt"]
        seen.append((invoice["attempt_count"], next_at and (next_at - invoice["created"]) // DAY))
        sandbox.pass_by(1)
    assert list(dict.fromkeys(seen)) == [(1, 1), (2, 3), (3, 5), (4, 7), (5, None)]
    after, invoice = sandbox.subscription(begun), sandbox.latest_invoice(begun)
    assert (after["status"], after["cancellation_details"]["reason"]) == (status, reason)
    assert (invoice["status"], invoice["auto_advance"], invoice["attempt_count"]) == ("open", False, 5)
    sandbox.pass_by(3)
    assert sandbox.latest_invoice(begun)["attempt_count"] == 5
    assert len(sandbox.events(type="invoice.payment_failed")) == 5


def test_the_retry_takes_the_new_card(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    sandbox.change(begun, default_payment_method=sandbox.card(begun))
    assert sandbox.subscription(begun)["status"] == "past_due"
    sandbox.pass_by(1)
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["status"], invoice["attempt_count"], invoice["next_payment_attempt"]) == ("paid", 1, None)
    assert sandbox.subscription(begun)["status"] == "active"
    assert sandbox.event_types()[-5:] == [
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "customer.subscription.updated",
    ]
    sandbox.pass_by(10)
    assert len(sandbox.events(type="invoice.payment_failed")) == 1


def test_paying_by_hand_changes_nothing_in_the_plan_of_retries(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    invoice = sandbox.latest_invoice(begun)
    status, error = sandbox.error("POST", f"/v1/invoices/{invoice['id']}/pay")
    assert (status, error["decline_code"]) == (402, "generic_decline")
    again = sandbox.latest_invoice(begun)
    assert (again["attempt_count"], again["next_payment_attempt"]) == (1, invoice["next_payment_attempt"])
    sandbox.post(f"/v1/invoices/{invoice['id']}/pay", {"payment_method": sandbox.card(begun)})
    assert sandbox.subscription(begun)["status"] == "active"


def test_an_unpaid_plan_writes_drafts_and_comes_back(sandbox: Driver) -> None:
    sandbox.retry([1], "unpaid")
    begun = _unpaid(sandbox)
    sandbox.pass_by(2)
    open_one = sandbox.latest_invoice(begun)
    sandbox.pass_by(MONTH)
    draft = sandbox.latest_invoice(begun)
    assert (draft["status"], draft["attempted"]) == ("draft", False)
    good = sandbox.card(begun)
    sandbox.change(begun, default_payment_method=good)
    sandbox.post(f"/v1/invoices/{draft['id']}/pay")
    assert sandbox.subscription(begun)["status"] == "active"
    assert sandbox.post(f"/v1/invoices/{open_one['id']}/pay")["status"] == "paid"


def test_the_bank_asks_at_a_renewal(sandbox: Driver) -> None:
    begun = _unpaid(sandbox, ASKING)
    invoice = sandbox.latest_invoice(begun)
    assert sandbox.event_types()[-6:] == [
        "payment_intent.requires_action",
        "customer.updated",
        "invoice.updated",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "customer.subscription.updated",
    ]
    payment = sandbox.get("/v1/invoice_payments", invoice=invoice["id"])["data"][0]
    intent = sandbox.get(f"/v1/payment_intents/{payment['payment']['payment_intent']}")
    assert (intent["status"], intent["latest_charge"]) == ("requires_action", None)
    page = intent["next_action"]["redirect_to_url"]["url"].removeprefix("http://127.0.0.1:12111")
    assert "Confirm the payment" in sandbox.client.get(f"/i/{invoice['id']}").get_data(as_text=True)
    assert "$29.00" in sandbox.client.get(page).get_data(as_text=True)
    assert sandbox.client.post(page, data={"answer": "complete"}).status_code == 303
    assert sandbox.latest_invoice(begun)["status"] == "paid"
    assert sandbox.subscription(begun)["status"] == "active"
    assert "Confirm the payment" not in sandbox.client.get(f"/i/{invoice['id']}").get_data(as_text=True)
    assert sandbox.client.post(page, data={"answer": "complete"}).status_code == 303
    assert len(sandbox.get("/v1/charges", customer=begun["customer"])["data"]) == 2


def test_a_bank_that_is_not_answered_asks_again(sandbox: Driver) -> None:
    begun = _unpaid(sandbox, ASKING)
    invoice = sandbox.latest_invoice(begun)
    assert sandbox.client.post(f"/i/{invoice['id']}/authenticate", data={"answer": "fail"}).status_code == 303
    assert sandbox.event_types()[-1] == "payment_intent.payment_failed"
    status, error = sandbox.error("POST", f"/v1/invoices/{invoice['id']}/pay")
    assert (status, error["code"]) == (402, "invoice_payment_intent_requires_action")
    sandbox.pass_by(1)
    assert len(sandbox.events(type="invoice.payment_action_required")) == 3
    sandbox.pass_by(6)
    assert sandbox.subscription(begun)["status"] == "canceled"
    assert sandbox.client.get("/i/in_no/authenticate").status_code == 404


def test_an_invoice_is_paid_from_its_page(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    path = f"/i/{sandbox.latest_invoice(begun)['id']}"
    assert f'href="{path}/pay"' in sandbox.client.get(path).get_data(as_text=True)
    assert "$29.00 is due" in sandbox.client.get(f"{path}/pay").get_data(as_text=True)
    for card, status in ((GOOD_CARD | {"cvc": ""}, 422), (DECLINED_CARD, 402), (GOOD_CARD | {"card_number": "1"}, 422)):
        response = sandbox.client.post(f"{path}/pay", data=card)
        assert response.status_code == status
        assert "Nothing was charged" in response.get_data(as_text=True)
    known = len(sandbox.get("/v1/payment_methods", customer=begun["customer"])["data"])
    assert sandbox.client.post(f"{path}/pay", data=GOOD_CARD).status_code == 303
    assert (sandbox.latest_invoice(begun)["status"], sandbox.subscription(begun)["status"]) == ("paid", "active")
    assert len(sandbox.get("/v1/payment_methods", customer=begun["customer"])["data"]) == known + 1
    assert sandbox.client.post(f"{path}/pay", data=GOOD_CARD).status_code == 303
    assert len(sandbox.get("/v1/charges", customer=begun["customer"])["data"]) == 4
    assert sandbox.client.get("/i/in_no/pay").status_code == 404


def test_an_invoice_is_paid_with_a_card_whose_bank_asks(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    path = f"/i/{sandbox.latest_invoice(begun)['id']}"
    asking = GOOD_CARD | {"card_number": "4000 0025 0000 3155"}
    response = sandbox.client.post(f"{path}/pay", data=asking)
    assert response.headers["Location"].endswith(f"{path}/authenticate")
    sandbox.client.post(f"{path}/authenticate", data={"answer": "complete"})
    assert sandbox.subscription(begun)["status"] == "active"
    digits = [one["card"]["last4"] for one in sandbox.get("/v1/payment_methods", customer=begun["customer"])["data"]]
    assert "3155" in digits


def test_a_first_payment_that_the_bank_asks_about_is_incomplete(sandbox: Driver) -> None:
    begun = sandbox.begin(card=ASKING)
    assert begun["status"] == "incomplete"
    page = f"/i/{begun['latest_invoice']}/authenticate"
    sandbox.client.post(page, data={"answer": "complete"})
    assert sandbox.subscription(begun)["status"] == "active"


def test_an_incomplete_plan_expires_after_23_hours(sandbox: Driver, wall: Wall) -> None:
    begun = sandbox.begin(card=FAILING)
    sandbox.pass_by(22.9 / 24)
    assert sandbox.subscription(begun)["status"] == "incomplete"
    assert sandbox.latest_invoice(begun)["next_payment_attempt"] is None
    sandbox.pass_by(0.2 / 24)
    after = sandbox.subscription(begun)
    assert (after["status"], after["ended_at"]) == ("incomplete_expired", wall.at + 23 * 3600)
    assert sandbox.latest_invoice(begun)["status"] == "void"
    assert sandbox.event_types()[-2:] == ["invoice.voided", "customer.subscription.updated"]
    assert sandbox.error("POST", f"/v1/invoices/{begun['latest_invoice']}/pay")[0] == 400
    assert sandbox.error("POST", f"/v1/subscriptions/{begun['id']}", {"cancel_at_period_end": "true"})[0] == 400


def test_a_plan_that_has_ended_is_asked_for_no_more(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    sandbox.call("DELETE", f"/v1/subscriptions/{begun['id']}")
    sandbox.pass_by(10)
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["status"], invoice["attempt_count"], invoice["next_payment_attempt"]) == ("open", 1, None)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"retry_days": [1]},
        {"retry_days": [3, 1], "afterwards": "cancel"},
        {"retry_days": [0], "afterwards": "cancel"},
        {"retry_days": [True], "afterwards": "cancel"},
        {"retry_days": list(range(1, 20)), "afterwards": "cancel"},
        {"retry_days": [1], "afterwards": "shrug"},
    ],
)
def test_a_policy_that_cannot_be(sandbox: Driver, body: object) -> None:
    response = sandbox.client.post("/_sandbox/retries", json=body, headers={"Authorization": f"Bearer {KEY}"})
    assert response.status_code == 400


def test_an_old_debt_does_not_set_back_what_is_paid(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    old = sandbox.latest_invoice(begun)
    sandbox.change(begun, default_payment_method=sandbox.card(begun))
    sandbox.change(begun, quantity=2, proration_behavior="always_invoice")
    assert sandbox.subscription(begun)["status"] == "active"
    sandbox.change(begun, default_payment_method=sandbox.card(begun, FAILING))
    sandbox.pass_by(8)
    assert sandbox.get(f"/v1/invoices/{old['id']}")["attempt_count"] == 5
    assert sandbox.subscription(begun)["status"] == "active"


def test_a_policy_to_start_with() -> None:
    app = create_sandbox(api_key=KEY, clock=Wall(), retry_days=(2,), after_retries="past_due")
    sandbox = Driver(app)
    begun = _unpaid(sandbox)
    assert sandbox.latest_invoice(begun)["next_payment_attempt"] == sandbox.latest_invoice(begun)["created"] + 2 * DAY
    app.extensions["sandbox"].close()


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_a_plan_is_active_again_when_its_debt_is_written_off(sandbox: Driver, status: str) -> None:
    sandbox.retry([1], status)
    begun = _unpaid(sandbox)
    sandbox.pass_by(2)
    assert sandbox.subscription(begun)["status"] == status
    path = f"/v1/invoices/{sandbox.latest_invoice(begun)['id']}"
    assert "status_details" not in sandbox.get(path)
    written_off = sandbox.post(f"{path}/mark_uncollectible")
    assert written_off["status_details"] == {"uncollectible": {"reason": "user_forgiven"}}
    assert sandbox.subscription(begun)["status"] == "active"
    assert sandbox.event_types()[-1] == "customer.subscription.updated"
    paid = sandbox.post(f"{path}/pay", {"payment_method": sandbox.card(begun)})
    assert (paid["status"], "status_details" in paid) == ("paid", False)


def test_an_old_debt_that_is_written_off_does_not_pay_a_later_one(sandbox: Driver) -> None:
    sandbox.retry([1], "past_due")
    begun = _unpaid(sandbox)
    first = sandbox.latest_invoice(begun)
    sandbox.pass_by(MONTH)
    second = sandbox.latest_invoice(begun)
    sandbox.post(f"/v1/invoices/{first['id']}/mark_uncollectible")
    assert sandbox.subscription(begun)["status"] == "past_due"
    # Made void, the second lets the plan stand as the first says.
    sandbox.post(f"/v1/invoices/{second['id']}/void")
    assert sandbox.subscription(begun)["status"] == "active"


def test_a_void_invoice_leaves_the_debt_before_it(sandbox: Driver) -> None:
    sandbox.retry([1], "past_due")
    begun = _unpaid(sandbox)
    sandbox.pass_by(MONTH)
    sandbox.post(f"/v1/invoices/{sandbox.latest_invoice(begun)['id']}/void")
    assert sandbox.subscription(begun)["status"] == "past_due"


@pytest.mark.parametrize("verb", ["mark_uncollectible", "void"])
def test_what_was_never_paid_for_stays_incomplete(sandbox: Driver, verb: str) -> None:
    begun = sandbox.begin(card=FAILING)
    sandbox.post(f"/v1/invoices/{begun['latest_invoice']}/{verb}")
    assert sandbox.subscription(begun)["status"] == "incomplete"


@pytest.mark.parametrize("relief", ["pay", "mark_uncollectible"])
def test_a_customer_is_delinquent_while_a_payment_has_failed(sandbox: Driver, relief: str) -> None:
    begun = _unpaid(sandbox)
    path = f"/v1/customers/{begun['customer']}"
    assert sandbox.get(path)["delinquent"] is True
    told = sandbox.events(type="customer.updated")[-1]
    assert told["data"]["previous_attributes"] == {"delinquent": False}
    invoice = sandbox.latest_invoice(begun)["id"]
    sandbox.post(f"/v1/invoices/{invoice}/{relief}", {"payment_method": sandbox.card(begun)} if relief == "pay" else {})
    assert sandbox.get(path)["delinquent"] is False
    assert sandbox.events(type="customer.updated")[-1]["data"]["previous_attributes"] == {"delinquent": True}


def test_what_somebody_tries_makes_nobody_delinquent(sandbox: Driver) -> None:
    begun = sandbox.begin(payment_behavior="default_incomplete")
    sandbox.error(
        "POST", f"/v1/invoices/{begun['latest_invoice']}/pay", {"payment_method": sandbox.card(begun, FAILING)}
    )
    assert sandbox.get(f"/v1/customers/{begun['customer']}")["delinquent"] is False


def test_the_drafts_of_an_unpaid_plan_do_not_advance(sandbox: Driver) -> None:
    sandbox.retry([1], "unpaid")
    begun = _unpaid(sandbox)
    sandbox.pass_by(2 + MONTH)
    draft = sandbox.latest_invoice(begun)
    assert (draft["status"], draft["auto_advance"]) == ("draft", False)
    told = [event for event in sandbox.events(type="invoice.created") if event["data"]["object"]["id"] == draft["id"]]
    assert told[0]["data"]["object"]["auto_advance"] is False
    renewed = [event["data"]["object"] for event in sandbox.events(type="invoice.created")][-2]
    assert renewed["auto_advance"] is True


def test_the_bank_asks_about_what_was_written_off(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    page = f"/i/{sandbox.latest_invoice(begun)['id']}"
    sandbox.post(f"/v1/invoices/{page[3:]}/mark_uncollectible")
    form = GOOD_CARD | {"card_number": "4000 0027 6000 3184"}
    assert sandbox.client.post(f"{page}/pay", data=form).headers["Location"].endswith(f"{page}/authenticate")
    assert b"Is it you?" in sandbox.client.get(f"{page}/authenticate").data
    sandbox.client.post(f"{page}/authenticate", data={"answer": "complete"})
    assert sandbox.get(f"/v1/invoices/{page[3:]}")["status"] == "paid"


def test_a_refused_card_leaves_what_was_written_off(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.change(begun, quantity=3, proration_behavior="always_invoice", payment_behavior="default_incomplete")
    path = f"/v1/invoices/{sandbox.latest_invoice(begun)['id']}"
    sandbox.post(f"{path}/mark_uncollectible")
    sandbox.error("POST", f"{path}/pay", {"payment_method": sandbox.card(begun, FAILING)})
    after = sandbox.get(path)
    assert (after["status"], after["auto_advance"], after["next_payment_attempt"]) == ("uncollectible", False, None)


def test_a_card_from_the_page_is_the_customers_before_it_is_the_default(sandbox: Driver) -> None:
    begun = _unpaid(sandbox)
    sandbox.change(begun, **{"payment_settings[save_default_payment_method]": "on_subscription"})
    seen = len(sandbox.events())
    assert sandbox.client.post(f"/i/{sandbox.latest_invoice(begun)['id']}/pay", data=GOOD_CARD).status_code == 303
    after = sandbox.subscription(begun)
    card = sandbox.get(f"/v1/payment_methods/{after['default_payment_method']}")
    assert (after["status"], card["customer"]) == ("active", begun["customer"])
    told = sandbox.events()[seen:]
    kept = ["default_payment_method" in one["data"].get("previous_attributes", {}) for one in told].index(True)
    assert "payment_method.attached" in [one["type"] for one in told[:kept]]
