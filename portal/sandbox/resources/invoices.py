"""Invoices: those of a subscription, and that of a purchase. Invoices made by hand are not emulated."""

from copy import deepcopy

from portal.sandbox import events, ids
from portal.sandbox.call import ACCOUNT_NAME, Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.parameters import CREATED_PAGING, Boolean, Choice, Text
from portal.sandbox.registry import (
    Embedded,
    Included,
    Nested,
    Reference,
    Resource,
    fetch,
    list_object,
    list_of,
    public,
    register,
    render,
)
from portal.sandbox.resources import invoice_lines, invoice_payments, payment_intents, payment_methods
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Object, equals

LIST = CREATED_PAGING | {
    "collection_method": Choice(options=("charge_automatically", "send_invoice")),
    "customer": Text(),
    "status": Choice(options=("draft", "open", "paid", "uncollectible", "void")),
    "subscription": Text(),
}

PAY = {"off_session": Boolean(), "payment_method": Text()}


def draft(
    call: Call, customer: Object, subscription: Object | None, billing_reason: str, sources: list[LineSource]
) -> Object:
    """Store a draft invoice with its lines and tell of it."""
    invoice = _build(call, customer, subscription, billing_reason, sources)
    call.store.insert("invoice", invoice)
    for source in sources:
        call.store.insert("line_item", invoice_lines.build(invoice["id"], source))
    events.emit(call, "invoice.created", invoice)
    return invoice


def _build(
    call: Call, customer: Object, subscription: Object | None, billing_reason: str, sources: list[LineSource]
) -> Object:
    now = call.now()
    subtotal, off = sum(source.amount for source in sources), sum(source.off for source in sources)
    total = subtotal - off
    discount = next((source.discount for source in sources if source.discount), None)
    return {
        "id": ids.new_id("in"),
        "object": "invoice",
        "account_country": "US",
        "account_name": ACCOUNT_NAME,
        "account_tax_ids": None,
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": total,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": billing_reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": sources[0].price["currency"],
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [discount] if discount else [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": customer["invoice_settings"]["footer"],
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "on_behalf_of": None,
        "parent": _parent(subscription),
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "test_clock": None,
        "total": total,
        "total_discount_amounts": [{"amount": off, "discount": discount}] if discount else [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
    }


def _parent(subscription: Object | None) -> Object | None:
    if subscription is None:
        return None
    return {
        "quote_details": None,
        "subscription_details": {
            # As it was when the invoice was made; later changes of the subscription do not reach back.
            "metadata": dict(subscription["metadata"]),
            "subscription": subscription["id"],
        },
        "type": "subscription_details",
    }


def finalize(
    call: Call, invoice: Object, customer: Object, *, description: str | None = None, intent: Object | None = None
) -> Object:
    """Give a draft its number, its page and the intent that is to pay it, and tell of it.

    The customer's sequence moves on by one; the caller saves the customer. An `intent` that has paid already is taken
    over, otherwise one is made when money is due.
    """
    now = call.now()
    invoice |= {
        "auto_advance": False,
        "effective_at": now,
        "ending_balance": 0,
        "hosted_invoice_url": call.link(f"/i/{invoice['id']}"),
        "invoice_pdf": call.link(f"/i/{invoice['id']}/pdf"),
        "number": f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}",
        "status": "open",
    }
    customer["next_invoice_sequence"] += 1
    invoice["status_transitions"]["finalized_at"] = now
    call.store.save(invoice)
    events.emit(call, "invoice.finalized", invoice)
    if intent is None and invoice["amount_due"] > 0:
        intent = payment_intents.add(call, _intent_for(call, invoice, description))
    if intent is not None:
        call.store.insert("invoice_payment", invoice_payments.build(call, invoice, intent))
    return invoice


def _intent_for(call: Call, invoice: Object, description: str | None) -> Object:
    return payment_intents.build(
        call,
        invoice["amount_due"],
        invoice["currency"],
        automatic_payment_methods=None,
        capture_method="automatic",
        customer=invoice["customer"],
        description=description,
        payment_details={"customer_reference": None, "order_reference": invoice["id"]},
        setup_future_usage="off_session",
    )


def _payment_of(call: Call, invoice: Object) -> Object | None:
    found = call.store.find("invoice_payment", [equals("invoice", invoice["id"])], limit=1)
    return found[0] if found else None


def take_payment(call: Call, invoice: Object, payment_method: Object) -> ApiError | None:
    """Charge a card for an open invoice; returns the 402 when the bank refused. The invoice itself is not touched."""
    payment = _payment_of(call, invoice)
    if payment is None:
        raise RuntimeError(f"nothing is due on the invoice {invoice['id']}")
    intent = fetch(call, "payment_intent", payment["payment"]["payment_intent"])
    return payment_intents.pay(call, intent, payment_method)


def mark_paid(call: Call, invoice: Object) -> Object:
    """Close an invoice whose intent has paid, or on which nothing was due, and tell of it."""
    payment = _payment_of(call, invoice)
    invoice |= {
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "attempt_count": invoice["attempt_count"] + (1 if payment else 0),
        "attempted": True,
        "status": "paid",
    }
    invoice["status_transitions"]["paid_at"] = call.now()
    call.store.save(invoice)
    if payment is not None:
        payment |= {"amount_paid": invoice["amount_due"], "status": "paid"}
        payment["status_transitions"]["paid_at"] = call.now()
        call.store.save(payment)
    events.emit(call, "invoice.paid", invoice)
    events.emit(call, "invoice.payment_succeeded", invoice)
    if payment is not None:
        events.emit(call, "invoice_payment.paid", payment)
    return invoice


def mark_failed(call: Call, invoice: Object) -> Object:
    """Note on an open invoice that a payment was refused, and tell of it."""
    invoice |= {"attempt_count": invoice["attempt_count"] + 1, "attempted": True}
    call.store.save(invoice)
    events.emit(call, "invoice.payment_failed", invoice)
    return invoice


def pay(call: Call, values: Values, invoice_id: str) -> Object:
    """`POST /v1/invoices/{invoice}/pay`: try an open invoice with a card, the subscription's own unless one is named."""
    invoice = fetch(call, "invoice", invoice_id)
    if invoice["status"] == "paid":
        raise invalid("The invoice is already paid.", code="invoice_already_paid")
    if invoice["status"] != "open":
        raise invalid(f"Only an open invoice can be paid; the status of this one is {invoice['status']}.")
    subscription = _subscription_of(call, invoice)
    payment_method = _card_for(call, values, invoice, subscription)
    error = take_payment(call, invoice, payment_method)
    if error is not None:
        mark_failed(call, invoice)
        raise error
    mark_paid(call, invoice)
    if subscription is not None and subscription["status"] in ("incomplete", "past_due"):
        before = render(call, deepcopy(subscription))
        subscription["status"] = "active"
        call.store.save(subscription)
        events.emit_update(call, "customer.subscription.updated", before, subscription)
    return render(call, invoice)


def _subscription_of(call: Call, invoice: Object) -> Object | None:
    if invoice["parent"] is None:
        return None
    return fetch(call, "subscription", invoice["parent"]["subscription_details"]["subscription"])


def _card_for(call: Call, values: Values, invoice: Object, subscription: Object | None) -> Object:
    if "payment_method" in values:
        return payment_methods.require_of_customer(
            call, values["payment_method"], invoice["customer"], "payment_method"
        )
    chosen = subscription["default_payment_method"] if subscription else None
    return payment_methods.default_of(call, fetch(call, "customer", invoice["customer"]), chosen)


def _render(call: Call, invoice: Object) -> Object:
    return public(call, invoice) | {"lines": invoice_lines.embedded_list(call, invoice["id"])}


def _payments(call: Call, invoice: Object) -> Object:
    found = call.store.find("invoice_payment", [equals("invoice", invoice["id"])])
    return list_object([render(call, payment) for payment in found], "/v1/invoice_payments")


def _confirmation_secret(call: Call, invoice: Object) -> Object | None:
    payment = _payment_of(call, invoice)
    if payment is None:
        return None
    intent = fetch(call, "payment_intent", payment["payment"]["payment_intent"])
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}


def retrieve(call: Call, _: Values, invoice_id: str) -> Object:
    """`GET /v1/invoices/{invoice}`."""
    return render(call, fetch(call, "invoice", invoice_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/invoices`."""
    filters = member_equals(values, "collection_method", "customer", "status")
    filters += member_equals(values, subscription="parent.subscription_details.subscription")
    return page(call, "invoice", values, "/v1/invoices", filters)


register(
    Resource(
        "invoice",
        "invoice",
        {
            "confirmation_secret": Included(_confirmation_secret),
            "customer": Reference("customer"),
            "default_payment_method": Reference("payment_method"),
            "discounts": Reference("discount"),
            "lines": list_of("line_item"),
            "parent": Nested({"subscription_details": Nested({"subscription": Reference("subscription")})}),
            "payments": Included(_payments, {"data": Embedded("invoice_payment")}),
            "total_discount_amounts": Nested({"discount": Reference("discount")}),
        },
        _render,
    )
)
ENDPOINTS = (
    Endpoint("GET", "/v1/invoices", LIST, index, "invoice", lists=True),
    Endpoint("GET", "/v1/invoices/{invoice}", {}, retrieve, "invoice"),
    Endpoint("POST", "/v1/invoices/{invoice}/pay", PAY, pay, "invoice"),
)
