"""Subscriptions in flexible billing mode: what they are, and how they end."""

from typing import Any

from portal.sandbox import collecting, events, ids, schedule_phases, tax_settings
from portal.sandbox.call import Call
from portal.sandbox.customer_time import as_it_stands
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.parameters import (
    CREATED_PAGING,
    Array,
    Choice,
    Hash,
    Text,
    merge_metadata,
)
from portal.sandbox.registry import Reference, Resource, fetch, list_of, public, register, render
from portal.sandbox.resources import discounts, subscription_items
from portal.sandbox.store import Condition, Object, equals, one_of

FEEDBACK = (
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)
ENDED = ("canceled", "incomplete_expired")
STATUSES = ("active", "canceled", "incomplete", "incomplete_expired", "past_due", "paused", "trialing", "unpaid")
CANCELLATION = Hash(
    fields={
        "comment": Text(unsettable=True),
        "feedback": Choice(options=FEEDBACK, unsettable=True),
    }
)
TRIAL_SETTINGS = Hash(
    fields={
        "end_behavior": Hash(
            required=True,
            fields={"missing_payment_method": Choice(options=("cancel", "create_invoice", "pause"), required=True)},
        )
    }
)
BILLING_MODE = Hash(
    fields={
        "flexible": Hash(fields={"proration_discounts": Choice(options=("included",))}),
        "type": Choice(options=("flexible",), required=True),
    }
)
PAYMENT_SETTINGS = Hash(
    fields={
        "payment_method_types": Array(item=Choice(options=("card",)), unsettable=True),
        "save_default_payment_method": Choice(options=("off", "on_subscription")),
    }
)
LIST = CREATED_PAGING | {
    "collection_method": Choice(options=("charge_automatically", "send_invoice")),
    "customer": Text(),
    "price": Text(),
    "status": Choice(options=("all", "ended", *STATUSES)),
    "test_clock": Text(),
}


def build(call: Call, customer_id: str, currency: str, trial_end: int | None, values: Values) -> Object:
    """Return a new subscription that is not stored yet: trialing until `trial_end`, or active when that is None."""
    now = call.now()
    built: Object = {
        "id": ids.new_id("sub"),
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": tax_settings.switched(enabled=False),
        "billing_cycle_anchor": trial_end or now,
        "billing_cycle_anchor_config": _anchor_config(values),
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": now},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "feedback_option": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": currency,
        "customer": customer_id,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": values.get("default_payment_method"),
        "default_source": None,
        "default_tax_rates": [],
        "description": values.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "latest_invoice": None,
        "livemode": False,
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        }
        | values.get("payment_settings", {}),
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "trialing" if trial_end else "active",
        "test_clock": call.test_clock,
        "transfer_data": None,
        "trial_end": trial_end,
        "trial_settings": values.get("trial_settings")
        or {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": now if trial_end else None,
    }
    tax_settings.give(call, built, fetch(call, "customer", customer_id), values)
    return built


def _anchor_config(values: Values) -> Object | None:
    config = values.get("billing_cycle_anchor_config")
    return dict.fromkeys(("day_of_month", "hour", "minute", "month", "second")) | config if config else None


def _render(call: Call, subscription: Object) -> Object:
    by_its_clock = as_it_stands(call, subscription)
    found = [fetch(call, "discount", one) for one in subscription["discounts"]]
    return public(call, subscription) | {
        "default_tax_rates": tax_settings.shown(call, subscription["default_tax_rates"]),
        "discounts": [one["id"] for one in found if discounts.lasts(by_its_clock, one)],
        "items": subscription_items.embedded_list(call, subscription["id"]),
    }


def retrieve(call: Call, _: Values, subscription_id: str) -> Object:
    """`GET /v1/subscriptions/{subscription}`."""
    return render(call, fetch(call, "subscription", subscription_id))


def end(call: Call, subscription: Object, details: Object, **members: Any) -> Object:
    """End a subscription now and tell of it; `members` say otherwise what else it has in the end."""
    now = call.now()
    subscription["cancellation_details"] |= details
    subscription |= {
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": now,
        "ended_at": now,
        "pending_update": None,
        "status": "canceled",
        "_pending": None,
    } | members
    call.store.save(subscription)
    collecting.stop_all_of(call, subscription["id"])
    schedule_phases.close(call, subscription)
    events.emit(call, "customer.subscription.deleted", subscription)
    return subscription


def cancel_all_of(call: Call, customer_id: str) -> None:
    """End every living subscription of a customer."""
    for subscription in call.store.find("subscription", [equals("customer", customer_id)]):
        if subscription["status"] not in ENDED:
            end(call, subscription, {"reason": "cancellation_requested"})


def index(call: Call, values: Values) -> Object:
    """`GET /v1/subscriptions`; without a status, those that have ended are left out."""
    filters = member_equals(values, "collection_method", "customer", "test_clock")
    if not {"customer", "test_clock"} & set(values):
        filters.append(equals("test_clock", None))
    status = values.get("status")
    if status is None:
        filters.append(one_of("status", [name for name in STATUSES if name not in ENDED]))
    elif status == "ended":
        filters.append(one_of("status", ENDED))
    elif status != "all":
        filters.append(equals("status", status))
    if "price" in values:
        filters.append(
            Condition(
                "id IN (SELECT json_extract(items.body, '$.subscription') FROM objects AS items"
                " WHERE items.type = 'subscription_item' AND json_extract(items.body, '$.price') = ?)",
                (values["price"],),
            )
        )
    return page(call, "subscription", values, "/v1/subscriptions", filters)


register(
    Resource(
        "subscription",
        "subscription",
        {
            "customer": Reference("customer"),
            "default_payment_method": Reference("payment_method"),
            "discounts": Reference("discount"),
            "items": list_of("subscription_item"),
            "latest_invoice": Reference("invoice"),
            "pending_setup_intent": Reference("setup_intent"),
            "schedule": Reference("subscription_schedule"),
            "test_clock": Reference("test_helpers.test_clock"),
        },
        _render,
    )
)
_ONE = "/v1/subscriptions/{subscription}"
ENDPOINTS = (
    Endpoint("GET", "/v1/subscriptions", LIST, index, "subscription", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "subscription"),
)
