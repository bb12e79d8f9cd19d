"""Auto-purchase in plain words: what has happened, and the way out of it."""

from __future__ import annotations

from portal.billing.failure_words import payment_failure

# What somebody should know who turns it on again after a payment was undone.
MISSING = "It then buys what is missing, and that includes what is owed."
# Why it does not buy, and what is to be done. Of a bank's own codes `payment_failure` knows the words.
STOPPED = {
    "no_card": (
        "There is no saved card that could be charged. Nothing was charged.",
        "Save a card, and it goes on by itself.",
    ),
    "price_changed": (
        "The bundle is not sold automatically any more, or not with the credits and at the price you agreed to. Nothing was charged.",
        "Look at what is sold now and agree to it.",
    ),
    "refunded": (
        "A payment was refunded.",
        f"So that the same is not simply bought again, it waits for you: turn it on again if you want it. {MISSING}",
    ),
    "disputed": (
        "A payment was disputed at the bank.",
        f"So that the card is not simply charged again, it waits for you: turn it on again once that is settled. {MISSING}",
    ),
    "not_allowed": (
        "Your plan does not include auto-purchase any more. Nothing was charged.",
        "With a plan that includes it, turn it on again.",
    ),
    "not_offered": (
        "Auto-purchase is not offered at the moment. Nothing was charged.",
        "Where credits are sold, buy them by hand. Once it is offered again, turn it on again.",
    ),
}
BY_CODE = {
    "refused_by_stripe": "Stripe did not take the payment; the saved card may be gone. Nothing was charged.",
    "not_confirmed": "The bank wanted the payment to be confirmed, and it was not. Nothing was charged.",
}
OTHER_CARD = "Put in another card, or turn it on again with this one once the bank agrees."

CANCELED = {
    "turned_off": "Not charged: auto-purchase was turned off before",
    "paused": "Not charged: auto-purchase was paused by us",
    "refunded": "Not charged: a payment was refunded before",
    "disputed": "Not charged: a payment was disputed before",
    "frozen": "Not charged: the credits were frozen",
    "not_allowed": "Not charged: the plan does not include auto-purchase any more",
    "not_offered": "Not charged: auto-purchase is not offered at the moment",
    "terms_changed": "Not charged: the settings were changed before",
    "card_changed": "Not charged: another card was saved before",
    "no_card": "Not charged: there was no saved card any more",
    "too_late": "Not charged: Stripe could not be reached in time",
    "canceled_at_stripe": "Not charged: it was canceled at Stripe",
    "gone_at_stripe": "Ended: Stripe does not know this payment any more",
}


def failure_words(code: str) -> str:
    """Why a purchase has failed."""
    return BY_CODE.get(code) or payment_failure(code)


def stop_words(reason: str) -> tuple[str, str]:
    """Why a rule was stopped, and what to do about it."""
    return STOPPED.get(reason) or (failure_words(reason), OTHER_CARD)


def canceled_words(code: str | None) -> str:
    """Why a purchase came to nothing without a failure."""
    return CANCELED.get(code or "", "Not charged")
