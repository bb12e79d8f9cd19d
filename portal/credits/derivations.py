"""What an explanation is made of: terms that add up to the figure they explain, each with the way to what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Source:
    """What a term rests on: a `grant` (by its cause), an `entry` (by its version), an `invoice`, a `charge`, the `usage` of a
    time or the `history`. `arguments` are those of its page's address.
    """

    kind: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Term:
    """`amount` is in credits, negative for what went."""

    label: str
    amount: int
    note: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class Derivation:
    """`terms` add up to `result`. `heading` says of what, `total` what the result is called."""

    heading: str
    terms: Sequence[Term]
    total: str
    result: int
    source: Source | None = None


def derivation(
    heading: str, terms: Sequence[Term], total: str, result: int, source: Source | None = None
) -> Derivation:
    """The terms that say something, and the sum of them. A rest that they leave open is shown as that, and logged."""
    rest = result - sum(term.amount for term in terms)
    told = [term for term in terms if term.amount]
    if rest:
        log.error("figure_not_explained", heading=heading, rest=rest)
        told.append(Term("Not explained", rest, "We look into every such line."))
    return Derivation(heading, told, total, result, source)
