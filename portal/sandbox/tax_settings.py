"""How something is to be taxed, as parameters say it: by rates that are named, or automatically by the customer's place."""

from collections.abc import Sequence
from dataclasses import dataclass

from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.parameters import Array, Boolean, Hash
from portal.sandbox.registry import fetch, render
from portal.sandbox.store import Object
from portal.sandbox.tax_location import location_of

RATES_MAX = 10
TAX_RATES = Array(unsettable=True, max_items=RATES_MAX)
AUTOMATIC_TAX = Hash(fields={"enabled": Boolean(required=True)})


@dataclass(frozen=True)
class TaxTerms:
    """The rates of all lines that have none of their own, or that tax follows the customer's place."""

    rates: tuple[str, ...] = ()
    automatic: bool = False


NO_TAX = TaxTerms()


def terms_of(owner: Object) -> TaxTerms:
    """Return how a subscription, a quote or an invoice is taxed."""
    return TaxTerms(tuple(owner["default_tax_rates"]), owner["automatic_tax"]["enabled"])


def named(call: Call, sent: Sequence[str] | None, param: str) -> list[str]:
    """Return the ids of rates that may be applied, or raise the 400 that says which may not."""
    found = [fetch(call, "tax_rate", rate_id, f"{param}[{place}]") for place, rate_id in enumerate(sent or [])]
    for place, rate in enumerate(found):
        if not rate["active"]:
            raise invalid(f"The tax rate {rate['id']} is inactive.", f"{param}[{place}]")
    rate_ids = [str(rate["id"]) for rate in found]
    if len(set(rate_ids)) < len(rate_ids):
        raise invalid("A tax rate can be applied once.", param)
    return rate_ids


def shown(call: Call, rate_ids: Sequence[str]) -> list[Object]:
    """Return rates as they stand in subscriptions, invoices and items: whole."""
    return [render(call, fetch(call, "tax_rate", rate_id)) for rate_id in rate_ids]


def switched(*, enabled: bool) -> Object:
    """Return the `automatic_tax` of a subscription."""
    return {"disabled_reason": None, "enabled": enabled, "liability": {"type": "self"} if enabled else None}


def give(call: Call, subscription: Object, customer: Object, values: Values) -> None:
    """Give a subscription other tax settings, as far as they were sent. The caller saves it."""
    if "automatic_tax" in values:
        enabled = values["automatic_tax"]["enabled"]
        if enabled:
            require_location(customer)
        subscription["automatic_tax"] = switched(enabled=enabled)
    if "default_tax_rates" in values:
        subscription["default_tax_rates"] = named(call, values["default_tax_rates"], "default_tax_rates")


def require_location(customer: Object) -> None:
    """Refuse automatic tax for somebody of whom nobody knows where they are."""
    if location_of(customer) is None:
        raise unknown_location()


def unknown_location() -> ApiError:
    """400: no address says where the customer is."""
    return invalid(
        "Nobody knows where the customer is. Automatic tax needs an address with a country, and in the US a state.",
        "automatic_tax",
        "customer_tax_location_invalid",
    )


def check(terms: TaxTerms, own_rates: Sequence[Sequence[str]]) -> None:
    """Refuse rates by hand where tax is automatic."""
    if terms.automatic and (terms.rates or any(own_rates)):
        raise invalid("Tax rates cannot be named where tax is automatic.", "automatic_tax[enabled]")
