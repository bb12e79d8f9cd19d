"""Entitlement features: what a product can let a customer do."""

from copy import deepcopy

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import PAGING, Boolean, Metadata, Text, merge_metadata
from portal.sandbox.registry import Resource, fetch, register, render
from portal.sandbox.store import Object, equals

TYPE = "entitlements.feature"
CREATE = {
    "lookup_key": Text(required=True, max_length=80),
    "metadata": Metadata(),
    "name": Text(required=True, max_length=80),
}
UPDATE = {"active": Boolean(), "metadata": Metadata(), "name": Text(max_length=80)}
LIST = PAGING | {"archived": Boolean(), "lookup_key": Text()}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/entitlements/features`; a lookup key is free again when its feature is archived."""
    key = values["lookup_key"]
    if call.store.find(TYPE, [equals("lookup_key", key), equals("active", True)], limit=1):
        raise invalid(f"A feature with the lookup key '{key}' exists already.", "lookup_key", "resource_already_exists")
    feature = {
        "id": ids.new_id("feat_test", 30),
        "object": TYPE,
        "active": True,
        "livemode": False,
        "lookup_key": key,
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "name": values["name"],
    }
    return render(call, call.store.insert(TYPE, feature))


def retrieve(call: Call, _: Values, feature_id: str) -> Object:
    """`GET /v1/entitlements/features/{id}`."""
    return render(call, fetch(call, TYPE, feature_id))


def update(call: Call, values: Values, feature_id: str) -> Object:
    """`POST /v1/entitlements/features/{id}`; an archived feature stays as it is, and who has it keeps it."""
    feature = deepcopy(fetch(call, TYPE, feature_id))
    if not feature["active"]:
        raise invalid("The feature is archived and cannot be changed.")
    feature |= {name: values[name] for name in ("active", "name") if name in values}
    if "metadata" in values:
        feature["metadata"] = merge_metadata(feature["metadata"], values["metadata"])
    return render(call, call.store.save(feature))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/entitlements/features`."""
    filters = member_equals(values, "lookup_key")
    if "archived" in values:
        filters.append(equals("active", not values["archived"]))
    return page(call, TYPE, values, "/v1/entitlements/features", filters)


register(Resource(TYPE, "feature"))
_ONE = "/v1/entitlements/features/{id}"
ENDPOINTS = (
    Endpoint("POST", "/v1/entitlements/features", CREATE, create, TYPE),
    Endpoint("GET", "/v1/entitlements/features", LIST, index, TYPE, lists=True),
    Endpoint("GET", _ONE, {}, retrieve, TYPE),
    Endpoint("POST", _ONE, UPDATE, update, TYPE),
)
