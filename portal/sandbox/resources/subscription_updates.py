"""`POST /v1/subscriptions/{subscription}` and what changes single items: new terms, and the money they move at once."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from portal.sandbox import (
    added_items,
    agenda,
    changing,
    collecting,
    discounting,
    ending,
    events,
    pending_updates,
    schedule_phases,
    standing,
    tax_settings,
)
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of, call_for
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid, taken_back
from portal.sandbox.item_changes import ITEMS, QUANTITY, cost_after
from portal.sandbox.parameters import (
    Boolean,
    Choice,
    Hash,
    Metadata,
    Param,
    Text,
    Timestamp,
    TimestampOr,
    merge_metadata,
)
from portal.sandbox.pending_updates import Snapshot
from portal.sandbox.registry import deleted_form, fetch, render
from portal.sandbox.resources import payment_methods, subscription_items
from portal.sandbox.resources.subscriptions import CANCELLATION, ENDED, PAYMENT_SETTINGS, TRIAL_SETTINGS
from portal.sandbox.store import Object
from portal.sandbox.tax_settings import AUTOMATIC_TAX, TAX_RATES

BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")
MONEY: dict[str, Param] = {
    "payment_behavior": Choice(options=BEHAVIORS),
    "proration_behavior": Choice(options=("always_invoice", "create_prorations", "none")),
    "proration_date": Timestamp(),
}
UPDATE = MONEY | {
    "add_invoice_items": added_items.ADDED,
    "automatic_tax": AUTOMATIC_TAX,
    "billing_cycle_anchor": Hash(fields={"type": Choice(options=("now", "unchanged"), required=True)}),
    "cancel_at": TimestampOr(options=("max_period_end", "min_period_end"), unsettable=True),
    "cancel_at_period_end": Boolean(),
    "cancellation_details": CANCELLATION,
    "default_payment_method": Text(unsettable=True),
    "default_tax_rates": TAX_RATES,
    "description": Text(unsettable=True, max_length=500),
    "discounts": discounting.DISCOUNTS,
    "items": ITEMS,
    "metadata": Metadata(),
    "off_session": Boolean(),
    "payment_settings": PAYMENT_SETTINGS,
    "pause_collection": Hash(
        unsettable=True,
        fields={
            "behavior": Choice(options=("keep_as_draft", "mark_uncollectible", "void"), required=True),
            "resumes_at": Timestamp(),
        },
    ),
    "trial_end": TimestampOr(options=("now",)),
    "trial_settings": TRIAL_SETTINGS,
}
_ITEM = MONEY | {"metadata": Metadata(), "price": Text(), "quantity": QUANTITY, "tax_rates": TAX_RATES}
UPDATE_ITEM = _ITEM | {"off_session": Boolean()}
CREATE_ITEM = _ITEM | {"subscription": Text(required=True)}
DELETE_ITEM = MONEY
_TERMS = {"billing_cycle_anchor", "items", "trial_end"}
# What can wait for a payment; all else is either made at once or not at all.
_CAN_WAIT = _TERMS | set(MONEY) | {"off_session"}


@dataclass(frozen=True)
class _Change:
    """A change on its way: how it is paid, what there was before it, and the draft of what is due for it at once."""

    behavior: str
    before: Snapshot
    invoice: Object


@by_clock_of("subscription")
def update(call: Call, values: Values, subscription_id: str) -> Object:
    """`POST /v1/subscriptions/{subscription}`."""
    return render(call, change(call, fetch(call, "subscription", subscription_id), values))


def change(call: Call, subscription: Object, values: Values) -> Object:
    """Give a subscription other terms, take the money that is due for them, and tell of it; returns it as it is then."""
    check(subscription, values)
    if subscription.get("_pending") and _TERMS & set(values):
        pending_updates.forget(call, subscription)
    before, kept = render(call, deepcopy(subscription)), pending_updates.snapshot(call, subscription)
    _apply_members(call, subscription, values)
    if values.get("trial_end") == "now" and _ends_trial_without_card(call, subscription, values):
        return fetch(call, "subscription", subscription["id"])
    invoice = prepare(call, subscription, values)
    call.store.save(subscription)
    agenda.lift(call, subscription["id"])
    if invoice is not None and subscription["status"] != "unpaid":
        made = _Change(values.get("payment_behavior", "allow_incomplete"), kept, invoice)
        subscription = _collect(call, subscription, made)
    events.emit_update(call, "customer.subscription.updated", before, subscription)
    if "items" in values:
        schedule_phases.follow_change(call, subscription)
    if invoice is not None and invoice["status"] == "paid":
        standing.after_payment(call, invoice)
    elif invoice is not None and invoice["status"] == "open" and invoice["attempted"]:
        standing.after_refusal(call, invoice)
    return fetch(call, "subscription", subscription["id"])


def _ends_trial_without_card(call: Call, subscription: Object, values: Values) -> bool:
    """Whether the trial's end was all that was asked for, and took the subscription with it as it was begun."""
    from portal.sandbox import trial_ends  # It is built on the resources.

    return _TERMS & set(values) == {"trial_end"} and trial_ends.ends_without_card(call, subscription)


def prepare(call: Call, subscription: Object, values: Values) -> Object | None:
    """Change the terms; returns the draft of what is due for them at once, or None. The caller saves it."""
    if "discounts" in values:
        cost = cost_after(call, subscription, values.get("items", []))
        discounting.give(call, subscription, values["discounts"], cost)
    tax_settings.give(call, subscription, fetch(call, "customer", subscription["customer"]), values)
    _check_tax(call, subscription, values)
    added_items.add(call, subscription, values.get("add_invoice_items", []))
    invoice = None
    if _TERMS & set(values):
        invoice = changing.apply(call, subscription, changing.read(call, subscription, values))
    behavior = values.get("proration_behavior", "create_prorations")
    if ending.schedule(call, subscription, values) and behavior != "none" and ending.settle(call, subscription):
        at_once = invoice is None and behavior == "always_invoice"
        return changing.draft_of_prorations(call, subscription) if at_once else invoice
    return invoice


def _check_tax(call: Call, subscription: Object, values: Values) -> None:
    items = subscription_items.of_subscription(call, subscription["id"])
    own = [item["tax_rates"] for item in items] + [sent.get("tax_rates") or [] for sent in values.get("items", [])]
    tax_settings.check(tax_settings.terms_of(subscription), own)


def check(subscription: Object, values: Values) -> None:
    """Refuse what the state of a subscription does not allow to be changed."""
    status, terms = subscription["status"], _TERMS & set(values)
    if status in ENDED and set(values) - {"metadata", "cancellation_details"}:
        raise invalid("A subscription that has ended can only have its metadata and cancellation details changed.")
    if status == "incomplete" and terms:
        raise invalid("An incomplete subscription cannot be changed; pay its first invoice, or cancel it.")
    if status == "paused" and terms - {"items"}:
        raise invalid("A paused subscription keeps its billing day and its trial; resume it first.", min(terms))
    if values.get("payment_behavior") == "pending_if_incomplete" and set(values) - _CAN_WAIT:
        odd = min(set(values) - _CAN_WAIT)
        raise invalid(f"{odd} cannot wait for a payment; leave it out with pending_if_incomplete.", odd)


def _apply_members(call: Call, subscription: Object, values: Values) -> None:
    if values.get("default_payment_method") is not None:
        payment_methods.require_of_customer(
            call, values["default_payment_method"], subscription["customer"], "default_payment_method"
        )
    for name in ("default_payment_method", "description", "trial_settings"):
        if name in values:
            subscription[name] = values[name]
    if "metadata" in values:
        subscription["metadata"] = merge_metadata(subscription["metadata"], values["metadata"])
    subscription["cancellation_details"] |= values.get("cancellation_details", {})
    subscription["payment_settings"] |= values.get("payment_settings", {})
    if "pause_collection" in values:
        subscription["pause_collection"] = _pause(call, values["pause_collection"])


def _pause(call: Call, sent: Values | None) -> Object | None:
    if sent is None:
        return None
    if "resumes_at" in sent and sent["resumes_at"] <= call.now():
        raise invalid("resumes_at must lie in the future.", "pause_collection[resumes_at]")
    return {"resumes_at": None} | sent


def _collect(call: Call, subscription: Object, made: _Change) -> Object:
    """Take what a change costs at once; returns the subscription as the outcome leaves it, stored."""
    invoice = collecting.finalize(call, made.invoice, description="Subscription update")
    if made.behavior == "default_incomplete" and invoice["amount_due"] > 0:
        return call.store.save(subscription | {"status": "past_due"})
    card = standing.card_of(call, subscription)
    if card is None and invoice["amount_due"] > 0:
        raise standing.NO_CARD
    error = standing.collect(call, invoice, card)
    if error is None:
        paid: dict[str, Any] = {"status": "active"} if subscription["status"] == "past_due" else {}
        return call.store.save(subscription | paid)
    if made.behavior == "error_if_incomplete":
        raise taken_back(error)
    if made.behavior == "pending_if_incomplete":
        return pending_updates.let_wait(call, made.before, pending_updates.snapshot(call, subscription), invoice)
    return call.store.save(subscription | {"status": "past_due"})


def update_item(call: Call, values: Values, item_id: str) -> Object:
    """`POST /v1/subscription_items/{item}`."""
    item = fetch(call, "subscription_item", item_id)
    _change_item(call, item["subscription"], values, {"id": item_id})
    return render(call, fetch(call, "subscription_item", item_id))


def create_item(call: Call, values: Values) -> Object:
    """`POST /v1/subscription_items`."""
    subscription_id = fetch(call, "subscription", values.pop("subscription"), "subscription")["id"]
    before = {item["id"] for item in subscription_items.of_subscription(call, subscription_id)}
    _change_item(call, subscription_id, values, {})
    made = [item for item in subscription_items.of_subscription(call, subscription_id) if item["id"] not in before]
    if not made:
        raise invalid("The payment for the item failed; it waits for that, and is no item yet.", "payment_behavior")
    return render(call, made[0])


def delete_item(call: Call, values: Values, item_id: str) -> Object:
    """`DELETE /v1/subscription_items/{item}`."""
    item = fetch(call, "subscription_item", item_id)
    _change_item(call, item["subscription"], values, {"id": item_id, "deleted": True})
    return deleted_form(item)


def _change_item(call: Call, subscription_id: str, values: Values, item: Values) -> None:
    item |= {name: values.pop(name) for name in ("metadata", "price", "quantity", "tax_rates") if name in values}
    subscription = fetch(call, "subscription", subscription_id)
    change(call_for(call, subscription), subscription, values | {"items": [item]})


ENDPOINTS = (
    Endpoint("POST", "/v1/subscriptions/{subscription}", UPDATE, update, "subscription"),
    Endpoint("POST", "/v1/subscription_items", CREATE_ITEM, create_item, "subscription_item"),
    Endpoint("POST", "/v1/subscription_items/{item}", UPDATE_ITEM, update_item, "subscription_item"),
    Endpoint("DELETE", "/v1/subscription_items/{item}", DELETE_ITEM, delete_item, "subscription_item"),
)
