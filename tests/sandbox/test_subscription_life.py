"""What becomes of a subscription in time: trials, renewals, pauses, and its end."""

from datetime import UTC, datetime

import pytest

from tests.sandbox.driving import Driver, Json, Wall

DAY = 86400
JANUARY = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())  # 31 days: 15.5 of them are half a month.
BEGUN_ON_THE_31ST = int(datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp())


def _begin(sandbox: Driver, card: str | None = "pm_card_visa", **more: str | int) -> Json:
    customer = sandbox.post("/v1/customers", {"email": "a@b.co"})["id"]
    order = {"customer": customer, "items[0][price]": sandbox.price()["id"]}
    if card is not None:
        order["default_payment_method"] = sandbox.post(f"/v1/payment_methods/{card}/attach", {"customer": customer})[
            "id"
        ]
    return sandbox.post("/v1/subscriptions", order | more)


def _now(sandbox: Driver, subscription: Json) -> Json:
    return sandbox.get(f"/v1/subscriptions/{subscription['id']}")


def _period(subscription: Json) -> tuple[str, str]:
    item = subscription["items"]["data"][0]
    start, end = (datetime.fromtimestamp(item[f"current_period_{name}"], UTC) for name in ("start", "end"))
    return f"{start:%d %b}", f"{end:%d %b}"


def test_periods_are_counted_from_the_day_it_began(sandbox: Driver, wall: Wall) -> None:
    wall.at = BEGUN_ON_THE_31ST
    begun = _begin(sandbox)
    seen = [_period(begun)]
    for days in (28, 31, 31):
        sandbox.pass_by(days)
        seen.append(_period(_now(sandbox, begun)))
    assert seen == [("31 Jan", "28 Feb"), ("28 Feb", "31 Mar"), ("31 Mar", "30 Apr"), ("30 Apr", "31 May")]


def test_a_renewal_bills_the_next_period(sandbox: Driver) -> None:
    begun = _begin(sandbox)
    number = len(sandbox.events())
    sandbox.pass_by(31)
    after = _now(sandbox, begun)
    invoice = sandbox.get(f"/v1/invoices/{after['latest_invoice']}")
    item = after["items"]["data"][0]
    assert (invoice["status"], invoice["billing_reason"], invoice["amount_paid"]) == (
        "paid",
        "subscription_cycle",
        2900,
    )
    assert invoice["lines"]["data"][0]["period"] == {
        "start": item["current_period_start"],
        "end": item["current_period_end"],
    }
    assert item["current_period_start"] == begun["items"]["data"][0]["current_period_end"] == invoice["created"]
    assert [kind for kind in sandbox.event_types()[number:] if kind != "customer.updated"] == [
        "invoice.created",
        "customer.subscription.updated",
        "invoice.finalized",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
    ]
    assert len(sandbox.get("/v1/invoices", subscription=begun["id"])["data"]) == 2


def test_a_long_wait_bills_each_period_at_its_time(sandbox: Driver, wall: Wall) -> None:
    wall.at = BEGUN_ON_THE_31ST
    begun = _begin(sandbox)
    sandbox.pass_by(70)
    listed = sandbox.get("/v1/invoices", subscription=begun["id"])["data"]
    dates = [f"{datetime.fromtimestamp(invoice['created'], UTC):%d %b}" for invoice in listed]
    assert dates == ["31 Mar", "28 Feb", "31 Jan"]


def test_a_renewal_that_is_refused_is_past_due_until_it_is_paid(sandbox: Driver) -> None:
    begun = _begin(sandbox)
    path = f"/v1/subscriptions/{begun['id']}"
    good, customer = begun["default_payment_method"], begun["customer"]
    bad = sandbox.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", {"customer": customer})["id"]
    sandbox.post(path, {"default_payment_method": bad})
    sandbox.pass_by(31)
    after = _now(sandbox, begun)
    invoice = sandbox.get(f"/v1/invoices/{after['latest_invoice']}")
    assert (after["status"], invoice["status"], invoice["attempt_count"]) == ("past_due", "open", 1)
    assert sandbox.event_types()[-2:] == ["invoice.payment_failed", "customer.subscription.updated"]
    assert sandbox.events()[-1]["data"]["previous_attributes"] == {"status": "active"}
    sandbox.post(f"/v1/invoices/{invoice['id']}/pay", {"payment_method": good})
    assert _now(sandbox, begun)["status"] == "active"


def test_a_trial_is_told_of_before_it_ends(sandbox: Driver) -> None:
    begun = _begin(sandbox, trial_period_days=14)
    sandbox.pass_by(10.9)
    assert "customer.subscription.trial_will_end" not in sandbox.event_types()
    sandbox.pass_by(0.2)
    sandbox.pass_by(1)
    told = sandbox.events(type="customer.subscription.trial_will_end")
    assert [event["created"] for event in told] == [begun["trial_end"] - 3 * DAY]


def test_a_short_trial_is_told_of_at_once(sandbox: Driver) -> None:
    _begin(sandbox, trial_period_days=2)
    assert "customer.subscription.trial_will_end" in sandbox.event_types()


def test_a_trial_ends_with_the_first_payment(sandbox: Driver) -> None:
    begun = _begin(sandbox, trial_period_days=14)
    sandbox.pass_by(14)
    after = _now(sandbox, begun)
    invoice = sandbox.get(f"/v1/invoices/{after['latest_invoice']}")
    assert (after["status"], invoice["billing_reason"], invoice["amount_paid"]) == (
        "active",
        "subscription_cycle",
        2900,
    )
    assert after["items"]["data"][0]["current_period_start"] == begun["trial_end"] == after["billing_cycle_anchor"]


@pytest.mark.parametrize(
    ("behavior", "status", "last"),
    [
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("create_invoice", "past_due", "customer.subscription.updated"),
        ("pause", "paused", "customer.subscription.updated"),
    ],
)
def test_a_trial_without_a_card_ends_as_it_was_begun(sandbox: Driver, behavior: str, status: str, last: str) -> None:
    more = {
        "payment_method_collection": "if_required",
        "subscription_data[trial_period_days]": 14,
        "subscription_data[trial_settings][end_behavior][missing_payment_method]": behavior,
    }
    session = sandbox.session(**more)
    paid = sandbox.paid(session, card_number="", exp="", cvc="")
    sandbox.pass_by(14.5)
    after = sandbox.get(f"/v1/subscriptions/{paid['subscription']}")
    assert (after["status"], sandbox.event_types()[-1]) == (status, last)
    if behavior == "pause":
        assert after["status_details"]["paused"]["subscription"]["type"] == "trial_end_without_payment_method"


@pytest.mark.parametrize(
    ("behavior", "status"), [("cancel", "canceled"), ("create_invoice", "past_due"), ("pause", "paused")]
)
def test_what_a_trial_without_a_card_ends_in_can_be_changed(sandbox: Driver, behavior: str, status: str) -> None:
    missing = "trial_settings[end_behavior][missing_payment_method]"
    begun = _begin(sandbox, card=None, trial_end=1_800_000_000 + 5 * DAY, **{missing: "cancel"})
    assert begun["trial_settings"]["end_behavior"] == {"missing_payment_method": "cancel"}
    sandbox.change(begun, **{missing: behavior})
    sandbox.pass_by(5)
    assert _now(sandbox, begun)["status"] == status


@pytest.mark.parametrize(("behavior", "status"), [("cancel", "canceled"), ("pause", "paused")])
def test_a_trial_without_a_card_that_is_ended_at_once_ends_alike(sandbox: Driver, behavior: str, status: str) -> None:
    missing = {"trial_settings[end_behavior][missing_payment_method]": behavior}
    begun = _begin(sandbox, card=None, trial_end=1_800_000_000 + 5 * DAY, **missing)
    assert sandbox.change(begun, trial_end="now")["status"] == status
    assert sandbox.get("/v1/invoices", subscription=begun["id"], status="open")["data"] == []


def test_a_trial_is_named_once(sandbox: Driver) -> None:
    order = {"customer": sandbox.post("/v1/customers")["id"], "items[0][price]": sandbox.price()["id"]}
    for sent in ({"trial_end": 1_900_000_000, "trial_period_days": 3}, {"trial_end": 1_000_000_000}):
        assert sandbox.error("POST", "/v1/subscriptions", order | sent)[1]["param"] == "trial_end"


def test_what_is_owed_already_is_taken_though_the_trial_is_free(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa", "balance": 900})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    order = {"customer": customer, "items[0][price]": sandbox.price()["id"], "trial_period_days": 5}
    sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 400, "currency": "usd"})
    assert sandbox.error("POST", "/v1/subscriptions", order)[0] == 400
    begun = sandbox.post("/v1/subscriptions", order | {"default_payment_method": card})
    assert (begun["status"], sandbox.latest_invoice(begun)["amount_paid"]) == ("trialing", 1300)


def test_a_checkout_takes_what_it_showed(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"email": "a@b.co"})["id"]
    sandbox.post("/v1/invoiceitems", {"customer": customer, "amount": 400, "currency": "usd"})
    paid = sandbox.paid(sandbox.session(customer=customer))
    assert sandbox.get(f"/v1/invoices/{paid['invoice']}")["amount_paid"] == paid["amount_total"] == 2900


def test_a_plan_ends_when_it_was_asked_to(sandbox: Driver, wall: Wall) -> None:
    begun = _begin(sandbox)
    asked = sandbox.post(f"/v1/subscriptions/{begun['id']}", {"cancel_at": "max_period_end"})
    sandbox.pass_by(40)
    after = _now(sandbox, begun)
    assert (after["status"], after["ended_at"], after["canceled_at"]) == ("canceled", asked["cancel_at"], wall.at)
    assert after["cancellation_details"]["reason"] == "cancellation_requested"
    event = sandbox.events()[-1]
    assert (event["type"], event["created"]) == ("customer.subscription.deleted", asked["cancel_at"])
    assert after["latest_invoice"] == begun["latest_invoice"]
    assert sandbox.get("/v1/subscriptions", customer=begun["customer"])["data"] == []


def test_what_waits_is_billed_when_a_plan_ends(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.post("/v1/invoiceitems", {"customer": begun["customer"], "amount": 650, "currency": "usd"})
    sandbox.change(begun, cancel_at_period_end="true")
    seen = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]})
    sandbox.pass_by(31)
    last = sandbox.latest_invoice(begun)
    assert (seen["total"], last["total"], last["status"]) == (650, 650, "paid")
    assert sandbox.subscription(begun)["status"] == "canceled"


def test_paused_collection_bills_nothing_until_it_runs_out(sandbox: Driver, wall: Wall) -> None:
    begun = _begin(sandbox)
    path = f"/v1/subscriptions/{begun['id']}"
    pause = {"pause_collection[behavior]": "void", "pause_collection[resumes_at]": wall.at + 40 * DAY}
    assert sandbox.error("POST", path, pause | {"pause_collection[resumes_at]": wall.at})[0] == 400
    assert sandbox.post(path, pause)["status"] == "active"
    sandbox.pass_by(31)
    assert _now(sandbox, begun)["latest_invoice"] == begun["latest_invoice"]
    sandbox.pass_by(10)
    after = _now(sandbox, begun)
    assert (after["pause_collection"], after["latest_invoice"]) == (None, begun["latest_invoice"])
    sandbox.pass_by(31)
    assert _now(sandbox, begun)["latest_invoice"] != begun["latest_invoice"]


def test_a_paused_plan_waits(sandbox: Driver) -> None:
    begun = _begin(sandbox)
    path = f"/v1/subscriptions/{begun['id']}"
    paused = sandbox.post(f"{path}/pause")
    assert paused["status"] == "paused"
    assert paused["status_details"]["paused"]["subscription"]["type"] == "pause_requested"
    assert sandbox.event_types()[-2:] == ["customer.subscription.paused", "customer.subscription.updated"]
    sandbox.pass_by(100)
    assert _now(sandbox, begun) == paused
    assert sandbox.error("POST", f"{path}/pause")[0] == 400


def test_resuming_begins_and_bills_a_new_period(sandbox: Driver, wall: Wall) -> None:
    begun = _begin(sandbox)
    path = f"/v1/subscriptions/{begun['id']}"
    sandbox.post(f"{path}/pause", {"bill_for[unused_time_from][type]": "none"})
    sandbox.pass_by(50)
    after = sandbox.post(f"{path}/resume")
    now = wall.at + 50 * DAY
    assert (after["status"], after["billing_cycle_anchor"]) == ("active", now)
    assert "status_details" not in after
    assert after["items"]["data"][0]["current_period_start"] == now
    assert sandbox.get(f"/v1/invoices/{after['latest_invoice']}")["amount_paid"] == 2900
    assert "customer.subscription.resumed" in sandbox.event_types()
    assert sandbox.error("POST", f"{path}/resume")[0] == 400


def test_resuming_the_old_rhythm_bills_nothing_for_the_pause(sandbox: Driver, wall: Wall) -> None:
    wall.at = BEGUN_ON_THE_31ST
    begun = _begin(sandbox)
    path = f"/v1/subscriptions/{begun['id']}"
    sandbox.post(f"{path}/pause")
    sandbox.pass_by(70)
    after = sandbox.post(f"{path}/resume", {"billing_cycle_anchor[type]": "unchanged"})
    assert _period(after) == ("31 Mar", "30 Apr")
    assert after["latest_invoice"] == begun["latest_invoice"]


@pytest.mark.parametrize(
    ("since", "credit"),
    [(None, [-1450]), ("now", [-1450]), ("item_current_period_start", [-2900]), ("none", [])],
)
def test_a_pause_gives_back_what_is_not_used(sandbox: Driver, wall: Wall, since: str | None, credit: list[int]) -> None:
    wall.at = JANUARY
    begun = sandbox.begin()
    sandbox.pass_by(15.5)
    sent = {"bill_for[unused_time_from][type]": since} if since else {}
    sandbox.post(f"/v1/subscriptions/{begun['id']}/pause", sent)
    waiting = sandbox.get("/v1/invoiceitems", customer=begun["customer"], pending="true")["data"]
    assert [item["amount"] for item in waiting] == credit
    seen = sandbox.post(
        "/v1/invoices/create_preview",
        {"subscription": begun["id"], "subscription_details[resume_at]": "now"},
    )
    sandbox.post(f"/v1/subscriptions/{begun['id']}/resume")
    assert sandbox.latest_invoice(begun)["total"] == seen["total"] == 2900 + sum(credit)


def test_a_pause_may_be_settled_at_once(sandbox: Driver, wall: Wall) -> None:
    wall.at = JANUARY
    begun = sandbox.begin()
    sandbox.pass_by(15.5)
    paused = sandbox.post(f"/v1/subscriptions/{begun['id']}/pause", {"invoicing_behavior": "invoice"})
    assert paused["status"] == "paused"
    assert sandbox.latest_invoice(begun)["total"] == -1450
    assert sandbox.get(f"/v1/customers/{begun['customer']}")["balance"] == -1450


@pytest.mark.parametrize(
    ("behavior", "given_back", "amounts"),
    [
        ("create_prorations", "now", [-2175, 1450]),
        ("none", "now", [-2175]),
        ("create_prorations", "none", []),
    ],
)
def test_going_on_in_the_old_rhythm_asks_for_the_rest(
    sandbox: Driver, wall: Wall, behavior: str, given_back: str, amounts: list[int]
) -> None:
    wall.at = JANUARY
    begun = sandbox.begin()
    path = f"/v1/subscriptions/{begun['id']}"
    sandbox.pass_by(7.75)
    sandbox.post(f"{path}/pause", {"bill_for[unused_time_from][type]": given_back})
    sandbox.pass_by(7.75)
    unchanged = {"billing_cycle_anchor[type]": "unchanged", "proration_behavior": behavior}
    sandbox.post(f"{path}/resume", unchanged)
    waiting = sandbox.get("/v1/invoiceitems", customer=begun["customer"], pending="true")["data"]
    assert [item["amount"] for item in reversed(waiting)] == amounts
    assert sandbox.latest_invoice(begun)["id"] == begun["latest_invoice"]


def test_going_on_may_be_billed_at_once(sandbox: Driver, wall: Wall) -> None:
    wall.at = JANUARY
    begun = sandbox.begin()
    path = f"/v1/subscriptions/{begun['id']}"
    sandbox.post(f"{path}/pause")
    sandbox.pass_by(31 + 14)
    unchanged = {"billing_cycle_anchor[type]": "unchanged", "proration_behavior": "always_invoice"}
    assert sandbox.error("POST", f"{path}/resume", unchanged | {"proration_date": JANUARY})[0] == 400
    sandbox.post(f"{path}/resume", unchanged)
    assert sandbox.latest_invoice(begun)["total"] == 1450 - 2900


def test_an_invoice_names_the_period_that_has_ended(sandbox: Driver, wall: Wall) -> None:
    wall.at = JANUARY
    begun = _begin(sandbox, trial_period_days=14)
    path = f"/v1/subscriptions/{begun['id']}"

    def period() -> tuple[int, int]:
        invoice = sandbox.latest_invoice(begun)
        return invoice["period_start"], invoice["period_end"]

    assert period() == (JANUARY, JANUARY)
    seen = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]})
    sandbox.pass_by(14)
    trial = begun["trial_end"]
    assert period() == (JANUARY, trial) == (seen["period_start"], seen["period_end"])
    sandbox.pass_by(31)
    assert period() == (trial, trial + 31 * DAY)
    # A period that begins because of a change has none before it.
    sandbox.pass_by(3)
    now = sandbox.get("/_sandbox/clock")["now"]
    sandbox.post(path, {"billing_cycle_anchor[type]": "now"})
    assert period() == (now, now)
    sandbox.post(f"{path}/pause")
    sandbox.pass_by(60)
    now = sandbox.get("/_sandbox/clock")["now"]
    sandbox.post(f"{path}/resume")
    assert period() == (now, now)
