"""Invoices made by hand: a draft over what waits for the customer, which is then finalized and paid."""

from copy import deepcopy

from portal.sandbox import events, tax_settings
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of, by_clock_of_customer
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Choice, Metadata, Param, Text, merge_metadata
from portal.sandbox.registry import deleted_form, fetch, render
from portal.sandbox.resources import invoice_items, invoice_lines, invoices, payment_methods
from portal.sandbox.store import Object, equals
from portal.sandbox.tax_settings import AUTOMATIC_TAX, TAX_RATES, TaxTerms

CURRENCY_DEFAULT = "usd"
_COMMON: dict[str, Param] = {
    "automatic_tax": AUTOMATIC_TAX,
    "default_payment_method": Text(),
    "default_tax_rates": TAX_RATES,
    "description": Text(max_length=1500),
    "footer": Text(),
    "metadata": Metadata(),
}
CREATE = _COMMON | {
    "collection_method": Choice(options=("charge_automatically",)),
    "currency": Text(pattern="[A-Za-z]{3}"),
    "customer": Text(required=True),
    "pending_invoice_items_behavior": Choice(options=("exclude", "include")),
    "subscription": Text(),
}
UPDATE = _COMMON


@by_clock_of_customer
def create(call: Call, values: Values) -> Object:
    """`POST /v1/invoices`: a draft, over what waits for the customer (or for a subscription) when that is asked for."""
    customer = fetch(call, "customer", values["customer"], "customer")
    subscription = None
    if "subscription" in values:
        subscription = fetch(call, "subscription", values["subscription"], "subscription")
        if subscription["customer"] != customer["id"]:
            raise invalid("The subscription belongs to another customer.", "subscription")
    sources = []
    if values.get("pending_invoice_items_behavior") == "include" or subscription is not None:
        waiting = invoice_items.pending(call, customer["id"], subscription["id"] if subscription else None)
        sources = [invoice_items.as_line(call, one) for one in waiting]
    if subscription is not None and not sources:
        raise invalid("Nothing waits for an invoice of this subscription.", "subscription")
    currency = (values.get("currency") or customer["currency"] or CURRENCY_DEFAULT).lower()
    if any(source.currency != currency for source in sources):
        raise invalid("What waits for an invoice is in another currency.", "currency")
    tax = _terms(call, values, tax_settings.terms_of(subscription) if subscription else tax_settings.NO_TAX)
    tax_settings.check(tax, [source.tax_rates for source in sources])
    invoice = invoices.draft(call, customer, subscription, "manual", sources, currency, tax)
    invoice["auto_advance"] = False
    _apply(call, invoice, values)
    return render(call, call.store.save(invoice))


def _terms(call: Call, values: Values, before: TaxTerms) -> TaxTerms:
    """Return how an invoice is to be taxed, as far as that was sent; the rest stays."""
    rates, automatic = before.rates, before.automatic
    if "default_tax_rates" in values:
        rates = tuple(tax_settings.named(call, values["default_tax_rates"], "default_tax_rates"))
    if "automatic_tax" in values:
        automatic = values["automatic_tax"]["enabled"]
    return TaxTerms(rates, automatic)


def _apply(call: Call, invoice: Object, values: Values) -> None:
    if "default_payment_method" in values:
        chosen, param = values["default_payment_method"], "default_payment_method"
        payment_methods.require_of_customer(call, chosen, invoice["customer"], param)
    for name in ("default_payment_method", "description", "footer"):
        if name in values:
            invoice[name] = values[name]
    if "metadata" in values:
        invoice["metadata"] = merge_metadata(invoice["metadata"], values["metadata"])


@by_clock_of("invoice")
def update(call: Call, values: Values, invoice_id: str) -> Object:
    """`POST /v1/invoices/{invoice}`; once it is finalized only its metadata and its card may change."""
    invoice = fetch(call, "invoice", invoice_id)
    if invoice["status"] != "draft" and set(values) - {"default_payment_method", "metadata"}:
        raise invalid("A finalized invoice keeps its words; only its metadata and its card may change.")
    before = render(call, deepcopy(invoice))
    _apply(call, invoice, values)
    if {"automatic_tax", "default_tax_rates"} & set(values):
        terms = _terms(call, values, tax_settings.terms_of(invoice))
        tax_settings.check(terms, [line["_tax_rates"] for line in invoice_lines.of_invoice(call, invoice_id)])
        invoices.tax_again(call, invoice, terms)
    call.store.save(invoice)
    events.emit_update(call, "invoice.updated", before, invoice)
    return render(call, invoice)


@by_clock_of("invoice")
def delete(call: Call, _: Values, invoice_id: str) -> Object:
    """`DELETE /v1/invoices/{invoice}`: only a draft made by hand; what it took up waits again."""
    invoice = fetch(call, "invoice", invoice_id)
    if invoice["status"] != "draft" or invoice["billing_reason"] != "manual":
        raise invalid("Only a draft that was made by hand can be deleted; void the invoice instead.")
    for item in call.store.find("invoiceitem", [equals("invoice", invoice_id)]):
        call.store.save(item | {"invoice": None})
    events.emit(call, "invoice.deleted", invoice)
    for line in invoice_lines.of_invoice(call, invoice_id):
        call.store.delete(line["id"])
    call.store.delete(invoice_id)
    return deleted_form(invoice)


_ONE = "/v1/invoices/{invoice}"
ENDPOINTS = (
    Endpoint("POST", "/v1/invoices", CREATE, create, "invoice"),
    Endpoint("POST", _ONE, UPDATE, update, "invoice"),
    Endpoint("DELETE", _ONE, {}, delete, "invoice"),
)
