"""Tax rates: made by hand for what is billed, or by automatic tax for the place of a customer."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.parameters import CREATED_PAGING, Boolean, Choice, Metadata, Percent, Text, merge_metadata
from portal.sandbox.registry import Resource, fetch, register, render
from portal.sandbox.store import Object, equals
from portal.sandbox.tax_location import Location

_TYPES = ("gst", "hst", "igst", "jct", "pst", "qst", "rst", "sales_tax", "service_tax", "vat")
_WORDS = {
    "country": Text(pattern="[A-Z]{2}"),
    "description": Text(),
    "jurisdiction": Text(max_length=200),
    "state": Text(max_length=10),
    "tax_type": Choice(options=_TYPES),
}
CREATE = _WORDS | {
    "active": Boolean(),
    "display_name": Text(required=True, max_length=50),
    "inclusive": Boolean(required=True),
    "metadata": Metadata(),
    "percentage": Percent(required=True, decimals=4, zero=True),
}
UPDATE = _WORDS | {"active": Boolean(), "display_name": Text(max_length=50), "metadata": Metadata()}
LIST = CREATED_PAGING | {"active": Boolean(), "inclusive": Boolean()}
# A rate is counted in ten-thousandths of a percent, so that sums are exact.
WHOLE = 1_000_000


def parts(rate: Object) -> int:
    """Return how many millionths of a sum a rate is."""
    return int(Decimal(str(rate["percentage"])) * 10_000)


def _build(call: Call, display_name: str, percentage: float, *, inclusive: bool, **members: Any) -> Object:
    return {
        "id": ids.new_id("txr"),
        "object": "tax_rate",
        "active": True,
        "country": None,
        "created": call.now(),
        "description": None,
        "display_name": display_name,
        "effective_percentage": None,
        "flat_amount": None,
        "inclusive": inclusive,
        "jurisdiction": None,
        "jurisdiction_level": None,
        "livemode": False,
        "metadata": {},
        "percentage": percentage,
        "rate_type": None,
        "state": None,
        "tax_type": None,
    } | members


def of_location(call: Call, location: Location, *, inclusive: bool) -> Object:
    """Return the rate that automatic tax applies in a place, made the first time; of 0 where nothing is collected."""
    levy, state = location.levy, location.state if location.country == "US" else None
    key = f"{location.country}-{state or ''}-{'inclusive' if inclusive else 'exclusive'}"
    known = call.store.find("tax_rate", [equals("_automatic", key)], limit=1)
    if known:
        return known[0]
    percentage = float(levy.percentage) if levy else 0.0
    built = _build(
        call,
        levy.display_name if levy else "Tax",
        percentage,
        inclusive=inclusive,
        # Nobody is to apply it by hand.
        active=False,
        country=location.country,
        effective_percentage=percentage,
        jurisdiction=state or location.country,
        jurisdiction_level="state" if state else "country",
        rate_type="percentage" if levy else None,
        state=state,
        tax_type=levy.tax_type if levy else None,
    )
    return call.store.insert("tax_rate", built | {"_automatic": key})


def create(call: Call, values: Values) -> Object:
    """`POST /v1/tax_rates`."""
    rate = _build(call, values["display_name"], values["percentage"], inclusive=values["inclusive"])
    rate |= {name: values[name] for name in (*_WORDS, "active") if name in values}
    rate["metadata"] = merge_metadata({}, values.get("metadata", {}))
    call.store.insert("tax_rate", rate)
    events.emit(call, "tax_rate.created", rate)
    return render(call, rate)


def retrieve(call: Call, _: Values, rate_id: str) -> Object:
    """`GET /v1/tax_rates/{tax_rate}`."""
    return render(call, fetch(call, "tax_rate", rate_id))


def update(call: Call, values: Values, rate_id: str) -> Object:
    """`POST /v1/tax_rates/{tax_rate}`; how much it is never changes."""
    rate = fetch(call, "tax_rate", rate_id)
    before = render(call, deepcopy(rate))
    rate |= {name: value for name, value in values.items() if name != "metadata"}
    if "metadata" in values:
        rate["metadata"] = merge_metadata(rate["metadata"], values["metadata"])
    call.store.save(rate)
    events.emit_update(call, "tax_rate.updated", before, rate)
    return render(call, rate)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/tax_rates`."""
    return page(call, "tax_rate", values, "/v1/tax_rates", member_equals(values, "active", "inclusive"))


register(Resource("tax_rate", "tax rate"))
_ONE = "/v1/tax_rates/{tax_rate}"
ENDPOINTS = (
    Endpoint("POST", "/v1/tax_rates", CREATE, create, "tax_rate"),
    Endpoint("GET", "/v1/tax_rates", LIST, index, "tax_rate", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "tax_rate"),
    Endpoint("POST", _ONE, UPDATE, update, "tax_rate"),
)
