"""Sessions of the customer portal: one customer's way in, for a short time."""

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.parameters import Choice, Hash, Text, Url
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.resources import portal_configurations, subscriptions
from portal.sandbox.store import Object, equals

# Who does not follow the address at once needs a new one; who has come may stay while there is something to do.
FIRST_VISIT_SECONDS = 5 * 60
IDLE_SECONDS_MAX = 60 * 60
# The feature that a flow needs; the others of Stripe's flows are not emulated.
_NEEDS = {
    "customer_update": "customer_update",
    "payment_method_update": "payment_method_update",
    "subscription_cancel": "subscription_cancel",
}
_AFTER_COMPLETION = Hash(
    fields={
        "hosted_confirmation": Hash(fields={"custom_message": Text(max_length=500)}),
        "redirect": Hash(fields={"return_url": Url(required=True)}),
        "type": Choice(options=("hosted_confirmation", "portal_homepage", "redirect"), required=True),
    }
)
CREATE = {
    "configuration": Text(),
    "customer": Text(required=True),
    "flow_data": Hash(
        fields={
            "after_completion": _AFTER_COMPLETION,
            "subscription_cancel": Hash(fields={"subscription": Text(required=True)}),
            "type": Choice(options=tuple(_NEEDS), required=True),
        }
    ),
    "locale": Choice(options=("auto", "en", "en-AU", "en-CA", "en-GB", "en-IE", "en-IN", "en-NZ", "en-SG")),
    "return_url": Url(),
}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/billing_portal/sessions`."""
    customer = fetch(call, "customer", values["customer"], "customer")
    configuration = _configuration(call, values)
    # The address is all that is asked of whoever comes, so it must be beyond guessing; the id is not.
    token = ids.random_text(48)
    session: Object = {
        "id": ids.new_id("bps"),
        "object": "billing_portal.session",
        "after_expiration": None,
        "configuration": configuration["id"],
        "created": call.now(),
        "customer": customer["id"],
        "customer_account": None,
        "flow": _flow(call, values.get("flow_data"), configuration, customer),
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


def _flow(call: Call, sent: Values | None, configuration: Object, customer: Object) -> Object | None:
    if sent is None:
        return None
    kind, feature = sent["type"], _NEEDS[sent["type"]]
    if not configuration["features"][feature]["enabled"]:
        raise invalid(f"The flow {kind} is disabled in the portal configuration.", "flow_data[type]")
    if kind == "subscription_cancel":
        _check_cancellable(call, sent.get("subscription_cancel"), customer)
    elif "subscription_cancel" in sent:
        raise invalid(f"subscription_cancel does not go with the flow {kind}.", "flow_data[subscription_cancel]")
    cancelling = sent.get("subscription_cancel")
    return {
        "after_completion": _after_completion(sent.get("after_completion", {"type": "portal_homepage"})),
        "subscription_cancel": {"retention": None, **cancelling} if cancelling else None,
        "subscription_update": None,
        "subscription_update_confirm": None,
        "type": kind,
    }


def _check_cancellable(call: Call, sent: Values | None, customer: Object) -> None:
    param = "flow_data[subscription_cancel][subscription]"
    if sent is None:
        raise missing_parameter(param)
    subscription = fetch(call, "subscription", sent["subscription"], param)
    if subscription["customer"] != customer["id"]:
        raise invalid(f"The subscription {subscription['id']} belongs to another customer.", param)
    if subscription["status"] in subscriptions.ENDED or subscription["cancel_at"] is not None:
        raise invalid(f"The subscription {subscription['id']} has ended or is already set to end.", param)


def _after_completion(sent: Values) -> Object:
    kind = sent["type"]
    for name in ("hosted_confirmation", "redirect"):
        if name in sent and name != kind:
            raise invalid(f"{name} does not go with the type {kind}.", f"flow_data[after_completion][{name}]")
    if kind == "redirect" and "redirect" not in sent:
        raise missing_parameter("flow_data[after_completion][redirect]")
    confirmation = {"custom_message": sent.get("hosted_confirmation", {}).get("custom_message")}
    return {
        "hosted_confirmation": confirmation if kind == "hosted_confirmation" else None,
        "redirect": sent.get("redirect"),
        "type": kind,
    }


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
