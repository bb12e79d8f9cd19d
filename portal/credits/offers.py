"""The bundles on the credits page: what each gives and costs, how much cheaper a credit gets, and how many are left to buy."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from portal.billing.bundle_sale import Allowance, allowance, bundles_for, page_under_way
from portal.billing.hosted_pages import is_hosted
from portal.catalog.pricing_page import less_text, per_credit_text
from portal.catalog.queries import BundlePrice


@dataclass(frozen=True)
class Offer:
    """`allowance` of None: a team may buy it as often as it likes. `open_url` is a page that keeps it from being bought."""

    key: str
    credits: int
    cents: int
    currency: str
    per_credit_text: str
    less_text: str | None
    allowance: Allowance | None
    open_url: str | None

    @property
    def can_be_bought(self) -> bool:
        return self.allowance is None or self.allowance.left > 0


def offers(team_id: str) -> list[Offer]:
    """What the team can buy now, and what it has bought as often as it may."""
    bundles = bundles_for(team_id)
    each = {bundle.bundle_key: Decimal(bundle.unit_amount_cents) / bundle.credits for bundle in bundles}
    dearest = max(each.values(), default=Decimal(0))
    return [_offer(team_id, bundle, each[bundle.bundle_key], dearest) for bundle in bundles]


def _offer(team_id: str, bundle: BundlePrice, each: Decimal, dearest: Decimal) -> Offer:
    allowed = allowance(team_id, bundle)
    waits = allowed is not None and not allowed.left and allowed.under_way
    open_url = page_under_way(team_id, bundle) if waits else None
    return Offer(
        key=bundle.bundle_key,
        credits=bundle.credits,
        cents=bundle.unit_amount_cents,
        currency=bundle.currency,
        per_credit_text=per_credit_text(bundle.unit_amount_cents, bundle.credits, bundle.currency),
        less_text=less_text(each, dearest),
        allowance=allowed,
        open_url=open_url if open_url and is_hosted(open_url) else None,
    )


def chosen_of(found: list[Offer], asked: str | None) -> str | None:
    """The bundle that is chosen at first: the one asked for, else the first; None when none can be bought."""
    buyable = [offer.key for offer in found if offer.can_be_bought]
    return asked if asked in buyable else next(iter(buyable), None)
