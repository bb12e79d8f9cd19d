"""What can be taken away as a file: each feature names its own in `EXPORTS` of its module `exports`.

The feature says which rows there are and how each is written; making the file, its progress and its end are the same for
all (`portal/exports`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from werkzeug.exceptions import UnprocessableEntity

from portal.core.authz import Action
from portal.core.pagination import Listing
from portal.core.times import instant_in

Row = Sequence[object]


@dataclass(frozen=True)
class Column:
    """`kind`: text, number (an int or a Decimal) or moment (an aware datetime); None may stand in any."""

    title: str
    kind: str = "text"


@dataclass(frozen=True)
class Wanted:
    """What was asked for. `arguments` narrow it as they do in the address of the list; `zone` is the one days are meant in.

    No row is newer than `until`, so that a list which grows meanwhile has an end.
    """

    team_id: str
    zone: str
    arguments: Mapping[str, str]
    until: datetime


@dataclass(frozen=True)
class Part:
    """Rows that follow each other, and from where to go on; None after the last one."""

    rows: list[Row]
    last: str | None


class Rows(Protocol):
    def count(self, at_most: int) -> int:
        """How many there are; `at_most` if there are more, which are not read then."""
        ...

    def part(self, after: str | None, limit: int) -> Part:
        """The `limit` rows that follow `after`, newest first."""
        ...


@dataclass(frozen=True)
class Export:
    """`rows` raises `UnprocessableEntity` (or 400) for arguments that the list does not offer.

    `labels` has what the list can be narrowed by beside its days, with the words of each value, and `instants` what of that
    is an instant (`read_instant`). `of_billing`: hidden wherever billing is. `readers_days`: days are meant in the zone of
    whoever asks, and not of the team.
    """

    title: str
    action: Action
    columns: tuple[Column, ...]
    rows: Callable[[Wanted], Rows]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    instants: tuple[str, ...] = ()
    of_billing: bool = True
    readers_days: bool = False


def read_instant(arguments: Mapping[str, str], name: str) -> datetime | None:
    """Raises `UnprocessableEntity` for what no page would write."""
    text = arguments.get(name)
    found = instant_in(text)
    if text and found is None:
        raise UnprocessableEntity("An instant is written like 2026-11-25T09:30:00+00:00.")
    return found


def columns(
    header: Iterable[str], *, moments: Collection[str] = (), numbers: Collection[str] = ()
) -> tuple[Column, ...]:
    kinds = dict.fromkeys(moments, "moment") | dict.fromkeys(numbers, "number")
    return tuple(Column(title, kinds.get(title, "text")) for title in header)


@dataclass(frozen=True)
class ListingRows:
    """The rows of a list that pages show, each written by `write`."""

    listing: Listing[Any]
    write: Callable[[Any], Row]

    def count(self, at_most: int) -> int:
        return self.listing.count(at_most)

    def part(self, after: str | None, limit: int) -> Part:
        found = self.listing.part(after, limit)
        return Part([self.write(row) for row in found], found[-1].id if len(found) == limit else None)
