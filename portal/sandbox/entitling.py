"""What customers may do, kept up with their subscriptions.

An item gives the features that its product has when its period begins: what is attached to a product later comes with
the next period, as at Stripe.
"""

from portal.sandbox import events
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import active_entitlements, entitlement_features, product_features, subscription_items
from portal.sandbox.store import Object, equals, one_of

_ENTITLED = ("active", "past_due", "trialing")


def keep_up(call: Call, subscription: Object) -> None:
    """Bring what the customer of a subscription may do up to date, and tell of it when it is something else now."""
    customer_id = subscription["customer"]
    summary = _summary(call, customer_id)
    if summary is None:
        return
    before = render(call, summary)
    grants = _grants(call, customer_id, summary["_grants"])
    call.store.save(summary | {"_grants": grants})
    _bring_about(call, customer_id, {feature for grant in grants.values() for feature in grant["features"]})
    events.emit_update(call, f"{active_entitlements.SUMMARY}.updated", before, summary)


def _summary(call: Call, customer_id: str) -> Object | None:
    """Return the summary of a customer; there is none as long as no product has a feature."""
    found = call.store.find(active_entitlements.SUMMARY, [equals("customer", customer_id)], limit=1)
    if found:
        return found[0]
    if not call.store.find(product_features.TYPE, limit=1):
        return None
    return call.store.insert(active_entitlements.SUMMARY, active_entitlements.build_summary(customer_id))


def _grants(call: Call, customer_id: str, old: Object) -> Object:
    """Return by item what each gives now: what it gave before, unless it is sold anew or its period is a new one."""
    entitled = [equals("customer", customer_id), one_of("status", _ENTITLED)]
    found = call.store.find("subscription", entitled, oldest_first=True)
    items = [item for one in found for item in subscription_items.of_subscription(call, one["id"])]
    return {item["id"]: _grant(call, item, old.get(item["id"])) for item in items}


def _grant(call: Call, item: Object, old: Object | None) -> Object:
    since = {"price": item["price"], "period_start": item["current_period_start"]}
    if old is not None and all(old[name] == value for name, value in since.items()):
        return old
    product_id = fetch(call, "price", item["price"])["product"]
    attached = product_features.of_product(call, product_id)
    return since | {"features": [one["entitlement_feature"] for one in attached]}


def _bring_about(call: Call, customer_id: str, wanted: set[str]) -> None:
    """Give and take entitlements, so that they are for these features."""
    there = active_entitlements.of_customer(call, customer_id)
    for one in there:
        if one["feature"] not in wanted:
            call.store.delete(one["id"])
    for feature_id in sorted(wanted - {one["feature"] for one in there}):
        feature = fetch(call, entitlement_features.TYPE, feature_id)
        call.store.insert(active_entitlements.TYPE, active_entitlements.build(feature, customer_id))
