"""Disputes, refunds, credit notes, meters and entitlements are what the SDK annotates, in answers and in events."""

from typing import Any

from tests.contract.recording import Recording


def pay(recording: Recording, card: str) -> Any:
    """Pay with a stock card; returns the intent."""
    return recording.v1.payment_intents.create(
        {"amount": 1800, "currency": "usd", "payment_method": card, "confirm": True}
    )


def test_disputes(recording: Recording) -> None:
    disputes = recording.v1.disputes
    for card, evidence in (
        ("pm_card_createDispute", "winning_evidence"),
        ("pm_card_createDisputeProductNotReceived", "losing_evidence"),
        ("pm_card_createDisputeInquiry", "escalate_inquiry_evidence"),
    ):
        found = disputes.list({"payment_intent": pay(recording, card).id}).data[0]
        disputes.update(found.id, {"evidence": {"customer_name": "Ada"}, "submit": False, "metadata": {"seen": "1"}})
        disputes.update(found.id, {"evidence": {"uncategorized_text": evidence}})
        disputes.retrieve(found.id, {"expand": ["charge", "payment_intent"]})
    disputes.close(found.id)
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["dispute"] > 15
    assert checker.objects["balance_transaction"] > 15


def test_refunds_that_take_time_or_fail(recording: Recording) -> None:
    for card in ("pm_card_pendingRefund", "pm_card_refundFail"):
        refund = recording.v1.refunds.create({"payment_intent": pay(recording, card).id})
        recording.driver.pass_by(1)
        recording.v1.refunds.retrieve(refund.id)
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["refund"] > 8


def test_credit_notes(recording: Recording) -> None:
    v1 = recording.v1
    coupon = recording.driver.post("/v1/coupons", {"percent_off": 10, "duration": "once"})["id"]
    session = recording.driver.paid(recording.driver.session(**{"discounts[0][coupon]": coupon}))
    line = v1.invoices.retrieve(session["invoice"]).lines.data[0]
    by_line: Any = {
        "invoice": session["invoice"],
        "lines": [{"type": "invoice_line_item", "invoice_line_item": line.id, "amount": 1000}],
        "refund_amount": 500,
        "credit_amount": 400,
        "reason": "order_change",
    }
    v1.credit_notes.preview(by_line)
    note = v1.credit_notes.create(by_line)
    v1.credit_notes.update(note.id, {"memo": "Half of it"})
    v1.credit_notes.retrieve(note.id, {"expand": ["invoice", "customer_balance_transaction", "refunds.refund"]})
    v1.credit_notes.line_items.list(note.id)
    customer = v1.customers.create()
    card = v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id}).id
    price = recording.driver.price()["id"]
    order: Any = {"customer": customer.id, "items": [{"price": price}], "default_payment_method": card}
    waiting = v1.subscriptions.create(order).latest_invoice
    assert isinstance(waiting, str)
    less = v1.credit_notes.create({"invoice": waiting, "amount": 900})
    v1.credit_notes.void_credit_note(less.id)
    v1.credit_notes.create({"invoice": waiting, "amount": 2900})
    v1.credit_notes.list({"expand": ["data.customer"]})
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["credit_note"] > 10
    assert checker.objects["credit_note_line_item"] > 10
    assert checker.objects["customer_balance_transaction"] > 0


def test_meters(recording: Recording) -> None:
    v1 = recording.v1
    customer = v1.customers.create().id
    order: Any = {"display_name": "Runs", "event_name": "runs", "default_aggregation": {"formula": "sum"}}
    meter = v1.billing.meters.create(order).id
    v1.billing.meters.update(meter, {"display_name": "All runs"})
    payload = {"stripe_customer_id": customer, "value": "2.5"}
    v1.billing.meter_events.create({"event_name": "runs", "payload": payload, "identifier": "one"})
    v1.billing.meter_events.create({"event_name": "runs", "payload": payload})
    cancel: Any = {"event_name": "runs", "type": "cancel", "cancel": {"identifier": "one"}}
    v1.billing.meter_event_adjustments.create(cancel)
    now = recording.driver.get(f"/v1/customers/{customer}")["created"] // 86400 * 86400
    span: Any = {"customer": customer, "start_time": now, "end_time": now + 2 * 86400, "value_grouping_window": "day"}
    assert v1.billing.meters.event_summaries.list(meter, span).data[0].aggregated_value == 2.5
    product = v1.products.create({"name": "Runs"}).id
    recurring: Any = {"interval": "month", "usage_type": "metered", "meter": meter}
    v1.prices.create({"product": product, "currency": "usd", "unit_amount": 5, "recurring": recurring})
    v1.billing.meters.deactivate(meter)
    v1.billing.meters.reactivate(meter)
    v1.billing.meters.retrieve(meter)
    v1.billing.meters.list()
    problems, checker = recording.problems()
    assert sorted(problems) == []
    kinds = ("meter", "meter_event", "meter_event_adjustment", "meter_event_summary")
    assert all(checker.objects[f"billing.{kind}"] for kind in kinds)


def test_entitlements(recording: Recording) -> None:
    v1 = recording.v1
    price = recording.driver.price()
    feature = v1.entitlements.features.create({"lookup_key": "api", "name": "API", "metadata": {"tier": "2"}}).id
    v1.entitlements.features.update(feature, {"name": "API access"})
    v1.entitlements.features.retrieve(feature)
    v1.entitlements.features.list()
    attached = v1.products.features.create(price["product"], {"entitlement_feature": feature}).id
    v1.products.features.retrieve(price["product"], attached)
    v1.products.features.list(price["product"])
    customer = recording.driver.paid(recording.driver.session(price))["customer"]
    given = v1.entitlements.active_entitlements.list({"customer": customer, "expand": ["data.feature"]}).data[0]
    v1.entitlements.active_entitlements.retrieve(given.id)
    v1.products.features.delete(price["product"], attached)
    problems, checker = recording.problems()
    assert sorted(problems) == []
    kinds = ("feature", "active_entitlement", "active_entitlement_summary")
    assert all(checker.objects[f"entitlements.{kind}"] for kind in kinds)
    assert checker.objects["product_feature"]


def test_billed_usage(recording: Recording) -> None:
    v1, driver = recording.v1, recording.driver
    formula: Any = {"display_name": "Runs", "event_name": "runs", "default_aggregation": {"formula": "sum"}}
    meter = v1.billing.meters.create(formula).id
    price = driver.price(5, **{"recurring[usage_type]": "metered", "recurring[meter]": meter})["id"]
    customer = v1.customers.create({"payment_method": "pm_card_visa"}).id
    card = v1.payment_methods.list({"customer": customer}).data[0].id
    order: Any = {"customer": customer, "items": [{"price": price}], "default_payment_method": card}
    begun = v1.subscriptions.create(order)
    payload = {"stripe_customer_id": customer, "value": "20.1"}
    v1.billing.meter_events.create({"event_name": "runs", "payload": payload})
    v1.invoices.create_preview({"subscription": begun.id})
    driver.pass_by(31)
    assert v1.invoices.list({"customer": customer}).data[0].total == 101
    problems, _ = recording.problems()
    assert sorted(problems) == []


def test_usage_in_tiers(recording: Recording) -> None:
    v1, driver = recording.v1, recording.driver
    formula: Any = {"display_name": "Runs", "event_name": "runs", "default_aggregation": {"formula": "sum"}}
    meter = v1.billing.meters.create(formula).id
    product = v1.products.create({"name": "Runs"}).id
    tiered: list[str] = []
    for included in (10, 1000):
        tiers: Any = [{"up_to": included, "unit_amount": 0}, {"up_to": "inf", "unit_amount_decimal": "0.1"}]
        sent: Any = {"product": product, "currency": "usd", "billing_scheme": "tiered", "tiers_mode": "graduated"}
        sent |= {"tiers": tiers, "recurring": {"interval": "month", "usage_type": "metered", "meter": meter}}
        made = v1.prices.create(sent | {"expand": ["tiers"]})
        assert made.tiers is not None
        assert [(tier.up_to, str(tier.unit_amount_decimal)) for tier in made.tiers] == [(included, "0"), (None, "0.1")]
        tiered.append(made.id)
    plan = driver.price()
    begun = driver.get(
        f"/v1/subscriptions/{driver.paid(driver.session(plan, **{'line_items[1][price]': tiered[0]}))['subscription']}"
    )
    payload = {"stripe_customer_id": begun["customer"], "value": "2010"}
    v1.billing.meter_events.create({"event_name": "runs", "payload": payload})
    item = next(one["id"] for one in begun["items"]["data"] if one["price"]["id"] == tiered[0])
    driver.pass_by(1)
    update: Any = {"items": [{"id": item, "price": tiered[1]}], "proration_behavior": "always_invoice"}
    preview: Any = {"subscription": begun["id"], "subscription_details": update}
    assert v1.invoices.create_preview(preview).total == 200
    v1.subscriptions.update(begun["id"], update)
    schedule = v1.subscription_schedules.create({"from_subscription": begun["id"]})
    v1.subscription_schedules.retrieve(schedule.id)
    driver.pass_by(31)
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["price"] > 2
