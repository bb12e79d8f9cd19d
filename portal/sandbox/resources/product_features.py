"""Product features: which product lets its customers do what."""

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.errors import invalid, no_such
from portal.sandbox.parameters import PAGING, Text
from portal.sandbox.registry import Embedded, Resource, deleted_form, fetch, public, register, render
from portal.sandbox.resources import entitlement_features
from portal.sandbox.store import Object, equals

TYPE = "product_feature"
CREATE = {"entitlement_feature": Text(required=True)}


def of_product(call: Call, product_id: str) -> list[Object]:
    """Return the features of a product, in the order they were attached."""
    return call.store.find(TYPE, [equals("_product", product_id)], oldest_first=True)


def create(call: Call, values: Values, product_id: str) -> Object:
    """`POST /v1/products/{product}/features`; who has the product already gets it with the next period."""
    fetch(call, "product", product_id)
    feature = fetch(call, entitlement_features.TYPE, values["entitlement_feature"], "entitlement_feature")
    if not feature["active"]:
        raise invalid("The feature is archived.", "entitlement_feature")
    if any(one["entitlement_feature"] == feature["id"] for one in of_product(call, product_id)):
        raise invalid("The product has this feature already.", "entitlement_feature", "resource_already_exists")
    attached = {
        "id": ids.new_id("prodft_test", 30),
        "object": TYPE,
        "entitlement_feature": feature["id"],
        "livemode": False,
        "_product": product_id,
    }
    return render(call, call.store.insert(TYPE, attached))


def _fetch(call: Call, product_id: str, attached_id: str) -> Object:
    fetch(call, "product", product_id)
    attached = fetch(call, TYPE, attached_id)
    if attached["_product"] != product_id:
        raise no_such("product feature", attached_id, "id", in_path=True)
    return attached


def retrieve(call: Call, _: Values, product_id: str, attached_id: str) -> Object:
    """`GET /v1/products/{product}/features/{id}`."""
    return render(call, _fetch(call, product_id, attached_id))


def delete(call: Call, _: Values, product_id: str, attached_id: str) -> Object:
    """`DELETE /v1/products/{product}/features/{id}`; who has it keeps it until the next period."""
    attached = _fetch(call, product_id, attached_id)
    call.store.delete(attached_id)
    return deleted_form(attached)


def index(call: Call, values: Values, product_id: str) -> Object:
    """`GET /v1/products/{product}/features`."""
    fetch(call, "product", product_id)
    return page(call, TYPE, values, f"/v1/products/{product_id}/features", [equals("_product", product_id)])


def _render(call: Call, attached: Object) -> Object:
    feature = fetch(call, entitlement_features.TYPE, attached["entitlement_feature"])
    return public(call, attached) | {"entitlement_feature": render(call, feature)}


register(Resource(TYPE, "product feature", {"entitlement_feature": Embedded(entitlement_features.TYPE)}, _render))
_ALL = "/v1/products/{product}/features"
ENDPOINTS = (
    Endpoint("POST", _ALL, CREATE, create, TYPE),
    Endpoint("GET", _ALL, PAGING, index, TYPE, lists=True),
    Endpoint("GET", _ALL + "/{id}", {}, retrieve, TYPE),
    Endpoint("DELETE", _ALL + "/{id}", {}, delete, TYPE),
)
