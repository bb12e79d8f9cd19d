"""Active entitlements: what a customer may do by what it subscribes to. How they come and go: `entitling.py`."""

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.parameters import PAGING, Text
from portal.sandbox.registry import Reference, Resource, fetch, list_object, public, register, render
from portal.sandbox.resources import entitlement_features
from portal.sandbox.store import Object, equals

TYPE = "entitlements.active_entitlement"
SUMMARY = "entitlements.active_entitlement_summary"
EMBEDDED_MAX = 10
LIST = PAGING | {"customer": Text(required=True)}


def build(feature: Object, customer_id: str) -> Object:
    """Return a new entitlement that is not stored yet."""
    return {
        "id": ids.new_id("ent_test", 30),
        "object": TYPE,
        "feature": feature["id"],
        "livemode": False,
        "lookup_key": feature["lookup_key"],
        "_customer": customer_id,
    }


def build_summary(customer_id: str) -> Object:
    """Return a customer's summary, not stored yet; `_grants` says which features each subscription item gave, and when."""
    return {
        "id": ids.new_id("entsum"),
        "object": SUMMARY,
        "customer": customer_id,
        "livemode": False,
        "_grants": {},
    }


def of_customer(call: Call, customer_id: str) -> list[Object]:
    """Return the entitlements of a customer, in the order they were given."""
    return call.store.find(TYPE, [equals("_customer", customer_id)], oldest_first=True)


def retrieve(call: Call, _: Values, entitlement_id: str) -> Object:
    """`GET /v1/entitlements/active_entitlements/{id}`."""
    return render(call, fetch(call, TYPE, entitlement_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/entitlements/active_entitlements`, of one customer."""
    customer = fetch(call, "customer", values["customer"], "customer")
    filters = [equals("_customer", customer["id"])]
    return page(call, TYPE, values, "/v1/entitlements/active_entitlements", filters)


def _render_summary(call: Call, summary: Object) -> Object:
    """A summary has no id on the wire, and holds the first entitlements only: the rest is read from the list."""
    found = of_customer(call, summary["customer"])
    data = [render(call, one) for one in found[:EMBEDDED_MAX]]
    url = f"/v1/customer/{summary['customer']}/entitlements"
    listed = list_object(data, url, has_more=len(found) > EMBEDDED_MAX)
    return {name: value for name, value in public(call, summary).items() if name != "id"} | {"entitlements": listed}


register(Resource(TYPE, "active entitlement", {"feature": Reference(entitlement_features.TYPE)}))
register(Resource(SUMMARY, "active entitlement summary", render=_render_summary))
ENDPOINTS = (
    Endpoint("GET", "/v1/entitlements/active_entitlements", LIST, index, TYPE, lists=True),
    Endpoint("GET", "/v1/entitlements/active_entitlements/{id}", {}, retrieve, TYPE),
)
