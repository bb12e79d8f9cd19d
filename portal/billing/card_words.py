"""A card as its owner recognises it."""

from __future__ import annotations

from dataclasses import dataclass

from portal.billing.models import PaymentMethod

BRANDS = {"amex": "American Express", "mastercard": "Mastercard", "visa": "Visa", "jcb": "JCB", "unionpay": "UnionPay"}


@dataclass(frozen=True)
class Card:
    brand_label: str
    last4: str
    exp_month: int
    exp_year: int


def card_of(method: PaymentMethod | None) -> Card | None:
    """The card of a payment method; None for other kinds, of which nothing is shown."""
    if method is None or method.last4 is None or method.exp_month is None or method.exp_year is None:
        return None
    return Card(brand_label(method.brand), method.last4, method.exp_month, method.exp_year)


def brand_label(brand: str | None) -> str:
    return BRANDS.get(brand or "", (brand or "card").capitalize())
