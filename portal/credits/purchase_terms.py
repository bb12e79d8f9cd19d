"""What somebody agrees to when auto-purchase is turned on, in words that are kept with their consent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portal.catalog.queries import BundlePrice
from portal.core.money import money_words
from portal.credits.purchase_size import Limits

# Goes up whenever the words below change in meaning.
TEXT_VERSION = 1
AGREED = "I allow {seller} to charge our saved card by these settings, without asking each time, until it is turned off here."
COUNTED = {
    "total": "credits are left in total",
    "subscription": "credits of the plan are left, counting what auto-purchase has bought and no other bundles or gifts",
}


@dataclass(frozen=True)
class Terms:
    """`threshold` is in credits: fewer than that start a purchase. `bundle` is what is bought, at the price of now."""

    threshold: int
    counts: str
    bundle: BundlePrice
    limits: Limits

    def as_json(self) -> dict[str, Any]:
        """The terms as they are kept with the consent."""
        return {
            "threshold": self.threshold,
            "counts": self.counts,
            "bundle": self.bundle.bundle_key,
            "price_id": self.bundle.price_id,
            "credits": self.bundle.credits,
            "unit_amount_cents": self.bundle.unit_amount_cents,
            "currency": self.bundle.currency,
            "day_count_max": self.limits.day_count,
            "month_count_max": self.limits.month_count,
            "day_cents_max": self.limits.day_cents,
            "month_cents_max": self.limits.month_cents,
        }


def agreed_words(seller: str) -> str:
    """The sentence beside the box that is ticked."""
    return AGREED.format(seller=seller)


def terms_words(terms: Terms) -> list[str]:
    """What the settings come to, a sentence each: when, what for how much, how often at most."""
    bundle, limits = terms.bundle, terms.limits
    price = money_words(bundle.unit_amount_cents, bundle.currency)
    day = f"{_times(limits.day_count)} and {money_words(limits.day_cents, bundle.currency)} a day"
    month = f"{_times(limits.month_count)} and {money_words(limits.month_cents, bundle.currency)} a calendar month"
    return [
        f"When fewer than {terms.threshold:,} {COUNTED[terms.counts]}, or when a use needs more than there is.",
        f"{bundle.credits:,} credits for {price}; several of them in one payment where one is not enough.",
        f"At most {day}, and {month} (UTC).",
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def consent_words(terms: Terms, seller: str) -> str:
    """The whole of what was agreed to, as it is kept."""
    return "\n".join([agreed_words(seller), *terms_words(terms)])
