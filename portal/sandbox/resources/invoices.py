"""Invoices: what they are, and how they are written."""

from portal.sandbox import customer_balance, events, ids, tax_settings, taxing
from portal.sandbox.call import ACCOUNT_NAME, Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.parameters import CREATED_PAGING, Choice, Text
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
from portal.sandbox.resources import invoice_items, invoice_lines, invoice_payments, subscription_items, tax_ids
from portal.sandbox.resources.invoice_lines import LineSource
from portal.sandbox.store import Object, equals
from portal.sandbox.tax_settings import NO_TAX, TaxTerms

LIST = CREATED_PAGING | {
    "collection_method": Choice(options=("charge_automatically", "send_invoice")),
    "customer": Text(),
    "status": Choice(options=("draft", "open", "paid", "uncollectible", "void")),
    "subscription": Text(),
}


def draft(
    call: Call,
    customer: Object,
    subscription: Object | None,
    billing_reason: str,
    sources: list[LineSource],
    currency: str = "",
    tax: TaxTerms | None = None,
    quote_id: str | None = None,
    period: tuple[int, int] | None = None,
) -> Object:
    """Store a draft invoice with its lines and tell of it. One without lines needs a currency.

    It is taxed as its subscription is, unless `tax` says how. `quote_id` names the quote it was promised in, `period`
    the time in which what it bills besides came up: that which ends with a renewal, else none at all.
    """
    invoice = _build(call, customer, subscription, billing_reason, sources)
    if period is not None:
        invoice |= {"period_start": period[0], "period_end": period[1]}
    if quote_id is not None:
        details = {"quote": quote_id}
        invoice["parent"] = {"quote_details": details, "subscription_details": None, "type": "quote_details"}
    invoice["currency"] = currency or invoice["currency"]
    invoice["starting_balance"] = customer_balance.held(customer, invoice["currency"])
    lines = [invoice_lines.build(invoice["id"], source) for source in sources]
    terms = tax or (tax_settings.terms_of(subscription) if subscription else NO_TAX)
    taxing.tax_invoice(call, invoice, lines, customer, terms)
    call.store.insert("invoice", invoice)
    for source, line in zip(sources, lines, strict=True):
        call.store.insert("line_item", line)
        if source.invoice_item is not None:
            invoice_items.take_up(call, source.invoice_item, invoice["id"])
        elif source.subscription_item is not None:
            subscription_items.note_billed(call, source, line)
    events.emit(call, "invoice.created", invoice)
    return invoice


def tax_again(call: Call, invoice: Object, terms: TaxTerms) -> None:
    """Tax a draft anew, in other terms or for a customer who has moved. The caller saves the invoice."""
    lines = invoice_lines.of_invoice(call, invoice["id"])
    taxing.tax_invoice(call, invoice, lines, fetch(call, "customer", invoice["customer"]), terms)
    for line in lines:
        call.store.save(line)


def _build(
    call: Call, customer: Object, subscription: Object | None, billing_reason: str, sources: list[LineSource]
) -> Object:
    now = call.now()
    subtotal, off = sum(source.amount for source in sources), sum(source.off for source in sources)
    discount = next((source.discount for source in sources if source.discount), None)
    head = {"id": ids.new_id("in"), "object": "invoice"}
    return (
        head
        | _blank()
        | {
            "account_name": ACCOUNT_NAME,
            # Nobody has paid for long: what is due is written down and not asked for.
            "auto_advance": subscription is None or subscription["status"] != "unpaid",
            "billing_reason": billing_reason,
            "created": now,
            "currency": sources[0].currency if sources else None,
            "custom_fields": customer["invoice_settings"]["custom_fields"],
            "customer": customer["id"],
            "customer_address": customer["address"],
            "customer_email": customer["email"],
            "customer_name": customer["name"],
            "customer_phone": customer["phone"],
            "customer_shipping": customer["shipping"],
            "customer_tax_exempt": customer["tax_exempt"],
            "customer_tax_ids": tax_ids.on_invoice(call, customer["id"]),
            "discounts": [discount] if discount else [],
            "footer": customer["invoice_settings"]["footer"],
            "parent": _parent(subscription),
            "rendering": _rendering("auto") if subscription is None else None,
            "period_end": now,
            "period_start": now,
            "status": "draft",
            "subtotal": subtotal,
            "test_clock": customer["test_clock"],
            "total_discount_amounts": [{"amount": off, "discount": discount}] if discount else [],
            "total_pretax_credit_amounts": invoice_lines.pretax_credits(off, discount),
            "webhooks_delivered_at": now,
        }
    )


def _blank() -> Object:
    """Return what every invoice begins with."""
    return {
        "account_country": "US",
        "account_tax_ids": None,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "automatically_finalizes_at": None,
        "collection_method": "charge_automatically",
        "custom_fields": None,
        "customer_account": None,
        "default_payment_method": None,
        "default_source": None,
        "description": None,
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
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
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "statement_descriptor": None,
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
    }


def _rendering(page_size: str) -> Object:
    return {"amount_tax_display": None, "pdf": {"page_size": page_size}, "template": None, "template_version": None}


def rendered(invoice: Object) -> Object | None:
    """Return how a finalized invoice is printed: `auto` has become the paper of the customer's country by then."""
    if invoice["rendering"] is None:
        return None
    country = (invoice["customer_address"] or {}).get("country")
    return _rendering("letter" if country in (None, "US", "CA") else "a4")


def subscription_of(call: Call, invoice: Object) -> Object | None:
    """Return the subscription that an invoice is for, if it is for one."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return fetch(call, "subscription", details["subscription"]) if details else None


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


def _render(call: Call, invoice: Object) -> Object:
    return public(call, invoice) | {
        "default_tax_rates": tax_settings.shown(call, invoice["default_tax_rates"]),
        "lines": invoice_lines.embedded_list(call, invoice["id"]),
    }


def _payments(call: Call, invoice: Object) -> Object:
    found = call.store.find("invoice_payment", [equals("invoice", invoice["id"])])
    return list_object([render(call, payment) for payment in found], "/v1/invoice_payments")


def _confirmation_secret(call: Call, invoice: Object) -> Object | None:
    payment = invoice_payments.of_invoice(call, invoice["id"])
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
            "test_clock": Reference("test_helpers.test_clock"),
            "total_discount_amounts": Nested({"discount": Reference("discount")}),
        },
        _render,
    )
)
ENDPOINTS = (
    Endpoint("GET", "/v1/invoices", LIST, index, "invoice", lists=True),
    Endpoint("GET", "/v1/invoices/{invoice}", {}, retrieve, "invoice"),
)
