"""Products."""

from copy import deepcopy

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import (
    CREATED_PAGING,
    Array,
    Boolean,
    Choice,
    Hash,
    Metadata,
    Text,
    Url,
    merge_metadata,
)
from portal.sandbox.registry import Reference, Resource, deleted_form, fetch, register, render
from portal.sandbox.store import Object, equals, one_of

_COMMON = {
    "active": Boolean(),
    "description": Text(unsettable=True, max_length=40000),
    "images": Array(item=Url(), max_items=8, unsettable=True),
    "marketing_features": Array(item=Hash(fields={"name": Text(required=True, max_length=80)}), unsettable=True),
    "metadata": Metadata(),
    "shippable": Boolean(),
    "statement_descriptor": Text(max_length=22),
    "tax_code": Text(unsettable=True),
    "unit_label": Text(unsettable=True, max_length=12),
    "url": Url(unsettable=True),
}
CREATE = _COMMON | {
    "id": Text(max_length=255, pattern="[A-Za-z0-9_.-]+"),
    "name": Text(required=True),
    "type": Choice(options=("good", "service")),
}
UPDATE = _COMMON | {"name": Text(), "default_price": Text(unsettable=True)}
LIST = CREATED_PAGING | {
    "active": Boolean(),
    "ids": Array(),
    "shippable": Boolean(),
    "type": Choice(options=("good", "service")),
    "url": Text(),
}


def build(call: Call, values: Values) -> Object:
    """Return a new product that is not stored yet."""
    now = call.now()
    product: Object = {
        "id": values.get("id") or ids.new_id("prod", 14),
        "object": "product",
        "active": True,
        "created": now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": values["name"],
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "tax_details": None,
        "type": values.get("type", "service"),
        "unit_label": None,
        "updated": now,
        "url": None,
    }
    _apply(product, values)
    return product


def _apply(product: Object, values: Values) -> None:
    for name in ("active", "default_price", "description", "name", "shippable"):
        if name in values:
            product[name] = values[name]
    for name in ("statement_descriptor", "tax_code", "unit_label", "url"):
        if name in values:
            product[name] = values[name]
    for name in ("images", "marketing_features"):
        if name in values:
            product[name] = values[name] or []
    if "metadata" in values:
        product["metadata"] = merge_metadata(product["metadata"], values["metadata"])


def create(call: Call, values: Values) -> Object:
    """`POST /v1/products`; the caller may choose the id."""
    if "id" in values and call.store.is_taken(values["id"]):
        raise invalid(f"Product already exists: '{values['id']}'", "id", "resource_already_exists")
    product = call.store.insert("product", build(call, values))
    events.emit(call, "product.created", product)
    return render(call, product)


def retrieve(call: Call, _: Values, product_id: str) -> Object:
    """`GET /v1/products/{id}`."""
    return render(call, fetch(call, "product", product_id))


def update(call: Call, values: Values, product_id: str) -> Object:
    """`POST /v1/products/{id}`."""
    product = fetch(call, "product", product_id)
    before = render(call, deepcopy(product))
    if values.get("default_price") is not None:
        price = fetch(call, "price", values["default_price"], "default_price")
        if price["product"] != product_id:
            raise invalid("The default price must be one of the product's own prices.", "default_price")
    _apply(product, values)
    if render(call, product) != before:
        product["updated"] = call.now()
    call.store.save(product)
    events.emit_update(call, "product.updated", before, product)
    return render(call, product)


def delete(call: Call, _: Values, product_id: str) -> Object:
    """`DELETE /v1/products/{id}`; a product that has prices can only be made inactive."""
    product = fetch(call, "product", product_id)
    if call.store.find("price", [equals("product", product_id)], limit=1):
        raise invalid("The product has prices and cannot be deleted; set active to false instead.", "id")
    call.store.delete(product_id)
    events.emit(call, "product.deleted", product)
    return deleted_form(product)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/products`."""
    filters = member_equals(values, "active", "shippable", "type", "url")
    if "ids" in values:
        filters.append(one_of("id", values["ids"]))
    return page(call, "product", values, "/v1/products", filters)


register(Resource("product", "product", {"default_price": Reference("price")}))
ENDPOINTS = (
    Endpoint("POST", "/v1/products", CREATE, create, "product"),
    Endpoint("GET", "/v1/products", LIST, index, "product", lists=True),
    Endpoint("GET", "/v1/products/{id}", {}, retrieve, "product"),
    Endpoint("POST", "/v1/products/{id}", UPDATE, update, "product"),
    Endpoint("DELETE", "/v1/products/{id}", {}, delete, "product"),
)
