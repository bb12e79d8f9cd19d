"""The form for a payer and a card or a bank account: reading what was entered, and saying what is wrong with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from portal.sandbox.cards import Card, Refusal, find_card
from portal.sandbox.completion import Payer
from portal.sandbox.debits import Account, find_account

FIELD_LENGTH_MAX = 200


@dataclass(frozen=True)
class Asked:
    """What a page asks for: the e-mail unless it is known or not wanted, a card or a bank account when something is due."""

    known_email: str | None
    card: bool
    email: bool = True
    account: bool = False


@dataclass
class Entered:
    """What came back: either a payer, or errors by field, or the refusal of a number that is no test card."""

    payer: Payer | None = None
    refusal: Refusal | None = None
    errors: dict[str, str] = field(default_factory=dict)


def read(form: Mapping[str, str], asked: Asked, now: int) -> Entered:
    """Check a posted form; `now` in epoch seconds decides whether a card has expired."""
    entered = Entered()
    email = asked.known_email or _text(form, "email")
    if asked.email and not is_email(email):
        entered.errors["email"] = "Enter an e-mail address, such as name@example.com."
    if asked.account and form.get("pay_with") == "sepa_debit":
        return _read_account(form, entered, email)
    name = _text(form, "name") or None
    if not asked.card:
        if not entered.errors:
            entered.payer = Payer(email=email, name=name)
        return entered
    card = _card(form, entered)
    expiry = _expiry(form, entered, now)
    _check_cvc(form, entered, card)
    if not entered.errors and entered.refusal is None and card is not None and expiry is not None:
        entered.payer = Payer(email, name, card, *expiry)
    return entered


def _read_account(form: Mapping[str, str], entered: Entered, email: str) -> Entered:
    holder, iban = _text(form, "account_holder"), _text(form, "iban")
    account = find_account(iban) if iban else "Enter an IBAN."
    if not holder:
        entered.errors["account_holder"] = "Enter the name of the account\u2019s holder."
    if not isinstance(account, Account):
        entered.errors["iban"] = account
    elif not entered.errors:
        entered.payer = Payer(email, holder, account=account)
    return entered


def is_email(text: str) -> bool:
    """Say whether a text has the shape of an e-mail address."""
    return re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", text) is not None


def _text(form: Mapping[str, str], name: str) -> str:
    return form.get(name, "").replace("\x00", "").strip()[:FIELD_LENGTH_MAX]


def _card(form: Mapping[str, str], entered: Entered) -> Card | None:
    number = re.sub(r"[\s-]", "", _text(form, "card_number"))
    if not re.fullmatch(r"[0-9]+", number):
        entered.errors["card_number"] = "Enter the digits of a test card." if number else "Enter a card number."
        return None
    found = find_card(number)
    if isinstance(found, Card):
        return found
    if found.code == "incorrect_number":
        entered.errors["card_number"] = "This card number is not complete or not valid."
    else:
        entered.refusal = found
    return None


def _expiry(form: Mapping[str, str], entered: Entered, now: int) -> tuple[int, int] | None:
    matched = re.fullmatch(r"([0-9]{1,2})\s*[/-]?\s*((?:20)?[0-9]{2})", _text(form, "exp"))
    if matched is None or not 1 <= int(matched[1]) <= 12:
        entered.errors["exp"] = "Enter the expiry as month and year, such as 12/30."
        return None
    month, year = int(matched[1]), int(matched[2]) % 100 + 2000
    today = datetime.fromtimestamp(now, UTC)
    if (year, month) < (today.year, today.month):
        entered.errors["exp"] = "This card has expired."
        return None
    return month, year


def _check_cvc(form: Mapping[str, str], entered: Entered, card: Card | None) -> None:
    digits = 4 if card is not None and card.brand == "amex" else 3
    if not re.fullmatch(rf"[0-9]{{{digits}}}", _text(form, "cvc")):
        entered.errors["cvc"] = f"Enter the {digits} digits of the security code."
