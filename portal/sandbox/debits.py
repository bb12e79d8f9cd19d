"""The test bank accounts for SEPA direct debits: what the bank behind each says, and how long it takes to say it.

A debit is taken by everybody who enters an account, and paid or not paid afterwards.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import ClassVar

from portal.sandbox.cards import Refusal

CURRENCY = "eur"
_THREE_MINUTES = 180
_NO_FUNDS = Refusal("insufficient_funds", None, "The account does not have the money for the debit.")


@dataclass(frozen=True)
class Account:
    """One test account. `seconds` after the debit the bank pays, or says why it does not."""

    iban: str
    seconds: int = 0
    refusal: Refusal | None = None

    # What cards may do and accounts do not: say no at once, ask who is paying, dispute, keep a refund back.
    on_setup: ClassVar[Refusal | None] = None
    on_charge: ClassVar[Refusal | None] = None
    challenge: ClassVar[str] = "never"
    dispute: ClassVar[str | None] = None
    refund: ClassVar[str] = "succeeds"

    @property
    def country(self) -> str:
        """The two letters an IBAN begins with."""
        return self.iban[:2]

    @property
    def bank_code(self) -> str:
        """The digits that name the bank; five are enough for a table of test accounts."""
        return re.sub("[^0-9]", "", self.iban[4:])[:5]

    @property
    def last4(self) -> str:
        """The four digits that may be shown."""
        return self.iban[-4:]

    @property
    def fingerprint(self) -> str:
        """The same for the same account, without giving the number away."""
        return hashlib.sha256(f"sandbox account {self.iban}".encode()).hexdigest()[:16]


_ACCOUNTS = (
    Account("AT611904300234573201"),
    Account("AT321904300235473204", _THREE_MINUTES),
    Account("AT861904300235473202", refusal=_NO_FUNDS),
    Account("AT051904300235473205", _THREE_MINUTES, _NO_FUNDS),
    Account("DE89370400440532013000"),
    Account("IT60X0542811101000000123456", refusal=_NO_FUNDS),
)
BY_IBAN = {account.iban: account for account in _ACCOUNTS}


def _outcome(account: Account) -> str:
    when = "After three minutes" if account.seconds else "Soon"
    return f"{when} the bank {'pays' if account.refusal is None else 'says no'}."


def _in_fours(iban: str) -> str:
    return " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))


# What the hosted page offers to try.
HINTS = tuple((_in_fours(account.iban), _outcome(account)) for account in _ACCOUNTS)
NOT_AN_IBAN = "This IBAN is not complete or not valid."
NOT_A_TEST_ACCOUNT = "This sandbox takes test accounts only."


def find_account(iban: str) -> Account | str:
    """Return the test account with this IBAN (spaces do not matter), or why no other is taken."""
    plain = re.sub(r"\s", "", iban).upper()
    if not is_iban(plain):
        return NOT_AN_IBAN
    return BY_IBAN.get(plain, NOT_A_TEST_ACCOUNT)


def is_iban(text: str) -> bool:
    """Say whether the check digits of an IBAN fit the rest of it (ISO 13616: the remainder by 97 is 1)."""
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}", text):
        return False
    digits = "".join(str(int(letter, 36)) for letter in text[4:] + text[:4])
    return int(digits) % 97 == 1
