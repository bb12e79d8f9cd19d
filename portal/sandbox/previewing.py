"""What an invoice would be, without making it: the very change or renewal is carried out, looked at, and taken back.

Nothing is computed a second time for a preview, so it cannot differ from what the same request then bills.
"""

from portal.sandbox import (
    beginning,
    cancelling,
    customer_balance,
    discounting,
    ids,
    pausing,
    renewing,
    scheduling,
    subscribing,
    tax_settings,
)
from portal.sandbox.billing_lines import OrderLine
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import ApiError, invalid, missing_parameter
from portal.sandbox.item_changes import cost_after, price_of, quantity_of
from portal.sandbox.registry import fetch, list_object, render
from portal.sandbox.resources import (
    customers,
    invoice_items,
    invoice_lines,
    invoices,
    subscription_items,
    subscription_schedules,
    subscription_updates,
)
from portal.sandbox.store import Object
from portal.sandbox.tax_settings import TaxTerms

# What can be said of a subscription that there is not yet.
_OF_NEW = {
    "billing_cycle_anchor",
    "billing_mode",
    "cancel_at",
    "cancel_at_period_end",
    "default_tax_rates",
    "items",
    "proration_behavior",
    "trial_end",
}


def preview(call: Call, values: Values) -> Object:
    """Return in wire form the invoice that the parameters would bring about."""
    with call.store.rehearsal():
        _know_customer(call, values)
        if "schedule" in values:
            invoice = _of_schedule(call, values)
        elif "subscription" in values:
            invoice = _of_subscription(
                call, fetch(call, "subscription", values["subscription"], "subscription"), values
            )
        elif "items" in values.get("subscription_details", {}):
            invoice = _of_new_subscription(call, values)
        else:
            invoice = _of_customer(call, values)
        return _shown(call, invoice)


def _know_customer(call: Call, values: Values) -> None:
    """Take for granted what is said of a customer, one there is or one there is not yet."""
    details = values.pop("customer_details", None)
    if details is None:
        return
    subscription = values.get("subscription")
    owner = fetch(call, "subscription", subscription, "subscription")["customer"] if subscription else None
    known = values.get("customer", owner)
    if known is None:
        values["customer"] = customers.add(call, details)["id"]
    else:
        customers.update(call, details, fetch(call, "customer", known, "customer")["id"])


def _of_subscription(call: Call, subscription: Object, values: Values) -> Object:
    if values.get("customer", subscription["customer"]) != subscription["customer"]:
        raise invalid("The subscription belongs to another customer.", "customer")
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise nothing_comes()
    details = dict(values.get("subscription_details", {}))
    if details.get("billing_cycle_anchor", {}).get("type") == "timestamp":
        raise invalid(
            "Only a new subscription can be given its billing day.", "subscription_details[billing_cycle_anchor]"
        )
    if "automatic_tax" in values:
        details["automatic_tax"] = values["automatic_tax"]
    if "discounts" in values:
        cost = cost_after(call, subscription, details.get("items", []))
        discounting.give(call, subscription, values["discounts"], cost)
    # What is paused for now is shown as if it were collected.
    subscription["pause_collection"] = None
    call.store.save(subscription)
    _add_items(call, fetch(call, "customer", subscription["customer"]), values, subscription["id"])
    if details.pop("cancel_now", False):
        prorates = details.get("proration_behavior", "create_prorations") != "none"
        return cancelling.last_invoice(call, subscription, prorates=prorates) or _nothing()
    if details.pop("resume_at", None) is not None:
        at_once = pausing.prepare_resume(call, subscription, details)
        call.store.save(subscription)
        return at_once or upcoming(call, subscription)
    subscription_updates.check(subscription, details)
    at_once = subscription_updates.prepare(call, subscription, details)
    call.store.save(subscription)
    if values.get("preview_mode") == "recurring":
        return _recurring(call, subscription)
    return at_once or upcoming(call, subscription)


def _of_schedule(call: Call, values: Values) -> Object:
    """Return the next invoice of a schedule's subscription, after a change of the schedule if one is asked for."""
    schedule = fetch(call, subscription_schedules.TYPE, values["schedule"], "schedule")
    if schedule["subscription"] is None:
        raise nothing_comes()
    subscription = fetch(call, "subscription", schedule["subscription"])
    invoice = subscription_schedules.change(call, schedule, subscription, values.get("schedule_details", {}))
    call.store.save(subscription)
    return invoice or upcoming(call, subscription)


def _nothing() -> Object:
    raise nothing_comes()


def nothing_comes() -> ApiError:
    """404: there will be no invoice to preview."""
    return ApiError(
        404, "invalid_request_error", "There is no upcoming invoice to preview.", code="invoice_upcoming_none"
    )


def upcoming(call: Call, subscription: Object) -> Object:
    """Return the draft of a subscription's next invoice by itself, dated when it is due."""
    if subscription["status"] in ("paused", "incomplete"):
        raise nothing_comes()
    items = subscription_items.of_subscription(call, subscription["id"])
    at = min(item["current_period_end"] for item in items)
    phase_ends = scheduling.next_step_at(call, subscription)
    if phase_ends is not None and phase_ends <= at and subscription["cancel_at"] != phase_ends:
        invoice = scheduling.enter_next(call.dated(phase_ends), subscription)
        call.store.save(subscription)
        return invoice or upcoming(call.dated(phase_ends), subscription)
    ends = subscription["cancel_at"] is not None and subscription["cancel_at"] <= at
    then = call.dated(max(subscription["cancel_at"] if ends else at, call.now()))
    if ends:
        return cancelling.last_invoice(then, subscription, prorates=False, reason="upcoming") or _nothing()
    draft = renewing.draft_period(then, subscription, renewing.items_due(then, subscription, at), "upcoming")
    return draft or _nothing()


def _recurring(call: Call, subscription: Object) -> Object:
    """Return the draft of a whole period of everything, and of nothing else."""
    for waiting in invoice_items.pending(call, subscription["customer"], subscription["id"]):
        call.store.delete(waiting["id"])
    items = subscription_items.of_subscription(call, subscription["id"])
    return renewing.draft(call, subscription, items, "upcoming")


def _of_new_subscription(call: Call, values: Values) -> Object:
    details = values["subscription_details"]
    odd_ones = set(details) - _OF_NEW
    if odd_ones:
        odd = min(odd_ones)
        raise invalid("This needs a subscription that there is already.", f"subscription_details[{odd}]")
    customer = _customer(call, values)
    lines: list[OrderLine] = []
    for number, sent in enumerate(details["items"]):
        param = f"subscription_details[items][{number}][price]"
        if "price" not in sent:
            raise invalid("An item of a new subscription needs a price.", param, "parameter_missing")
        rates = tax_settings.named(call, sent.get("tax_rates"), param.replace("[price]", "[tax_rates]"))
        price = price_of(call, sent["price"], param)
        lines.append(OrderLine(price, quantity_of(price, sent, param.replace("[price]", "")), tax_rates=rates))
    subscribing.check_lines(lines)
    trial_end = beginning.trial_end_of(call, details)
    order = subscribing.Order(
        customer=customer,
        lines=lines,
        payment_method=None,
        trial_end=trial_end,
        values={name: values[name] for name in ("automatic_tax", "discounts") if name in values}
        | {name: value for name, value in details.items() if name in _OF_NEW - {"billing_cycle_anchor", "items"}},
        anchor=_anchor(call, details, lines, trial_end),
    )
    _add_items(call, customer, values, None)
    return subscribing.first_invoice(call, order, subscribing.add(call, order))


def _anchor(call: Call, details: Values, lines: list[OrderLine], trial_end: int | None) -> int | None:
    anchor = details.get("billing_cycle_anchor", {})
    if anchor.get("type") != "timestamp":
        return None
    if "timestamp" not in anchor:
        raise missing_parameter("subscription_details[billing_cycle_anchor][timestamp]")
    named = {"billing_cycle_anchor": anchor["timestamp"]}
    return beginning.anchor_of(call, named, [line.price for line in lines], trial_end)


def _customer(call: Call, values: Values) -> Object:
    """Return the customer that was named, or somebody of whom nothing is known."""
    if "customer" in values:
        return fetch(call, "customer", values["customer"], "customer")
    return customers.add(call, {})


def _of_customer(call: Call, values: Values) -> Object:
    if "customer" not in values:
        raise invalid("Name a customer, a subscription, or the items of a new one.", "customer", "parameter_missing")
    customer = _customer(call, values)
    _add_items(call, customer, values, None)
    waiting = invoice_items.pending(call, customer["id"], None)
    if not waiting:
        raise nothing_comes()
    tax = TaxTerms(automatic=values.get("automatic_tax", {}).get("enabled", False))
    lines = [invoice_items.as_line(call, one) for one in waiting]
    return invoices.draft(call, customer, None, "upcoming", lines, tax=tax)


def _add_items(call: Call, customer: Object, values: Values, subscription_id: str | None) -> None:
    for number, sent in enumerate(values.get("invoice_items", [])):
        item = {name: value for name, value in sent.items() if name != "price"}
        if "price" in sent:
            item["pricing"] = {"price": sent["price"]}
        if subscription_id is not None:
            item["subscription"] = subscription_id
        try:
            invoice_items.add(call, customer, item)
        except ApiError as error:
            if error.param is not None:
                error.param = f"invoice_items[{number}][{error.param.partition('[')[0].replace('pricing', 'price')}]"
            raise


def _shown(call: Call, invoice: Object) -> Object:
    """Return a draft as a preview looks: under an id that names nothing, with all its lines."""
    preview_id = ids.new_id("upcoming_in")
    lines = []
    for line in invoice_lines.of_invoice(call, invoice["id"]):
        temporary = line["id"].replace("il_", "il_tmp_", 1)
        lines.append(render(call, line) | {"id": temporary, "invoice": preview_id})
    _, balance = customer_balance.apply(invoice["total"], invoice["starting_balance"])
    listed = list_object(lines, f"/v1/invoices/{preview_id}/lines") | {"total_count": len(lines)}
    return render(call, invoice) | {
        "id": preview_id,
        "billing_reason": "upcoming",
        "ending_balance": balance,
        "lines": listed,
        "next_payment_attempt": invoice["created"],
        "webhooks_delivered_at": None,
    }
