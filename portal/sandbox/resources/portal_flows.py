"""The flows of portal sessions: the one thing that a session is made for, and where that leads afterwards."""

from portal.sandbox import plan_offers
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.item_changes import QUANTITY
from portal.sandbox.parameters import Array, Choice, Hash, Text, Url
from portal.sandbox.registry import fetch
from portal.sandbox.resources import subscriptions
from portal.sandbox.resources.subscription_pausing import refusal_of_pause
from portal.sandbox.store import Object

# The feature that each flow needs.
_NEEDS = {
    "customer_update": "customer_update",
    "payment_method_update": "payment_method_update",
    "subscription_cancel": "subscription_cancel",
    "subscription_pause": "subscription_pause",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
}
_OF_SUBSCRIPTION = tuple(name for name in _NEEDS if name.startswith("subscription_"))
_AFTER_COMPLETION = Hash(
    fields={
        "hosted_confirmation": Hash(fields={"custom_message": Text(max_length=500)}),
        "redirect": Hash(fields={"return_url": Url(required=True)}),
        "type": Choice(options=("hosted_confirmation", "portal_homepage", "redirect"), required=True),
    }
)
_SUBSCRIPTION = Hash(fields={"subscription": Text(required=True)})
_CONFIRM = Hash(
    fields={
        "discounts": Array(max_items=1, item=Hash(fields={"coupon": Text(), "promotion_code": Text()})),
        "items": Array(
            required=True,
            max_items=1,
            item=Hash(fields={"id": Text(required=True), "price": Text(), "quantity": QUANTITY}),
        ),
        "subscription": Text(required=True),
    }
)
FLOW_DATA = Hash(
    fields={
        "after_completion": _AFTER_COMPLETION,
        "subscription_cancel": _SUBSCRIPTION,
        "subscription_pause": _SUBSCRIPTION,
        "subscription_update": _SUBSCRIPTION,
        "subscription_update_confirm": _CONFIRM,
        "type": Choice(options=tuple(_NEEDS), required=True),
    }
)


def build(call: Call, sent: Values, configuration: Object, customer: Object) -> Object:
    """Return the flow that was asked for, or raise the 400 that says why there cannot be one."""
    kind = sent["type"]
    if not configuration["features"][_NEEDS[kind]]["enabled"]:
        raise invalid(f"The flow {kind} is disabled in the portal configuration.", "flow_data[type]")
    for name in _OF_SUBSCRIPTION:
        if name in sent and name != kind:
            raise invalid(f"{name} does not go with the flow {kind}.", f"flow_data[{name}]")
    flow: Object = dict.fromkeys(("customer_update", *_OF_SUBSCRIPTION))
    if kind == "customer_update":
        flow[kind] = {}
    if kind in _OF_SUBSCRIPTION:
        flow[kind] = _with_subscription(call, kind, sent.get(kind), configuration, customer)
    after = _after_completion(sent.get("after_completion", {"type": "portal_homepage"}))
    return flow | {"after_completion": after, "type": kind}


def _with_subscription(call: Call, kind: str, sent: Values | None, configuration: Object, customer: Object) -> Object:
    param = f"flow_data[{kind}][subscription]"
    if sent is None:
        raise missing_parameter(param)
    subscription = fetch(call, "subscription", sent["subscription"], param)
    if subscription["customer"] != customer["id"]:
        raise invalid(f"The subscription {subscription['id']} belongs to another customer.", param)
    refusal = _refusal(call, kind, configuration, subscription)
    if refusal is not None:
        raise invalid(f"The flow {kind} cannot be offered for {subscription['id']}. {refusal}", param)
    if kind == "subscription_cancel":
        return {"retention": None, **sent}
    return _confirmed(call, sent, configuration, subscription) if kind == "subscription_update_confirm" else dict(sent)


def _refusal(call: Call, kind: str, configuration: Object, subscription: Object) -> str | None:
    if kind == "subscription_cancel":
        ending = subscription["status"] in subscriptions.ENDED or subscription["cancel_at"] is not None
        return "It has ended or is already set to end." if ending else None
    if kind == "subscription_pause":
        return refusal_of_pause(subscription)
    refusal = plan_offers.refusal_of(call, subscription)
    if refusal is None and not plan_offers.is_changeable(call, configuration, subscription):
        return "The portal configuration offers nothing else for it."
    return refusal


def _confirmed(call: Call, sent: Values, configuration: Object, subscription: Object) -> Object:
    param = "flow_data[subscription_update_confirm]"
    if not sent["items"]:
        raise missing_parameter(f"{param}[items]")
    wanted = sent["items"][0]
    if wanted["id"] != plan_offers.item_of(call, subscription)["id"]:
        raise invalid(f"The item {wanted['id']} does not belong to this subscription.", f"{param}[items][0][id]")
    try:
        plan_offers.choose(call, configuration, subscription, wanted.get("price"), wanted.get("quantity"))
    except plan_offers.NotOfferedError as error:
        raise invalid(f"{error}", f"{param}[items][0][{error.field}]") from error
    discounts = sent.get("discounts")
    if discounts and len(discounts[0]) != 1:
        raise invalid("Name a coupon or a promotion code, one of them.", f"{param}[discounts][0]")
    for name, chosen in (discounts[0] if discounts else {}).items():
        fetch(call, name, chosen, f"{param}[discounts][0][{name}]")
    named = [{"coupon": None, "promotion_code": None} | one for one in discounts] if discounts else None
    item = {"id": wanted["id"], "price": wanted.get("price"), "quantity": wanted.get("quantity")}
    return {"discounts": named, "items": [item], "subscription": subscription["id"]}


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
