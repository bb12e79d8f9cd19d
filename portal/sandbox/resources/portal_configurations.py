"""Configurations of the customer portal: what people may do there."""

from copy import deepcopy

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import PAGING, Boolean, Hash, Metadata, Text, Url, merge_metadata
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.resources import portal_features
from portal.sandbox.store import Object, equals

_LOGIN_PAGE = Hash(fields={"enabled": Boolean(required=True)})
_COMMON = {
    "default_return_url": Url(unsettable=True),
    "login_page": _LOGIN_PAGE,
    "metadata": Metadata(),
    "name": Text(unsettable=True, max_length=250),
}
CREATE = _COMMON | {
    "business_profile": Hash(
        fields={
            "headline": Text(unsettable=True, max_length=60),
            "privacy_policy_url": Url(),
            "terms_of_service_url": Url(),
        }
    ),
    "features": portal_features.parameters(new=True),
}
UPDATE = _COMMON | {
    "active": Boolean(),
    "business_profile": Hash(
        fields={
            "headline": Text(unsettable=True, max_length=60),
            "privacy_policy_url": Url(unsettable=True),
            "terms_of_service_url": Url(unsettable=True),
        }
    ),
    "features": portal_features.parameters(new=False),
}
LIST = PAGING | {"active": Boolean(), "is_default": Boolean()}


def build(call: Call, values: Values) -> Object:
    """Return a new configuration that is not stored yet; the first one there is becomes the default."""
    configuration: Object = {
        "id": ids.new_id("bpc"),
        "object": "billing_portal.configuration",
        "active": True,
        "application": None,
        "business_profile": dict.fromkeys(("headline", "privacy_policy_url", "terms_of_service_url")),
        "created": call.now(),
        "default_return_url": None,
        "features": portal_features.none_enabled(),
        "is_default": default_of(call) is None,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": {},
        "name": None,
        "updated": call.now(),
    }
    _apply(call, configuration, values)
    return configuration


def default_of(call: Call) -> Object | None:
    """Return the configuration of sessions that name none, if there is one."""
    found = call.store.find("billing_portal.configuration", [equals("is_default", True)], limit=1)
    return found[0] if found else None


def _apply(call: Call, configuration: Object, values: Values) -> None:
    for name in ("active", "default_return_url", "name"):
        if name in values:
            configuration[name] = values[name]
    if values.get("login_page", {}).get("enabled"):
        raise invalid("The portal's login page is not emulated by the sandbox.", "login_page[enabled]")
    configuration["business_profile"] |= values.get("business_profile", {})
    if "metadata" in values:
        configuration["metadata"] = merge_metadata(configuration["metadata"], values["metadata"])
    portal_features.merge(call, configuration["features"], values.get("features", {}))


def create(call: Call, values: Values) -> Object:
    """`POST /v1/billing_portal/configurations`."""
    configuration = call.store.insert("billing_portal.configuration", build(call, values))
    events.emit(call, "billing_portal.configuration.created", configuration)
    return render(call, configuration)


def retrieve(call: Call, _: Values, configuration_id: str) -> Object:
    """`GET /v1/billing_portal/configurations/{configuration}`."""
    return render(call, fetch(call, "billing_portal.configuration", configuration_id))


def update(call: Call, values: Values, configuration_id: str) -> Object:
    """`POST /v1/billing_portal/configurations/{configuration}`; what is not sent stays as it is."""
    configuration = fetch(call, "billing_portal.configuration", configuration_id)
    if configuration["is_default"] and values.get("active") is False:
        raise invalid("The default configuration cannot be made inactive.", "active")
    before = render(call, deepcopy(configuration))
    _apply(call, configuration, values)
    if configuration != before:
        configuration["updated"] = call.now()
    call.store.save(configuration)
    events.emit_update(call, "billing_portal.configuration.updated", before, configuration)
    return render(call, configuration)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/billing_portal/configurations`."""
    filters = member_equals(values, "active", "is_default")
    return page(call, "billing_portal.configuration", values, "/v1/billing_portal/configurations", filters)


register(Resource("billing_portal.configuration", "configuration", {"application": Reference("application")}))
_ONE = "/v1/billing_portal/configurations/{configuration}"
ENDPOINTS = (
    Endpoint("POST", "/v1/billing_portal/configurations", CREATE, create, "billing_portal.configuration"),
    Endpoint("GET", "/v1/billing_portal/configurations", LIST, index, "billing_portal.configuration", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "billing_portal.configuration"),
    Endpoint("POST", _ONE, UPDATE, update, "billing_portal.configuration"),
)
