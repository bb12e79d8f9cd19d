"""How the total of an invoice comes about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sums:
    """In the minor unit. `tax_inside`: the prices hold the tax already, so that it is told and not added."""

    subtotal: int
    discount: int
    tax: int
    tax_inside: bool
    total: int

    @property
    def of_parts(self) -> bool:
        """Whether there is more to tell than the total."""
        return bool(self.discount or self.tax)


def sums_of(subtotal: int, discount: int, tax: int, total: int) -> Sums:
    return Sums(subtotal, discount, tax, tax_inside=bool(tax) and subtotal - discount == total, total=total)
