"""How much tax is due on a sum: each line by itself, half a unit rounded away from zero, as Stripe rounds.

An inclusive rate is a part of the sum, and an exclusive one comes on top of it (of what is left without the inclusive
one, where both apply). A discount is taken off before.
"""

from collections.abc import Iterable, Sequence

from portal.sandbox import customer_balance
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch
from portal.sandbox.resources import tax_rates
from portal.sandbox.rounding import part_of
from portal.sandbox.store import Object
from portal.sandbox.tax_location import location_of
from portal.sandbox.tax_settings import TaxTerms

_EXEMPT = {"exempt": "customer_exempt", "reverse": "reverse_charge"}


def taxes_on(
    call: Call, terms: TaxTerms, buyer: Object, net: int, own: Sequence[str], behavior: str | None
) -> list[Object]:
    """Return the taxes on a sum, as lines tell them. `own` are the rates of the line, `behavior` is what its price says.

    A price that says nothing (`unspecified`) is taken to be without tax.
    """
    rates = _rates(call, terms, buyer, own, behavior)
    reason = _EXEMPT.get(buyer["tax_exempt"])
    within = sum(tax_rates.parts(rate) for rate in rates if rate["inclusive"]) if reason is None else 0
    amounts = [part_of(net, tax_rates.parts(rate), tax_rates.WHOLE + within) if reason is None else 0 for rate in rates]
    taxable = net - sum(amount for amount, rate in zip(amounts, rates, strict=True) if rate["inclusive"])
    return [
        {
            "amount": amount,
            "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
            "tax_rate_details": {"tax_rate": rate["id"]},
            "taxability_reason": reason or _reason(rate),
            "taxable_amount": taxable,
            "type": "tax_rate_details",
        }
        for amount, rate in zip(amounts, rates, strict=True)
    ]


def _rates(call: Call, terms: TaxTerms, buyer: Object, own: Sequence[str], behavior: str | None) -> list[Object]:
    if not terms.automatic:
        return [fetch(call, "tax_rate", rate_id) for rate_id in own or terms.rates]
    location = location_of(buyer)
    if location is None:
        return []
    return [tax_rates.of_location(call, location, inclusive=behavior == "inclusive")]


def _reason(rate: Object) -> str:
    if "_automatic" not in rate:
        return "not_available"  # Whoever names a rate knows why.
    return "standard_rated" if rate["rate_type"] else "not_collecting"


def amount_of(taxes: Iterable[Object], behavior: str | None = None) -> int:
    """Return what taxes come to: all, or those of one behavior."""
    return sum(tax["amount"] for tax in taxes if behavior in (None, tax["tax_behavior"]))


def sum_up(taxes: Iterable[Object]) -> list[Object]:
    """Return the taxes of many lines, one entry for each rate."""
    sums: dict[tuple[str, str], Object] = {}
    for tax in taxes:
        key = (tax["tax_rate_details"]["tax_rate"], tax["taxability_reason"])
        known = sums.setdefault(key, tax | {"amount": 0, "taxable_amount": 0})
        known["amount"] += tax["amount"]
        known["taxable_amount"] += tax["taxable_amount"]
    return list(sums.values())


def told(call: Call, invoice: Object) -> list[tuple[str, int]]:
    """Return the taxes of an invoice as people read them: `VAT 19%`, or `VAT 19%, included`, and how much."""
    taxes = []
    for tax in invoice["total_taxes"]:
        rate = fetch(call, "tax_rate", tax["tax_rate_details"]["tax_rate"])
        within = ", included" if rate["inclusive"] else ""
        taxes.append((f"{rate['display_name']} {rate['percentage']:g}%{within}", tax["amount"]))
    return taxes


def tax_invoice(call: Call, invoice: Object, lines: list[Object], customer: Object, terms: TaxTerms) -> None:
    """Write to a draft and its lines what tax is due on them, and what the invoice comes to. The caller saves all."""
    without = 0
    for line in lines:
        off = sum(one["amount"] for one in line["discount_amounts"])
        how = (line["_tax_rates"], line["_tax_behavior"])
        line["taxes"] = taxes_on(call, terms, customer, line["amount"] - off, *how)
        whole = taxes_on(call, terms, customer, line["amount"], *how)
        without += line["amount"] - amount_of(whole, "inclusive")
    taxes = [tax for line in lines for tax in line["taxes"]]
    off = sum(one["amount"] for one in invoice["total_discount_amounts"])
    total = invoice["subtotal"] - off + amount_of(taxes, "exclusive")
    due, _ = customer_balance.apply(total, customer_balance.held(customer, invoice["currency"]))
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "automatic_tax": _state(terms, customer),
        "default_tax_rates": list(terms.rates),
        "subtotal_excluding_tax": without,
        "total": total,
        "total_excluding_tax": total - amount_of(taxes),
        "total_taxes": sum_up(taxes),
    }


def _state(terms: TaxTerms, customer: Object) -> Object:
    status = None
    if terms.automatic:
        status = "complete" if location_of(customer) else "requires_location_inputs"
    return {
        "disabled_reason": None,
        "enabled": terms.automatic,
        "liability": {"type": "self"} if terms.automatic else None,
        "provider": "stripe" if terms.automatic else None,
        "status": status,
    }
