"""Lines of metered use in plain words: Stripe's own name tiers, which no customer has heard of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from portal.billing.mirror import Json, ref
from portal.catalog.metered_queries import MeteredPrice, metered_for_stripe_price
from portal.core.money import money_words


@dataclass(frozen=True)
class Said:
    """A line as Stripe says it: its price, its words, how many and what they come to in the minor unit."""

    price: str | None
    description: str | None
    quantity: int | None
    amount: int


def line_words(line: Said) -> str:
    """What a line bills: of metered use how much was included, or lies beyond that and at what price; else Stripe's words."""
    price = metered_for_stripe_price(line.price) if line.price else None
    if price is None:
        return line.description or ""
    used = f"{line.quantity or 0:,}"
    if _is_included(line, price):
        return f"{price.meter_name}: {used} of {price.included:,} included"
    rate = money_words(price.overage_per_1000_cents, price.currency)
    beyond = " beyond what is included" if price.included else ""
    return f"{price.meter_name}{beyond}: {used} at {rate} for 1,000"


def meter_of(stripe_price_id: str | None) -> str | None:
    """The key of the meter whose use a line of this price bills; None for a line of something else."""
    price = metered_for_stripe_price(stripe_price_id) if stripe_price_id else None
    return price.meter_key if price else None


def _is_included(line: Said, price: MeteredPrice) -> bool:
    if not price.included:
        return False
    if "(Tier " in (line.description or ""):
        return "(Tier 1 " in (line.description or "")
    return line.amount == 0


def said_at_stripe(line: Json) -> Said:
    """A line of an invoice as Stripe has it."""
    price = ref(((line.get("pricing") or {}).get("price_details") or {}).get("price"))
    return Said(price, line.get("description"), line.get("quantity"), line["amount"])


def shown_words(shown: dict[str, Any]) -> dict[str, Any]:
    """The sums of a preview, with the lines of metered use in plain words."""
    return shown | {"lines": [line | {"description": line_words(_said(line))} for line in shown["lines"]]}


def _said(line: dict[str, Any]) -> Said:
    return Said(line.get("price"), line["description"], line.get("quantity"), line["amount"])


def invoice_words(description: str | None, lines: Sequence[Said]) -> str:
    """What an invoice is for, in one line: its own description, else that of its first line that is not metered use."""
    if description or not lines:
        return description or ""
    metered = {line.price for line in lines if line.price and metered_for_stripe_price(line.price) is not None}
    first = next((line for line in lines if line.price not in metered), None)
    if first is not None:
        return first.description or ""
    last = lines[-1]
    price = metered_for_stripe_price(last.price or "")
    return f"{price.meter_name} used" if price else last.description or ""
