"""The test cards: what each number is, and how the bank behind it answers."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why a bank refuses a card: the error's code, its decline code, and what the customer is told."""

    code: str
    decline_code: str | None
    message: str


@dataclass(frozen=True)
class Card:
    """One test card. `on_setup` answers when it is saved without a charge, `on_charge` when money is asked for.

    `challenge` is when its bank asks who is paying: never, `once` (not any more after the card was saved with it), or
    `always`. What comes later: `dispute` is why its holder disputes a payment (an `inquiry` asks first), and `refund`
    is what becomes of a refund that was accepted.
    """

    number: str
    brand: str
    funding: str = "credit"
    on_setup: Refusal | None = None
    on_charge: Refusal | None = None
    challenge: str = "never"
    dispute: str | None = None
    refund: str = "succeeds"

    @property
    def last4(self) -> str:
        """The four digits that may be shown."""
        return self.number[-4:]

    @property
    def country(self) -> str:
        """Where the card was issued; the numbers of Stripe's test cards tell it by the country's ISO 3166 number."""
        return {"4000002500": "FR", "4000002760": "DE"}.get(self.number[:10], "US")

    @property
    def fingerprint(self) -> str:
        """The same for the same number, without giving the number away."""
        return hashlib.sha256(f"sandbox card {self.number}".encode()).hexdigest()[:16]


_DECLINED = "Your card was declined."
GENERIC = Refusal("card_declined", "generic_decline", _DECLINED)
FUNDS = Refusal("card_declined", "insufficient_funds", "Your card has insufficient funds.")
LOST = Refusal("card_declined", "lost_card", _DECLINED)
STOLEN = Refusal("card_declined", "stolen_card", _DECLINED)
EXPIRED = Refusal("expired_card", "expired_card", "Your card has expired.")
WRONG_CVC = Refusal("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.")
PROCESSING = Refusal("processing_error", "processing_error", "An error occurred while processing your card.")
NOT_AUTHENTICATED = Refusal(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
NOT_A_TEST_CARD = Refusal(
    "card_declined", "test_mode_live_card", "Your card was declined. This sandbox takes test cards only."
)
WRONG_NUMBER = Refusal("incorrect_number", None, "Your card number is incorrect.")


def _refused(number: str, why: Refusal) -> Card:
    return Card(number, "visa", on_setup=why, on_charge=why)


_CARDS = (
    Card("4242424242424242", "visa"),
    Card("4000056655665556", "visa", "debit"),
    Card("5555555555554444", "mastercard"),
    Card("2223003122003222", "mastercard"),
    Card("5200828282828210", "mastercard", "debit"),
    Card("378282246310005", "amex"),
    Card("6011111111111117", "discover"),
    _refused("4000000000000002", GENERIC),
    _refused("4000000000009995", FUNDS),
    _refused("4000000000009987", LOST),
    _refused("4000000000009979", STOLEN),
    _refused("4000000000000069", EXPIRED),
    _refused("4000000000000127", WRONG_CVC),
    _refused("4000000000000119", PROCESSING),
    Card("4000000000000341", "visa", on_charge=GENERIC),
    Card("4000002500003155", "visa", challenge="once"),
    Card("4000002760003184", "visa", challenge="always"),
    Card("4000008400001629", "visa", on_charge=GENERIC, challenge="always"),
    Card("4000000000000259", "visa", dispute="fraudulent"),
    Card("4000000000002685", "visa", dispute="product_not_received"),
    Card("4000000000001976", "visa", dispute="inquiry"),
    Card("4000000000007726", "visa", refund="takes_time"),
    Card("4000000000005126", "visa", refund="fails_later"),
)
BY_NUMBER = {card.number: card for card in _CARDS}

_TOKENS = {
    "visa": "4242424242424242",
    "visa_debit": "4000056655665556",
    "mastercard": "5555555555554444",
    "mastercard_debit": "5200828282828210",
    "amex": "378282246310005",
    "discover": "6011111111111117",
    "visa_chargeDeclined": "4000000000000002",
    "chargeDeclined": "4000000000000002",
    "chargeDeclinedInsufficientFunds": "4000000000009995",
    "visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "visa_chargeDeclinedLostCard": "4000000000009987",
    "visa_chargeDeclinedStolenCard": "4000000000009979",
    "chargeDeclinedExpiredCard": "4000000000000069",
    "chargeDeclinedIncorrectCvc": "4000000000000127",
    "chargeDeclinedProcessingError": "4000000000000119",
    "chargeCustomerFail": "4000000000000341",
    "authenticationRequiredOnSetup": "4000002500003155",
    "authenticationRequired": "4000002760003184",
    "threeDSecure2Required": "4000002760003184",
    "threeDSecureRequiredChargeDeclined": "4000008400001629",
    "createDispute": "4000000000000259",
    "createDisputeProductNotReceived": "4000000000002685",
    "createDisputeInquiry": "4000000000001976",
    "pendingRefund": "4000000000007726",
    "refundFail": "4000000000005126",
}
BY_PAYMENT_METHOD = {f"pm_card_{name}": BY_NUMBER[number] for name, number in _TOKENS.items()}
BY_TOKEN = {f"tok_{name}": BY_NUMBER[number] for name, number in _TOKENS.items()}

# What the hosted page offers to try, in the order it is shown.
HINTS = (
    ("4242 4242 4242 4242", "The payment succeeds."),
    ("4000 0000 0000 0002", "The bank declines the card."),
    ("4000 0000 0000 9995", "Declined for insufficient funds."),
    ("4000 0025 0000 3155", "The bank asks who is paying (3-D Secure)."),
    ("4000 0000 0000 0341", "The card is saved, then every charge fails."),
)


def passes_luhn(number: str) -> bool:
    """Say whether the last digit fits the others, as it does on every real card."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def find_card(number: str) -> Card | Refusal:
    """Return the test card with this number (digits only), or why no other number is taken."""
    if not 12 <= len(number) <= 19 or not passes_luhn(number):
        return WRONG_NUMBER
    return BY_NUMBER.get(number, NOT_A_TEST_CARD)
