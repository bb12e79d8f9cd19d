"""What becomes of a trial that ends while there is no card to pay with."""

from copy import deepcopy

from portal.sandbox import standing
from portal.sandbox.call import Call
from portal.sandbox.registry import render
from portal.sandbox.resources import subscription_pausing, subscriptions
from portal.sandbox.store import Object


def ends_without_card(call: Call, subscription: Object) -> bool:
    """Cancel or pause a subscription whose trial ends now, if there is no card and it was begun with that.

    Returns whether it did; otherwise the first paid period begins, card or no card.
    """
    if subscription["status"] != "trialing" or standing.card_of(call, subscription) is not None:
        return False
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if behavior == "cancel":
        subscriptions.end(call, subscription, {})
    elif behavior == "pause":
        before = render(call, deepcopy(subscription))
        subscription_pausing.pause_now(call, subscription, "trial_end_without_payment_method", before)
    return behavior != "create_invoice"
