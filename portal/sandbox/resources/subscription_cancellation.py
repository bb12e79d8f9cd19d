"""`DELETE /v1/subscriptions/{subscription}`: a subscription ends now, with or without credit for the rest."""

from portal.sandbox import cancelling
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import no_such
from portal.sandbox.parameters import Boolean
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import subscriptions
from portal.sandbox.store import Object

CANCEL = {"cancellation_details": subscriptions.CANCELLATION, "invoice_now": Boolean(), "prorate": Boolean()}


@by_clock_of("subscription")
def cancel(call: Call, values: Values, subscription_id: str) -> Object:
    """`DELETE /v1/subscriptions/{subscription}`: ends it now."""
    subscription = fetch(call, "subscription", subscription_id)
    if subscription["status"] in subscriptions.ENDED:
        raise no_such("subscription", subscription_id, "id", in_path=True)
    details = {"reason": "cancellation_requested"} | values.get("cancellation_details", {})
    settled = {"prorates": values.get("prorate", False), "at_once": values.get("invoice_now", False)}
    return render(call, end_now(call, subscription, details, **settled))


def end_now(call: Call, subscription: Object, details: Values, *, prorates: bool, at_once: bool) -> Object:
    """End a subscription, with credit for the rest of the period and a last invoice where these are wanted."""
    _settle(call, subscription, prorates=prorates, at_once=at_once)
    return subscriptions.end(call, subscription, details)


def _settle(call: Call, subscription: Object, *, prorates: bool, at_once: bool) -> None:
    """Credit the rest of the period if it is wanted, and bill at once what waits, or leave it waiting."""
    if at_once:
        cancelling.bill_last(call, subscription, prorates=prorates)
    elif prorates:
        cancelling.credit_rest(call, subscription)


ENDPOINTS = (Endpoint("DELETE", "/v1/subscriptions/{subscription}", CANCEL, cancel, "subscription"),)
