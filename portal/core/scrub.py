"""The last net under logs and error reports: what looks like a secret or a person's data is taken out of any text.

Nobody should log such a thing in the first place, and tests see to it. But a library's message, a database's complaint
about a row or an exception's text is not ours to word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

HIDDEN = "[hidden]"

# PostgreSQL shows the row it complains about. In a text that is JSON already, the line ends with its escape.
_DETAIL = re.compile(r"DETAIL:.*?(?=\\n|$)", re.MULTILINE)
_MAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_SECRETS = re.compile(r"\b(?:(?:sk|rk|tp)_(?:test|live)|whsec)_\w+|\b(?:Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")

# Nearly no text holds any of these, and one look says so.
_SUSPECT = re.compile(r"DETAIL:|@|_(?:test|live)_|whsec_|\b(?:Bearer|Basic)\s|\d(?:[ -]?\d){12}", re.IGNORECASE)


def scrub(text: str) -> str:
    if not _SUSPECT.search(text):
        return text
    text = _DETAIL.sub(f"DETAIL: {HIDDEN}", text)
    text = _MAIL.sub(HIDDEN, text) if "@" in text else text
    text = _SECRETS.sub(HIDDEN, text)
    return _CARD.sub(lambda found: HIDDEN if _is_card(found[0]) else found[0], text)


def scrub_all(value: Any) -> Any:
    """The same for every text in a structure of dicts, lists and tuples."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {key: scrub_all(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [scrub_all(part) for part in value]
    return value


def scrub_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """For structlog: every value of a line but what the library keeps for itself."""
    return {name: value if name.startswith("_") else scrub_all(value) for name, value in event.items()}


def _is_card(text: str) -> bool:
    """Luhn's check: nine of ten long numbers are none."""
    digits = [int(letter) for letter in reversed(text) if letter.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
