"""Request parameters, declared: each endpoint lists what it takes, and anything else is refused.

Values arrive as text. `parse` turns the tree of a decoded body into Python values by the endpoint's declaration; an
empty text, where allowed, means "take the value away" and becomes None.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from portal.sandbox.errors import invalid, missing_parameter, unknown_parameter

Tree = dict[str, Any]
AMOUNT_MAX = 99_999_999
METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500


@dataclass(frozen=True, kw_only=True)
class Param(ABC):
    """What one parameter may hold. `unsettable` allows the empty text, which clears the value."""

    required: bool = False
    unsettable: bool = False

    def read(self, value: Any, name: str) -> Any:
        """Return the value in its Python type, or raise the 400 that says what is wrong with it."""
        if value == "":
            if self.unsettable:
                return None
            raise invalid(f"'{name}' was sent empty, and it cannot be unset.", name, "parameter_invalid_empty")
        return self.convert(value, name)

    @abstractmethod
    def convert(self, value: Any, name: str) -> Any:
        """Turn a value that is not empty into its Python type."""


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"Invalid string: '{name}' must be a plain value.", name, "parameter_invalid_string")
    return value


@dataclass(frozen=True, kw_only=True)
class Text(Param):
    """A text of at most `max_length` characters, of the form `pattern` when one is given."""

    max_length: int = 5000
    pattern: str | None = None

    def convert(self, value: Any, name: str) -> str:
        """Check length and form."""
        text = _text(value, name)
        if len(text) > self.max_length:
            raise invalid(f"Invalid string: '{name}' may have {self.max_length} characters at most.", name)
        if "\x00" in text:
            raise invalid(f"Invalid string: '{name}' holds a NUL character.", name)
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            raise invalid(f"Invalid value for '{name}': {text}", name)
        return text


@dataclass(frozen=True, kw_only=True)
class Url(Text):
    """An absolute http or https address."""

    def convert(self, value: Any, name: str) -> str:
        """Refuse whatever a browser or a client could not follow."""
        text = super().convert(value, name)
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            usable = usable and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        host_is_plain = usable and re.fullmatch(r"[A-Za-z0-9.-]+|[0-9a-fA-F:.]+", parts.hostname or "")
        if not host_is_plain or re.search(r"[\s\x00-\x1f\\]", text):
            raise invalid(f"Not a valid URL: '{name}' needs a scheme such as https:// and a host.", name, "url_invalid")
        return text


@dataclass(frozen=True, kw_only=True)
class Email(Text):
    """An e-mail address, checked for its shape only."""

    max_length: int = 512

    def convert(self, value: Any, name: str) -> str:
        """Refuse what is plainly no address."""
        text = super().convert(value, name)
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", text):
            raise invalid(f"Invalid email address: {text}", name, "email_invalid")
        return text


@dataclass(frozen=True, kw_only=True)
class Integer(Param):
    """A whole number within bounds."""

    minimum: int | None = None
    maximum: int | None = None

    def convert(self, value: Any, name: str) -> int:
        """Refuse anything but digits with an optional sign."""
        text = _text(value, name)
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise invalid(f"Invalid integer: {text[:100]}", name, "parameter_invalid_integer")
        number = int(text)
        if self.minimum is not None and number < self.minimum:
            raise invalid(f"'{name}' must be at least {self.minimum}.", name, "parameter_invalid_integer")
        if self.maximum is not None and number > self.maximum:
            raise invalid(f"'{name}' must be at most {self.maximum}.", name, "parameter_invalid_integer")
        return number


@dataclass(frozen=True, kw_only=True)
class Percent(Param):
    """A share of more than 0 (or of `zero` too) and at most 100, with so many decimals at most."""

    decimals: int = 2
    zero: bool = False

    def convert(self, value: Any, name: str) -> float:
        """Refuse what is no such share."""
        text = _text(value, name)
        well_formed = re.fullmatch(rf"[0-9]{{1,3}}(\.[0-9]{{1,{self.decimals}}}0*)?", text)
        if not well_formed or not (0 < float(text) <= 100 or (self.zero and float(text) == 0)):
            least = "at least 0" if self.zero else "more than 0"
            raise invalid(f"'{name}' must be {least} and at most 100.", name, "parameter_invalid_integer")
        return float(text)


@dataclass(frozen=True, kw_only=True)
class Timestamp(Integer):
    """An instant in epoch seconds."""

    minimum: int | None = 0
    maximum: int | None = 253_402_300_799


@dataclass(frozen=True, kw_only=True)
class Boolean(Param):
    """`true` or `false`."""

    def convert(self, value: Any, name: str) -> bool:
        """Refuse every other spelling."""
        text = _text(value, name)
        if text not in ("true", "false"):
            raise invalid(f"Invalid boolean: {text[:100]}", name)
        return text == "true"


@dataclass(frozen=True, kw_only=True)
class Choice(Param):
    """One of a fixed set of words."""

    options: tuple[str, ...] = ()

    def convert(self, value: Any, name: str) -> str:
        """Refuse a word that is not in the set."""
        text = _text(value, name)
        if text not in self.options:
            raise invalid(f"Invalid {name}: must be one of {', '.join(self.options)}", name)
        return text


@dataclass(frozen=True, kw_only=True)
class TimestampOr(Param):
    """An instant, or one of a few words that stand for one."""

    options: tuple[str, ...] = ()

    def convert(self, value: Any, name: str) -> int | str:
        """Return the word or the instant."""
        if value in self.options:
            return str(value)
        return Timestamp().convert(value, name)


@dataclass(frozen=True, kw_only=True)
class Hash(Param):
    """A nested group of parameters."""

    fields: Mapping[str, Param] = field(default_factory=dict)

    def convert(self, value: Any, name: str) -> dict[str, Any]:
        """Parse the group by its own declaration."""
        if not isinstance(value, dict):
            raise invalid(f"Invalid object: '{name}' must be a hash.", name)
        return parse(self.fields, value, name)


@dataclass(frozen=True, kw_only=True)
class Array(Param):
    """A list of values of one kind."""

    item: Param = field(default_factory=Text)
    max_items: int = 100

    def convert(self, value: Any, name: str) -> list[Any]:
        """Read `name[0]`, `name[1]`, … or `name[]` in the order of their indexes."""
        if not isinstance(value, dict) or not all(re.fullmatch(r"[0-9]{1,6}", key) for key in value):
            raise invalid(f"Invalid array: '{name}' must be a list.", name)
        if len(value) > self.max_items:
            raise invalid(f"'{name}' may have {self.max_items} entries at most.", name)
        indexes = sorted(value, key=int)
        return [self.item.read(value[index], f"{name}[{index}]") for index in indexes]


@dataclass(frozen=True, kw_only=True)
class Metadata(Param):
    """Keys and texts of the caller's own; an empty text takes a key away, an empty whole takes all away."""

    unsettable: bool = True

    def convert(self, value: Any, name: str) -> dict[str, str | None]:
        """Check the limits of one request; `merge_metadata` checks those of the object."""
        if not isinstance(value, dict):
            raise invalid(f"Invalid object: '{name}' must be a hash of texts.", name)
        result: dict[str, str | None] = {}
        for key, text in value.items():
            member = f"{name}[{key}]"
            if len(key) > METADATA_KEY_LENGTH_MAX or "[" in key or "]" in key:
                raise invalid(f"Metadata keys may have {METADATA_KEY_LENGTH_MAX} characters and no brackets.", member)
            if len(_text(text, member)) > METADATA_VALUE_LENGTH_MAX:
                raise invalid(f"Metadata values may have {METADATA_VALUE_LENGTH_MAX} characters at most.", member)
            result[key] = text or None
        merge_metadata({}, result, name)
        return result


def merge_metadata(
    old: Mapping[str, str], sent: Mapping[str, str | None] | None, name: str = "metadata"
) -> dict[str, str]:
    """Return metadata after an update: None clears all, a None value drops its key, the rest is added."""
    if sent is None:
        return {}
    merged = {key: value for key, value in {**old, **sent}.items() if value is not None}
    if len(merged) > METADATA_KEYS_MAX:
        raise invalid(f"Metadata may have {METADATA_KEYS_MAX} keys at most.", name)
    return merged


def parse(fields: Mapping[str, Param], tree: Tree, prefix: str = "") -> dict[str, Any]:
    """Return the values of `tree` by the declaration `fields`; only what was sent is in the result."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}[{key}]" if prefix else key
        if key not in fields:
            raise unknown_parameter(name)
        values[key] = fields[key].read(value, name)
    for key, param in fields.items():
        if param.required and values.get(key) is None:
            raise missing_parameter(f"{prefix}[{key}]" if prefix else key)
    return values


RANGE = {bound: Timestamp() for bound in ("gt", "gte", "lt", "lte")}


@dataclass(frozen=True, kw_only=True)
class CreatedRange(Param):
    """An instant, or bounds around one, as lists take for `created`."""

    def convert(self, value: Any, name: str) -> dict[str, int]:
        """Return bounds; a bare instant is the bound on both sides."""
        if isinstance(value, dict):
            return parse(RANGE, value, name)
        instant = Timestamp().convert(value, name)
        return {"gte": instant, "lte": instant}


PAGING: dict[str, Param] = {
    "limit": Integer(minimum=1, maximum=100),
    "starting_after": Text(),
    "ending_before": Text(),
}
CREATED_PAGING: dict[str, Param] = PAGING | {"created": CreatedRange()}
