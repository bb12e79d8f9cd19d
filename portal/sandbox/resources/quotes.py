"""Quotes: what a customer is offered, until it is accepted, expires, or is taken back."""

from copy import deepcopy
from functools import partial
from typing import Any

from portal.sandbox import discounting, events, ids, quote_file, quote_sums, quoting, tax_settings
from portal.sandbox.agenda import Due
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of, by_clock_of_customer
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import PAGING, Array, Choice, Hash, Integer, Metadata, Param, Text, Timestamp
from portal.sandbox.registry import Included, Reference, Resource, fetch, list_object, list_of, public, register, render
from portal.sandbox.resources import checkout_items
from portal.sandbox.resources.discounts import For
from portal.sandbox.resources.discounts import build as build_discount
from portal.sandbox.store import Condition, Object, equals, one_of
from portal.sandbox.tax_settings import AUTOMATIC_TAX, TAX_RATES

OPEN_SECONDS = 30 * 86400
_ITEM = {
    "price": Text(required=True),
    "quantity": Integer(minimum=1, maximum=999_999),
    "tax_rates": TAX_RATES,
}
_COMMON: dict[str, Param] = {
    "automatic_tax": AUTOMATIC_TAX,
    "collection_method": Choice(options=("charge_automatically",)),
    "customer": Text(),
    "default_tax_rates": TAX_RATES,
    "description": Text(unsettable=True, max_length=500),
    "discounts": discounting.DISCOUNTS,
    "expires_at": Timestamp(),
    "footer": Text(unsettable=True, max_length=500),
    "header": Text(unsettable=True, max_length=50),
    "metadata": Metadata(),
}
_SUBSCRIPTION = {
    "description": Text(unsettable=True, max_length=500),
    "metadata": Metadata(),
    "trial_period_days": Integer(minimum=1, maximum=730, unsettable=True),
}
_MODE = Hash(fields={"type": Choice(options=("flexible",), required=True)})
CREATE = _COMMON | {
    "line_items": Array(item=Hash(fields=_ITEM)),
    "subscription_data": Hash(fields=_SUBSCRIPTION | {"billing_mode": _MODE}),
}
UPDATE = _COMMON | {
    "line_items": Array(item=Hash(fields=_ITEM | {"id": Text(), "price": Text()})),
    "subscription_data": Hash(fields=_SUBSCRIPTION),
}
FINALIZE = {"expires_at": Timestamp()}
LIST = PAGING | {
    "customer": Text(),
    "status": Choice(options=("accepted", "canceled", "draft", "open")),
    "test_clock": Text(),
}
_WORDS = ("description", "footer", "header")


def _build(call: Call) -> Object:
    """Return a new quote of nothing that is not stored yet."""
    return {
        "id": ids.new_id("qt"),
        "object": "quote",
        "amount_subtotal": 0,
        "amount_total": 0,
        "application": None,
        "application_fee_amount": None,
        "application_fee_percent": None,
        "automatic_tax": {"enabled": False},
        "collection_method": "charge_automatically",
        "computed": {},
        "created": call.now(),
        "currency": None,
        "customer": None,
        "customer_account": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "expires_at": call.now() + OPEN_SECONDS,
        "footer": None,
        "from_quote": None,
        "header": None,
        "invoice": None,
        "invoice_settings": {
            "custom_fields": None,
            "days_until_due": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "livemode": False,
        "metadata": {},
        "number": None,
        "on_behalf_of": None,
        "status": "draft",
        "status_transitions": {"accepted_at": None, "canceled_at": None, "finalized_at": None},
        "subscription": None,
        "subscription_data": {
            "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
            "description": None,
            "effective_date": None,
            "metadata": {},
            "trial_period_days": None,
        },
        "subscription_schedule": None,
        "test_clock": call.test_clock,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "transfer_data": None,
    }


@by_clock_of_customer
def create(call: Call, values: Values) -> Object:
    """`POST /v1/quotes`: a draft."""
    quote = call.store.insert("quote", _build(call))
    _apply(call, quote, values)
    call.store.save(quote)
    events.emit(call, "quote.created", quote)
    return render(call, quote)


@by_clock_of("quote")
def update(call: Call, values: Values, quote_id: str) -> Object:
    """`POST /v1/quotes/{quote}`: a draft can be changed in all, and one that was finalized in its metadata."""
    quote = fetch(call, "quote", quote_id)
    if set(values) - {"metadata"}:
        _require(quote, ("draft",), "changed")
    _apply(call, quote, values)
    return render(call, call.store.save(quote))


def _apply(call: Call, quote: Object, values: Values) -> None:
    quoting.set_members(call, quote, values)
    if "line_items" in values:
        quoting.set_lines(call, quote, values["line_items"])
    if "discounts" in values:
        quote["discounts"] = [_discount(call, quote, place, one) for place, one in enumerate(values["discounts"] or [])]
    for name in _WORDS:
        if name in values:
            quote[name] = values[name]
    items = checkout_items.of_session(call, quote["id"])
    tax_settings.check(tax_settings.terms_of(quote), [item["_tax_rates"] for item in items])
    quote_sums.work_out(call, quote)


def _discount(call: Call, quote: Object, place: int, sent: dict[str, str]) -> str:
    """Return the id of a discount that stands on the quote only; it is used up when the quote is accepted."""
    param = f"discounts[{place}]"
    if len(sent) != 1 or quote["currency"] is None:
        raise invalid("Name a coupon or a promotion code, one of them, for a quote that has lines.", param)
    name, chosen = next(iter(sent.items()))
    if name == "discount":
        if chosen not in quote["discounts"]:
            raise invalid("The quote has no such discount.", f"{param}[discount]")
        return chosen
    coupon, promotion = discounting.usable(call, name, chosen, quoting.purchase(call, quote), f"{param}[{name}]")
    built = build_discount(call, coupon, promotion["id"] if promotion else None, For(quote["customer"], None))
    return str(call.store.insert("discount", built)["id"])


def _require(quote: Object, statuses: tuple[str, ...], verb: str) -> None:
    if quote["status"] not in statuses:
        raise invalid(f"The quote cannot be {verb}, because its status is {quote['status']}.")


@by_clock_of("quote")
def finalize(call: Call, values: Values, quote_id: str) -> Object:
    """`POST /v1/quotes/{quote}/finalize`: it has a number then, and can be accepted."""
    quote = fetch(call, "quote", quote_id)
    _require(quote, ("draft",), "finalized")
    quoting.set_members(call, quote, values)
    quoting.require_complete(call, quote)
    quote_sums.work_out(call, quote)
    quote |= {"number": quoting.number(call, quote), "status": "open"}
    return _moved(call, quote, "finalized")


@by_clock_of("quote")
def accept(call: Call, _: Values, quote_id: str) -> Object:
    """`POST /v1/quotes/{quote}/accept`: what was offered comes about, a subscription or the draft of an invoice."""
    quote = fetch(call, "quote", quote_id)
    _require(quote, ("open",), "accepted")
    quote |= quoting.carry_out(call, quote)
    quote["status"] = "accepted"
    return _moved(call, quote, "accepted")


@by_clock_of("quote")
def cancel(call: Call, _: Values, quote_id: str) -> Object:
    """`POST /v1/quotes/{quote}/cancel`."""
    quote = fetch(call, "quote", quote_id)
    _require(quote, ("draft", "open"), "canceled")
    return _cancel(call, quote)


def _cancel(call: Call, quote: Object) -> Object:
    quote["status"] = "canceled"
    return _moved(call, quote, "canceled")


def _moved(call: Call, quote: Object, verb: str) -> Object:
    quote["status_transitions"][f"{verb}_at"] = call.now()
    call.store.save(quote)
    events.emit(call, f"quote.{verb}", deepcopy(quote))
    return render(call, quote)


def due(call: Call) -> list[Due]:
    """Find what nobody has accepted in time; it is canceled."""
    over = [
        one_of("status", ("draft", "open")),
        Condition("json_extract(body, '$.expires_at') <= ?", (call.now(),)),
        equals("test_clock", call.test_clock),
    ]
    return [
        Due(quote["expires_at"], "expire", quote["id"], partial(_cancel, quote=quote))
        for quote in call.store.find("quote", over, oldest_first=True)
    ]


def retrieve(call: Call, _: Values, quote_id: str) -> Object:
    """`GET /v1/quotes/{quote}`."""
    return render(call, fetch(call, "quote", quote_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/quotes`."""
    filters = member_equals(values, "customer", "status", "test_clock")
    return page(call, "quote", values, "/v1/quotes", filters)


def line_items(call: Call, values: Values, quote_id: str) -> Object:
    """`GET /v1/quotes/{quote}/line_items`."""
    fetch(call, "quote", quote_id)
    of_it = [equals("_session", quote_id)]
    return page(call, "item", values, f"/v1/quotes/{quote_id}/line_items", of_it, oldest_first=True)


def upfront_line_items(call: Call, values: Values, quote_id: str) -> Object:
    """`GET /v1/quotes/{quote}/computed_upfront_line_items`: what the first invoice will bill."""
    quote = fetch(call, "quote", quote_id)
    terms = [equals("_session", quote_id), *quote_sums.upfront_only(quote)]
    url = f"/v1/quotes/{quote_id}/computed_upfront_line_items"
    return page(call, "item", values, url, terms, oldest_first=True)


def pdf(call: Call, _: Values, quote_id: str) -> bytes:
    """`GET /v1/quotes/{quote}/pdf`, once it was finalized."""
    quote = fetch(call, "quote", quote_id)
    if quote["number"] is None:
        raise invalid("A draft has no file; finalize the quote first.")
    return quote_file.quote_file(call, quote)


def _included_lines(call: Call, quote: Object) -> Object:
    found = checkout_items.of_session(call, quote["id"])
    return list_object([render(call, item) for item in found], f"/v1/quotes/{quote['id']}/line_items")


_SHAPE: dict[str, Any] = {
    "customer": Reference("customer"),
    "default_tax_rates": Reference("tax_rate"),
    "discounts": Reference("discount"),
    "invoice": Reference("invoice"),
    "line_items": Included(_included_lines, list_of("item").shape),
    "subscription": Reference("subscription"),
    "test_clock": Reference("test_helpers.test_clock"),
}
register(Resource("quote", "quote", _SHAPE, public))
_ONE = "/v1/quotes/{quote}"
ENDPOINTS = (
    Endpoint("POST", "/v1/quotes", CREATE, create, "quote"),
    Endpoint("GET", "/v1/quotes", LIST, index, "quote", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "quote"),
    Endpoint("POST", _ONE, UPDATE, update, "quote"),
    Endpoint("POST", _ONE + "/finalize", FINALIZE, finalize, "quote"),
    Endpoint("POST", _ONE + "/accept", {}, accept, "quote"),
    Endpoint("POST", _ONE + "/cancel", {}, cancel, "quote"),
    Endpoint("GET", _ONE + "/line_items", PAGING, line_items, "item", lists=True),
    Endpoint("GET", _ONE + "/computed_upfront_line_items", PAGING, upfront_line_items, "item", lists=True),
    Endpoint("GET", _ONE + "/pdf", {}, pdf, "quote", content_type="application/pdf"),
)
