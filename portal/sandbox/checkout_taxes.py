"""What tax is due on a checkout, or on a quote: for whoever pays, where they are."""

from portal.sandbox import tax_settings, taxing
from portal.sandbox.call import Call
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.registry import fetch
from portal.sandbox.resources import checkout_items
from portal.sandbox.store import Object
from portal.sandbox.tax_location import location_of
from portal.sandbox.tax_settings import TaxTerms

_NOBODY: Object = {"address": None, "shipping": None, "tax_exempt": "none"}


def terms_of(session: Object) -> TaxTerms:
    """Return how a checkout or a quote is taxed."""
    if session["object"] == "quote":
        return tax_settings.terms_of(session)
    rates = session["_subscription_data"].get("default_tax_rates") or []
    return TaxTerms(tuple(rates), session["automatic_tax"]["enabled"])


def buyer_of(call: Call, session: Object) -> Object:
    """Return whoever pays, as far as tax asks: the customer, at the address that was entered if one was."""
    buyer = fetch(call, "customer", session["customer"]) if session["customer"] else _NOBODY
    entered = session.get("_address")
    return buyer | {"address": entered} if entered else buyer


def state(*, enabled: bool, buyer: Object) -> Object:
    """Return the `automatic_tax` of a checkout."""
    if not enabled:
        return {"enabled": False, "liability": None, "provider": None, "status": None}
    status = "complete" if location_of(buyer) else "requires_location_inputs"
    return {"enabled": True, "liability": {"type": "self"}, "provider": "stripe", "status": status}


def taxes_of(call: Call, session: Object, item: Object, price: Object, net: int) -> list[Object]:
    """Return the taxes on a sum of a line."""
    buyer = buyer_of(call, session)
    return taxing.taxes_on(call, terms_of(session), buyer, net, item["_tax_rates"], price["tax_behavior"])


def with_tax(call: Call, session: Object, item: Object, price: Object, net: int) -> int:
    """Return what a sum of a line comes to with its tax."""
    return net + taxing.amount_of(taxes_of(call, session, item, price, net), "exclusive")


def apply(call: Call, session: Object) -> None:
    """Write to lines and session what tax comes to, and the sums with it. The caller saves the session."""
    buyer, terms, total, tax = buyer_of(call, session), terms_of(session), 0, 0
    for item in checkout_items.of_session(call, session["id"]):
        net = item["amount_subtotal"] - item["amount_discount"]
        behavior = fetch(call, "price", item["price"])["tax_behavior"]
        taxes = taxing.taxes_on(call, terms, buyer, net, item["_tax_rates"], behavior)
        sums = {"amount_tax": taxing.amount_of(taxes), "amount_total": net + taxing.amount_of(taxes, "exclusive")}
        call.store.save(item | sums | {"_taxes": taxes})
        total, tax = total + sums["amount_total"], tax + sums["amount_tax"]
    session["amount_total"] = total
    session["total_details"] = session["total_details"] | {"amount_tax": tax}
    session["automatic_tax"] = state(enabled=terms.automatic, buyer=buyer)


def check(call: Call, session: Object) -> ApiError | None:
    """Return the error that says so when tax has changed since it was shown, as with an address; None when it has not."""
    before = session["amount_total"]
    apply(call, session)
    if session["amount_total"] == before:
        return None
    call.store.save(session)
    return invalid("The tax has changed meanwhile. Look at the new sum, and pay that.", "automatic_tax")


def locate(call: Call, session: Object, address: Object) -> None:
    """Note where whoever pays is, and what that makes of the sums."""
    session["_address"] = address
    apply(call, session)
    call.store.save(session)
