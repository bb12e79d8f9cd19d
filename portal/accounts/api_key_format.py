"""How an API key is spelled: `tp_test_<public part><secret part>_<checksum>`.

The underscores make a double click select the whole. The mode and the public part are stored to find the key by, the
checksum tells a typing error from a key without asking anybody (and a leaked key from a random word), and only a
digest of the whole is kept.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib
from dataclasses import dataclass

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PUBLIC_LENGTH = 12
# 32 letters out of 62 are 190 bits, so that a plain digest cannot be searched.
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
LAST_LENGTH = 4
MARKS = {"tp_live_": True, "tp_test_": False}


@dataclass(frozen=True)
class KeyText:
    """A well-spelled key, taken apart. `secret` is the whole; everything but it may be stored and shown."""

    secret: str
    prefix: str
    last4: str
    digest: str
    livemode: bool

    def __repr__(self) -> str:
        return f"KeyText({self.prefix}…)"


def new_key(*, livemode: bool) -> KeyText:
    mark = next(mark for mark, live in MARKS.items() if live is livemode)
    random = "".join(secrets.choice(ALPHABET) for _ in range(PUBLIC_LENGTH + SECRET_LENGTH))
    return _taken_apart(f"{mark}{random}_{_checksum(mark + random)}")


def read_key(text: str) -> KeyText | None:
    """The key that `text` spells, or None when no key is spelled like that (says nothing of its existence)."""
    mark = text[: len("tp_live_")]
    random, _, checksum = text[len(mark) :].partition("_")
    well_spelled = (
        mark in MARKS
        and len(random) == PUBLIC_LENGTH + SECRET_LENGTH
        and all(letter in ALPHABET for letter in random)
        and checksum == _checksum(mark + random)
    )
    return _taken_apart(text) if well_spelled else None


def looks_like_key(text: str) -> bool:
    """Whether somebody meant this as a key, well spelled or not."""
    return text.startswith(tuple(MARKS))


def _taken_apart(secret: str) -> KeyText:
    mark = secret[: len("tp_live_")]
    return KeyText(
        secret=secret,
        prefix=secret[: len(mark) + PUBLIC_LENGTH],
        # The end of the checksum, so that nothing of the random part itself is stored.
        last4=secret[-LAST_LENGTH:],
        digest=hashlib.sha256(secret.encode()).hexdigest(),
        livemode=MARKS[mark],
    )


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    letters = ""
    for _ in range(CHECKSUM_LENGTH):
        number, place = divmod(number, len(ALPHABET))
        letters = ALPHABET[place] + letters
    return letters
