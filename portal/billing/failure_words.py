"""Why a payment or a refund did not go through, in words for the person who paid: one sentence without blame."""

from __future__ import annotations

PAYMENT_WORDS = {
    "insufficient_funds": "The card has too little money on it.",
    "lost_card": "The bank says that the card is not valid any more.",
    "stolen_card": "The bank says that the card is not valid any more.",
    "pickup_card": "The bank says that the card is not valid any more.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The card's security code was not right.",
    "invalid_cvc": "The card's security code was not right.",
    "incorrect_number": "The card's number was not right.",
    "invalid_expiry_month": "The card's expiry date was not right.",
    "invalid_expiry_year": "The card's expiry date was not right.",
    "processing_error": "The bank could not be reached.",
    "issuer_not_available": "The bank could not be reached.",
    "authentication_required": "The bank wanted the payment to be confirmed, and it was not.",
    "payment_intent_authentication_failure": "The bank wanted the payment to be confirmed, and it was not.",
    "card_velocity_exceeded": "The card was used too often or for too much in a short time.",
    "withdrawal_count_limit_exceeded": "The card was used too often or for too much in a short time.",
    "card_not_supported": "The card cannot be used for this kind of payment.",
    "currency_not_supported": "The card cannot be used in this currency.",
}
REFUND_WORDS = {
    "lost_or_stolen_card": "The card is not valid any more, so the bank sent the refund back.",
    "expired_or_canceled_card": "The card is not valid any more, so the bank sent the refund back.",
    "insufficient_funds": "The refund could not be sent yet.",
    "declined": "The bank did not take the refund.",
}


def payment_failure(code: str | None) -> str:
    """A decline code that is not listed is told as what it is: the bank's no, whose reason it keeps."""
    return PAYMENT_WORDS.get(code or "", "The bank declined the payment.") + " Nothing was charged."


def refund_failure(code: str | None) -> str:
    return (
        REFUND_WORDS.get(code or "", "The bank sent the refund back.")
        + " Credits that it had taken are yours again; ask us about the money."
    )
