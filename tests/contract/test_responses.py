"""Every object the sandbox returns is what the SDK's annotations say it is.

The story makes every kind of object and event there is, and every body that came back is checked, nested levels and
event payloads included.
"""

from collections.abc import Iterator

import pytest

from portal.sandbox import create_sandbox
from tests.contract.annotations import Checker, contract_of, event_types
from tests.contract.story import Story
from tests.live import serving
from tests.sandbox.driving import KEY, Driver


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    app = create_sandbox(api_key=KEY)
    with serving(app) as address:
        told = Story(Driver(app), address)
        told.tell()
        yield told
        told.http.close()
    app.extensions["sandbox"].close()


RESOURCES = (
    "balance",
    "billing_portal.configuration",
    "billing_portal.session",
    "charge",
    "checkout.session",
    "customer",
    "event",
    "invoice",
    "invoice_payment",
    "invoiceitem",
    "item",
    "line_item",
    "payment_intent",
    "payment_method",
    "price",
    "product",
    "setup_intent",
    "subscription",
    "subscription_item",
    "subscription_schedule",
    "tax_id",
    "test_helpers.test_clock",
    "v2.core.event",
    "v2.core.event_destination",
    "webhook_endpoint",
)


def test_every_body_meets_the_annotations(story: Story) -> None:
    checker = Checker()
    for where, body in story.http.bodies:
        checker.check(body, where)
    assert sorted(set(checker.problems)) == []
    assert {name: checker.objects[name] for name in RESOURCES if checker.objects[name] == 0} == {}
    # Guards against a checker that looks at nothing.
    assert checker.fields_checked > 10_000
    assert checker.words_checked > 1_000


def test_event_payloads_meet_the_annotations(story: Story) -> None:
    checker = Checker()
    for event in story.driver.events():
        checker.check(event["data"]["object"], event["type"])
    assert sorted(set(checker.problems)) == []


def test_every_event_type_exists(story: Story) -> None:
    emitted = set(story.driver.event_types())
    assert emitted - event_types() == set()
    assert len(event_types()) > 200
    assert emitted >= {
        "billing_portal.configuration.created",
        "billing_portal.configuration.updated",
        "billing_portal.session.created",
        "charge.failed",
        "charge.pending",
        "charge.succeeded",
        "checkout.session.async_payment_failed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.completed",
        "checkout.session.expired",
        "customer.created",
        "customer.deleted",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
        "customer.tax_id.created",
        "customer.tax_id.deleted",
        "customer.tax_id.updated",
        "customer.updated",
        "invoice.created",
        "invoice.deleted",
        "invoice.finalized",
        "invoice.marked_uncollectible",
        "invoice.paid",
        "invoice.payment_action_required",
        "invoice.payment_failed",
        "invoice.payment_succeeded",
        "invoice.updated",
        "invoice.voided",
        "invoice_payment.paid",
        "invoiceitem.created",
        "invoiceitem.deleted",
        "payment_intent.canceled",
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.processing",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
        "payment_method.attached",
        "payment_method.detached",
        "price.created",
        "product.created",
        "setup_intent.created",
        "setup_intent.setup_failed",
        "setup_intent.succeeded",
        "subscription_schedule.canceled",
        "subscription_schedule.completed",
        "subscription_schedule.created",
        "subscription_schedule.released",
        "subscription_schedule.updated",
        "test_helpers.test_clock.advancing",
        "test_helpers.test_clock.created",
        "test_helpers.test_clock.deleted",
        "test_helpers.test_clock.ready",
    }


def test_the_checker_sees_faults() -> None:
    """A missing field, a wrong type, an unknown word and an unknown field are each found, at any depth."""
    price = dict.fromkeys(contract_of("price").fields) | {
        "object": "price",
        "id": "price_1",
        "active": "yes",
        "billing_scheme": "free",
        "created": 1,
        "currency": "usd",
        "livemode": False,
        "metadata": {},
        "product": "prod_1",
        "recurring": {"interval": "month", "usage_type": "licensed"},
        "surprise": 1,
    }
    del price["type"]
    checker = Checker()
    checker.check(price, "price")
    assert {problem.split(": ")[0] for problem in checker.problems} == {
        "price",
        "price.active",
        "price.billing_scheme",
        "price.recurring.interval_count",
        "price.type",
    }
