"""Reading tables of a TOML file: every value is asked for by its type, every mistake is noted with its place.

A reader goes on after a mistake with an empty value, so that one pass finds them all.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, cast

from portal.settings import SettingsError

TEXT_LENGTH_MAX = 300
LIST_LENGTH_MAX = 200
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+(\[[0-9]+\])?")
UNFIT = {"Cc", "Cs", "Zl", "Zp"}  # control characters, lone surrogates, breaks of line and paragraph

TYPE_WORDS = {
    dict: "a table",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    datetime: "a time",
}


class CatalogError(SettingsError):
    """The catalog cannot be used. `problems` are all of its mistakes, each with the file, the key and the reason."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n".join([f"The catalog has {count}:", *(f"  {problem}" for problem in problems)]))


class Table:
    """One table of the file. `path` is where it stands, `problems` the list that the whole file shares.

    `key` is its own name once that is known to be good; `clean` turns false with the first mistake in it.
    """

    def __init__(self, data: dict[str, Any], path: str, problems: list[str], source: str) -> None:
        self._data = data
        self._known: list[str] = []
        self._problems = problems
        self._source = source
        self.path = path
        self.key = ""
        self.clean = True

    def problem(self, key: str, reason: str) -> None:
        self.clean = False
        self._problems.append(f"{self._source}: {self.place(key)}: {reason}")

    def place(self, key: str) -> str:
        """The dotted path of a key, as messages name it."""
        shown = key if BARE_KEY.fullmatch(key) else f'"{printable(key)}"'
        return f"{self.path}.{shown}" if self.path else shown

    def names(self) -> list[str]:
        return list(self._data)

    def raw(self, key: str) -> Any:
        """The value as the file has it, for keys that take several types; None when it is absent."""
        self._known.append(key)
        return self._data.get(key)

    def has(self, key: str) -> bool:
        return key in self._data

    def text(self, key: str, *, length_max: int = TEXT_LENGTH_MAX) -> str:
        """A text that must be there."""
        if not self.has(key):
            self.raw(key)
            self.problem(key, "is missing")
            return ""
        return self.optional_text(key, length_max=length_max) or ""

    def optional_text(self, key: str, *, length_max: int = TEXT_LENGTH_MAX) -> str | None:
        value = self._typed(key, str)
        if value is None:
            return None
        reason = text_fault(value, length_max)
        if reason:
            self.problem(key, reason)
            return None
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty when it is absent."""
        values = self._typed(key, list) or []
        for index, value in enumerate(values):
            reason = text_fault(value, TEXT_LENGTH_MAX) if isinstance(value, str) else "must be a text"
            if reason:
                self.problem(f"{key}[{index}]", reason)
        return tuple(value for value in values if isinstance(value, str))

    def whole(self, key: str, *, least: int, most: int, required: bool = False) -> int | None:
        """A whole number within its bounds; None when it is absent or wrong."""
        if not self.has(key):
            self.raw(key)
            if required:
                self.problem(key, "is missing")
            return None
        value = self.raw(key)
        reason = whole_fault(value, least, most)
        if reason:
            self.problem(key, reason)
            return None
        return int(value)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._typed(key, bool)
        return default if value is None else bool(value)

    def choice(self, key: str, options: tuple[str, ...], default: str | None = None) -> Any:
        """One of a few words; without a default it must be there."""
        if default is not None and not self.has(key):
            self.raw(key)
            return default
        value = self.text(key)
        if value and value not in options:
            self.problem(key, f'"{value}" must be one of {quoted(options)}{did_you_mean(value, options)}')
            return default or options[0]
        return value

    def moment(self, key: str) -> datetime | None:
        """A date with a time and a zone; None when it is absent or wrong."""
        value = self._typed(key, datetime)
        if value is not None and value.tzinfo is None:
            self.problem(key, "must carry a zone, such as 2027-01-31T00:00:00Z")
            return None
        return cast("datetime | None", value)

    def table(self, key: str) -> Table:
        """A table of this one, empty when it is absent."""
        return Table(self._typed(key, dict) or {}, self.place(key), self._problems, self._source)

    def tables(self, key: str) -> list[Table]:
        """A list of tables (`[[key]]`), empty when it is absent."""
        found = []
        for index, value in enumerate(self._typed(key, list) or []):
            if isinstance(value, dict):
                found.append(Table(value, f"{self.place(key)}[{index}]", self._problems, self._source))
            else:
                self.problem(f"{key}[{index}]", f"must be a table, begun by [[{key}]]")
        if len(found) > LIST_LENGTH_MAX:
            self.problem(key, f"may have {LIST_LENGTH_MAX} entries at most")
        return found[:LIST_LENGTH_MAX]

    def close(self) -> None:
        """Report the keys that nobody asked for."""
        for key in self._data:
            if key not in self._known:
                self.problem(key, f"is not a key that is known here{did_you_mean(key, self._known)}")

    def _typed(self, key: str, kind: type) -> Any:
        value = self.raw(key)
        if value is None or type(value) is kind:
            return value
        self.problem(key, f"must be {TYPE_WORDS[kind]}, not {described(value)}")
        return None


def text_fault(value: str, length_max: int) -> str | None:
    """Why a text cannot be taken, or None. Control characters break pages, and a NUL breaks the database."""
    if not value.strip():
        return "must not be empty"
    if any(unicodedata.category(character) in UNFIT for character in value):
        return "must be one line without control characters"
    return f"may have {length_max} characters at most" if len(value) > length_max else None


def whole_fault(value: Any, least: int, most: int) -> str | None:
    """Why a number cannot be taken, or None. A fraction is refused, since amounts are never rounded here."""
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"must be a whole number in the smallest unit, not the fraction {value}"
    if type(value) is not int:
        return f"must be a whole number, not {described(value)}"
    if value < least:
        return (
            f"must be at least {least}, not {value}" if least > 0 or value >= 0 else f"must not be negative ({value})"
        )
    return f"must be at most {most}" if value > most else None


def described(value: Any) -> str:
    """A value in a message: a short one as it is written, a long one by its type."""
    if isinstance(value, str):
        return f'"{printable(value)}"'
    if type(value) in (bool, int):
        return str(value).lower()[:40]
    return TYPE_WORDS.get(type(value), f"a {type(value).__name__}")


def printable(text: str) -> str:
    """The beginning of a text for a message, with a question mark for what a terminal would not show."""
    return "".join(character if character.isprintable() else "?" for character in text[:40])


def quoted(words: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
