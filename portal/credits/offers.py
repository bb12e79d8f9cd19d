"""The bundles on the credits page: what each gives and costs, and how much cheaper a credit gets."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from portal.catalog.pricing_page import less_text, per_credit_text
from portal.catalog.queries import BundlePrice


@dataclass(frozen=True)
class Offer:
    key: str
    credits: int
    cents: int
    currency: str
    per_credit_text: str
    less_text: str | None


def offers(bundles: list[BundlePrice]) -> list[Offer]:
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
        )
        for bundle in bundles
    ]
