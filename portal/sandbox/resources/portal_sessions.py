"""Sessions of the customer portal: one customer's way in, for a short time."""

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Choice, Text, Url
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.resources import portal_configurations, portal_flows
from portal.sandbox.store import Object, equals

# Who does not follow the address at once needs a new one; who has come may stay while there is something to do.
FIRST_VISIT_SECONDS = 5 * 60
IDLE_SECONDS_MAX = 60 * 60
CREATE = {
    "configuration": Text(),
    "customer": Text(required=True),
    "flow_data": portal_flows.FLOW_DATA,
    "locale": Choice(options=("auto", "en", "en-AU", "en-CA", "en-GB", "en-IE", "en-IN", "en-NZ", "en-SG")),
    "return_url": Url(),
}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/billing_portal/sessions`."""
    customer = fetch(call, "customer", values["customer"], "customer")
    configuration = _configuration(call, values)
    # The address is all that is asked of whoever comes, so it must be beyond guessing; the id is not.
    token, flow = ids.random_text(48), values.get("flow_data")
    session: Object = {
        "id": ids.new_id("bps"),
        "object": "billing_portal.session",
        "after_expiration": None,
        "configuration": configuration["id"],
        "created": call.now(),
        "customer": customer["id"],
        "customer_account": None,
        "flow": portal_flows.build(call, flow, configuration, customer) if flow else None,
        "livemode": False,
        "locale": values.get("locale"),
        "on_behalf_of": None,
        "return_url": values.get("return_url") or configuration["default_return_url"],
        "url": call.link(f"/p/session/{token}"),
        "_expires_at": call.now() + FIRST_VISIT_SECONDS,
        "_flow_done": False,
        "_token": token,
    }
    call.store.insert("billing_portal.session", session)
    events.emit(call, "billing_portal.session.created", session)
    return render(call, session)


def _configuration(call: Call, values: Values) -> Object:
    if "configuration" in values:
        configuration = fetch(call, "billing_portal.configuration", values["configuration"], "configuration")
        if not configuration["active"]:
            raise invalid("The configuration is inactive and cannot be used for a session.", "configuration")
        return configuration
    default = portal_configurations.default_of(call)
    if default is None:
        raise invalid(
            "No configuration provided and there is no default one yet. Create a configuration first, or send one."
        )
    return default


def open_session(call: Call, token: str) -> Object | None:
    """Return the session of an address and keep it open for longer, or None when there is none or its time is over."""
    found = call.store.find("billing_portal.session", [equals("_token", token)], limit=1)
    if not found or found[0]["_expires_at"] <= call.now():
        return None
    return call.store.save(found[0] | {"_expires_at": call.now() + IDLE_SECONDS_MAX})


register(
    Resource(
        "billing_portal.session",
        "billing_portal.session",
        {"configuration": Reference("billing_portal.configuration")},
    )
)
ENDPOINTS = (Endpoint("POST", "/v1/billing_portal/sessions", CREATE, create, "billing_portal.session"),)
