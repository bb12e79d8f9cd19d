"""Charts as pages show them: the numbers of a table, from which the browser draws the chart above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Beyond these, series become one that is called "Other": more colours could not be told apart.
SERIES_MAX = 4
OTHER_COLOUR = "5"
# Of what has not happened yet, and is in no sum with what has.
AHEAD = "ahead"


@dataclass(frozen=True)
class Series:
    """`colour` is one of `1` to `5` or `ahead`, the roles in `tokens.css`; without one it is only in the table."""

    label: str
    colour: str


@dataclass(frozen=True)
class Place:
    """A place on the axis with a number for each series; None draws nothing there."""

    label: str
    values: Sequence[int | None]


@dataclass(frozen=True)
class Chart:
    """`kind` is `bars` (stacked) or `line`; `finding` says in words what one sees, `caption` what the table holds.

    `head` is over the first column. With `sums` the table ends in the sum of each series, and each row in its own, into
    which nothing goes that is only foreseen.
    """

    id: str
    kind: str
    finding: str
    caption: str
    head: str
    series: Sequence[Series]
    places: Sequence[Place]
    sums: bool = True

    @property
    def totals(self) -> list[int]:
        """Of each series."""
        return [sum(place.values[index] or 0 for place in self.places) for index in range(len(self.series))]

    def sum_of(self, values: Sequence[int | None]) -> int:
        """Of a row, with a number for each series."""
        pairs = zip(self.series, values, strict=True)
        return sum(value or 0 for series, value in pairs if series.colour != AHEAD)
