"""The bundles on the credits page: what each gives and costs, how much cheaper a credit gets, and how many are left to buy."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from portal.billing.bundle_sale import bundles_for, left_this_month
from portal.catalog.pricing_page import less_text, per_credit_text


@dataclass(frozen=True)
class Offer:
    """`left` of `limit` may still be bought this month; both are None where a team may buy as often as it likes."""

    key: str
    credits: int
    cents: int
    currency: str
    per_credit_text: str
    less_text: str | None
    limit: int | None
    left: int | None

    @property
    def sold_out(self) -> bool:
        return self.left == 0


def offers(team_id: str) -> list[Offer]:
    """What the team can buy now, and what it has bought as often as it may."""
    bundles = bundles_for(team_id)
    each = {bundle.bundle_key: Decimal(bundle.unit_amount_cents) / bundle.credits for bundle in bundles}
    dearest = max(each.values(), default=Decimal(0))
    return [
        Offer(
            key=bundle.bundle_key,
            credits=bundle.credits,
            cents=bundle.unit_amount_cents,
            currency=bundle.currency,
            per_credit_text=per_credit_text(bundle.unit_amount_cents, bundle.credits, bundle.currency),
            less_text=less_text(each[bundle.bundle_key], dearest),
            limit=bundle.limit_per_month,
            left=left_this_month(team_id, bundle),
        )
        for bundle in bundles
    ]


def chosen_of(found: list[Offer], asked: str | None) -> str | None:
    """The bundle that is chosen at first: the one asked for, else the first; None when none can be bought."""
    buyable = [offer.key for offer in found if not offer.sold_out]
    return asked if asked in buyable else next(iter(buyable), None)
