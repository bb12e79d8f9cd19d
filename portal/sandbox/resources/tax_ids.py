"""Tax ids of customers. Those that Stripe has verified by a government are verified here by what is in them."""

import re
from dataclasses import dataclass

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of, call_for
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.errors import invalid, no_such
from portal.sandbox.parameters import PAGING, Array, Choice, Hash, Text
from portal.sandbox.registry import Nested, Reference, Resource, deleted_form, fetch, register, render
from portal.sandbox.store import Object, equals

OF_CUSTOMER_MAX = 5


@dataclass(frozen=True)
class Kind:
    """A type of tax id: what people call it, how it is spelled, an example, and whether somebody verifies it."""

    label: str
    pattern: str
    example: str
    verified: bool = False


KINDS = {
    "au_abn": Kind("Australian business number", r"\d{11}", "12345678912", verified=True),
    "ca_bn": Kind("Canadian business number", r"\d{9}", "123456789"),
    "ch_vat": Kind("Swiss VAT number", r"CHE-?\d{3}\.?\d{3}\.?\d{3} ?(MWST|TVA|IVA)", "CHE-123.456.789 MWST"),
    "eu_vat": Kind("EU VAT number", r"[A-Z]{2}[0-9A-Z+*]{2,12}", "DE123456789", verified=True),
    "gb_vat": Kind("UK VAT number", r"(GB)?(\d{9}|\d{12})", "GB123456789", verified=True),
    "in_gst": Kind("Indian GST number", r"\d{2}[A-Z0-9]{13}", "12ABCDE1234F1Z5"),
    "no_vat": Kind("Norwegian VAT number", r"\d{9}MVA", "123456789MVA"),
    "nz_gst": Kind("New Zealand GST number", r"\d{8,9}", "123456789"),
    "us_ein": Kind("US employer identification number", r"\d{2}-?\d{7}", "12-3456789"),
}
# What Stripe's documentation names for tests: never found, and never answered. All else is found.
_OUTCOMES = {"111111111": "unverified", "222222222": "pending"}
_MAGIC = r"(0|1|2)\1{8}"
_NEW = {"type": Choice(options=tuple(KINDS), required=True), "value": Text(required=True, max_length=64)}
DATA = Array(max_items=OF_CUSTOMER_MAX, item=Hash(fields=_NEW))


def build(call: Call, customer: Object, kind: str, value: str) -> Object:
    """Return a new tax id that is not stored yet."""
    return {
        "id": ids.new_id("txi"),
        "object": "tax_id",
        "country": _country(kind, value),
        "created": call.now(),
        "customer": customer["id"],
        "customer_account": None,
        "livemode": False,
        "owner": {
            "account": None,
            "application": None,
            "customer": customer["id"],
            "customer_account": None,
            "type": "customer",
        },
        "type": kind,
        "value": value,
        "verification": {
            "status": "pending" if KINDS[kind].verified else "unavailable",
            "verified_address": None,
            "verified_name": None,
        },
    }


def _country(kind: str, value: str) -> str | None:
    if kind != "eu_vat":
        return kind[:2].upper()
    # Greek numbers begin with another code than the country's.
    return {"EL": "GR"}.get(value[:2], value[:2]) if value[:1].isalpha() else None


def refusal_of(kind: str, value: str) -> str | None:
    """Return what is wrong with a number, or None when nothing is."""
    if re.fullmatch(KINDS[kind].pattern, value) or (KINDS[kind].verified and re.fullmatch(_MAGIC, value)):
        return None
    return f"This is no {KINDS[kind].label}. One looks like {KINDS[kind].example}."


def add(call: Call, customer: Object, kind: str, value: str) -> Object:
    """Store a tax id of a customer, tell of it, and of what its verification says; or raise what is wrong with it."""
    refusal = refusal_of(kind, value)
    if refusal is not None:
        raise invalid(refusal, "value", "tax_id_invalid")
    if len(of_customer(call, customer["id"])) >= OF_CUSTOMER_MAX:
        raise invalid(f"A customer has {OF_CUSTOMER_MAX} tax ids at most.")
    tax_id = call.store.insert("tax_id", build(call, customer, kind, value))
    events.emit(call, "customer.tax_id.created", tax_id)
    return _verify(call, tax_id)


def _verify(call: Call, tax_id: Object) -> Object:
    """Say at once what Stripe learns in a moment."""
    before, digits = render(call, tax_id), tax_id["value"][-9:]
    if tax_id["verification"]["status"] != "pending" or _OUTCOMES.get(digits) == "pending":
        return tax_id
    status = _OUTCOMES.get(digits, "verified")
    tax_id = call.store.save(tax_id | {"verification": tax_id["verification"] | {"status": status}})
    events.emit_update(call, "customer.tax_id.updated", before, tax_id)
    return tax_id


def of_customer(call: Call, customer_id: str) -> list[Object]:
    """Return the tax ids of a customer, in the order they were added."""
    return call.store.find("tax_id", [equals("customer", customer_id)], oldest_first=True)


def on_invoice(call: Call, customer_id: str) -> list[Object]:
    """Return the tax ids of a customer as an invoice names them."""
    return [{"type": one["type"], "value": one["value"]} for one in of_customer(call, customer_id)]


def remove(call: Call, tax_id: Object) -> None:
    """Forget a tax id, and tell of it."""
    call.store.delete(tax_id["id"])
    events.emit(call, "customer.tax_id.deleted", tax_id)


@by_clock_of("customer")
def create(call: Call, values: Values, customer_id: str) -> Object:
    """`POST /v1/customers/{customer}/tax_ids`."""
    customer = fetch(call, "customer", customer_id)
    return render(call, add(call, customer, values["type"], values["value"]))


def _find(call: Call, customer_id: str, tax_id: str) -> Object:
    found = fetch(call, "tax_id", tax_id)
    if found["customer"] != customer_id:
        raise no_such("tax id", tax_id, "id", in_path=True)
    return found


def retrieve(call: Call, _: Values, customer_id: str, tax_id: str) -> Object:
    """`GET /v1/customers/{customer}/tax_ids/{id}`."""
    return render(call, _find(call, customer_id, tax_id))


def retrieve_any(call: Call, _: Values, tax_id: str) -> Object:
    """`GET /v1/tax_ids/{id}`: whoever's it is."""
    return render(call, fetch(call, "tax_id", tax_id))


def delete(call: Call, _: Values, customer_id: str, tax_id: str) -> Object:
    """`DELETE /v1/customers/{customer}/tax_ids/{id}`."""
    found = _find(call, customer_id, tax_id)
    remove(call_for(call, fetch(call, "customer", customer_id)), found)
    return deleted_form(found)


def index(call: Call, values: Values, customer_id: str) -> Object:
    """`GET /v1/customers/{customer}/tax_ids`."""
    fetch(call, "customer", customer_id)
    return page(call, "tax_id", values, f"/v1/customers/{customer_id}/tax_ids", [equals("customer", customer_id)])


register(
    Resource(
        "tax_id",
        "tax id",
        {"customer": Reference("customer"), "owner": Nested({"customer": Reference("customer")})},
    )
)
_ALL = "/v1/customers/{customer}/tax_ids"
ENDPOINTS = (
    Endpoint("POST", _ALL, _NEW, create, "tax_id"),
    Endpoint("GET", _ALL, PAGING, index, "tax_id", lists=True),
    Endpoint("GET", _ALL + "/{id}", {}, retrieve, "tax_id"),
    Endpoint("DELETE", _ALL + "/{id}", {}, delete, "tax_id"),
    Endpoint("GET", "/v1/tax_ids/{id}", {}, retrieve_any, "tax_id"),
)
