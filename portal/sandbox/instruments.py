"""What money is asked from: a test card, or a test bank account; how each looks on a payment method and on a charge."""

from collections.abc import Sequence
from typing import Any

from portal.sandbox import cards, debits, ids
from portal.sandbox.cards import Card
from portal.sandbox.debits import Account
from portal.sandbox.errors import invalid
from portal.sandbox.store import Object

Instrument = Card | Account
TYPES = ("card", "sepa_debit")
_ALL: tuple[Instrument, ...] = (*cards.BY_NUMBER.values(), *debits.BY_IBAN.values())
_BY_FINGERPRINT = {instrument.fingerprint: instrument for instrument in _ALL}


def instrument_of(payment_method: Object) -> Instrument:
    """Return the test card or account behind a payment method."""
    return _BY_FINGERPRINT[payment_method["_test_card"]]


def types_for(values: dict[str, Any], currency: str, *, once: bool) -> list[str]:
    """Return what a payment may be made with: what the request names, else all that suits the currency.

    `once` says that nothing is to be paid later with the same instrument: debits are emulated for such payments only.
    """
    suitable = ["card"] + (["sepa_debit"] if once and currency == debits.CURRENCY else [])
    for name in ("payment_method_types", "allowed_payment_method_types"):
        if name in values:
            return _named(values[name], suitable, name)
    return suitable


def _named(wanted: Sequence[str], suitable: Sequence[str], name: str) -> list[str]:
    found = [one for one in suitable if one in wanted]
    if not found:
        raise invalid(
            f"None of {', '.join(wanted)} can pay this here: the sandbox has cards, and SEPA debits for what is"
            " bought once in euros.",
            name,
        )
    return found


def method_details(instrument: Instrument, exp_month: int, exp_year: int) -> Object:
    """Return the members of a payment method that tell of the instrument; a bank account never expires."""
    if isinstance(instrument, Account):
        return {"sepa_debit": _account(instrument), "type": "sepa_debit"}
    return {"card": _card(instrument, exp_month, exp_year), "type": "card"}


def _account(account: Account) -> Object:
    return {
        "bank_code": account.bank_code,
        "branch_code": "",
        "country": account.country,
        "fingerprint": account.fingerprint,
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": account.last4,
    }


def _card(card: Card, exp_month: int, exp_year: int) -> Object:
    return {
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": card.country,
        "display_brand": "american_express" if card.brand == "amex" else card.brand,
        "exp_month": exp_month,
        "exp_year": exp_year,
        "fingerprint": card.fingerprint,
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def charge_details(payment_method: Object, amount: int) -> Object:
    """Return what a charge tells of the instrument it was made with."""
    if payment_method["type"] == "sepa_debit":
        account = {name: value for name, value in payment_method["sepa_debit"].items() if name != "generated_from"}
        return {"sepa_debit": account | {"mandate": None}, "type": "sepa_debit"}
    card = payment_method["card"]
    kept = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "wallet")
    return {
        "card": {name: card[name] for name in kept}
        | {
            "amount_authorized": amount,
            "authorization_code": ids.digits(6),
            "extended_authorization": {"status": "disabled"},
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card["brand"],
            "network_token": {"used": False},
            "network_transaction_id": ids.digits(15),
            "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
            "regulated_status": "unregulated",
            "three_d_secure": None,
        },
        "type": "card",
    }
