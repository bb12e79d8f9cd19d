"""What somebody agrees to when auto-purchase is turned on, in words that are kept with their consent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portal.catalog.queries import BundlePrice
from portal.core.money import money_words
from portal.credits.purchase_size import Limits

# Goes up whenever the words below change in meaning: since 2 they say when the credits end.
TEXT_VERSION = 2
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
            "expires_after_months": self.bundle.expires_after_months,
            "unit_amount_cents": self.bundle.unit_amount_cents,
            "currency": self.bundle.currency,
            "day_count_max": self.limits.day_count,
            "month_count_max": self.limits.month_count,
            "day_cents_max": self.limits.day_cents,
            "month_cents_max": self.limits.month_cents,
        }


def gives_what_was_agreed(bundle: BundlePrice, agreed: dict[str, Any]) -> bool:
    """Whether a bundle gives no less than these terms of a consent say: as many credits, for as long.

    The oldest say nothing of an end, and so did their words.
    """
    months, least = bundle.expires_after_months, agreed.get("expires_after_months")
    for_as_long = months is None or "expires_after_months" not in agreed or (least is not None and months >= least)
    return bundle.credits >= agreed["credits"] and for_as_long


def agreed_words(seller: str) -> str:
    """The sentence beside the box that is ticked."""
    return AGREED.format(seller=seller)


def terms_words(terms: Terms) -> list[str]:
    """What the settings come to, a sentence each: when, what for how much, how often at most."""
    bundle, limits = terms.bundle, terms.limits
    price = money_words(bundle.unit_amount_cents, bundle.currency)
    ends = f", which stay valid for {valid}" if (valid := valid_words(bundle)) else ""
    day = f"{_times(limits.day_count)} and {money_words(limits.day_cents, bundle.currency)} a day"
    month = f"{_times(limits.month_count)} and {money_words(limits.month_cents, bundle.currency)} a calendar month"
    return [
        f"When fewer than {terms.threshold:,} {COUNTED[terms.counts]}, or when a use needs more than there is.",
        f"{bundle.credits:,} credits for {price}{ends}; several of them in one payment where one is not enough.",
        f"At most {day}, and {month} (UTC).",
    ]


def valid_words(bundle: BundlePrice) -> str | None:
    """How long the credits last; None for ever."""
    months = bundle.expires_after_months
    return None if months is None else "1 month" if months == 1 else f"{months:,} months"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def consent_words(terms: Terms, seller: str) -> str:
    """The whole of what was agreed to, as it is kept."""
    return "\n".join([agreed_words(seller), *terms_words(terms)])
