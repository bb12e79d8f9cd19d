"""Where tax is collected, and how much: the percentages of one account's registrations, by country and US state.

Small on purpose: standard rates only, whatever is sold. They are the sandbox's own, not advice about tax.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Levy:
    """A tax: how many percent, Stripe's word for its kind, and what it is called on invoices."""

    percentage: Decimal
    tax_type: str
    display_name: str
    country: str
    state: str | None = None


def _vat(country: str, percentage: str) -> Levy:
    return Levy(Decimal(percentage), "vat", "VAT", country)


def _gst(country: str, percentage: str) -> Levy:
    return Levy(Decimal(percentage), "gst", "GST", country)


def _sales(state: str, percentage: str) -> Levy:
    return Levy(Decimal(percentage), "sales_tax", "Sales tax", "US", state)


_LEVIES = (
    _vat("AT", "20"),
    _vat("BE", "21"),
    _vat("CH", "8.1"),
    _vat("DE", "19"),
    _vat("DK", "25"),
    _vat("ES", "21"),
    _vat("FI", "25.5"),
    _vat("FR", "20"),
    _vat("GB", "20"),
    _vat("IE", "23"),
    _vat("IT", "22"),
    _vat("LU", "17"),
    _vat("NL", "21"),
    _vat("NO", "25"),
    _vat("PL", "23"),
    _vat("PT", "23"),
    _vat("SE", "25"),
    _gst("AU", "10"),
    _gst("CA", "5"),
    _gst("NZ", "15"),
    _gst("SG", "9"),
    _sales("NY", "4"),
    _sales("PA", "6"),
    _sales("TX", "6.25"),
    _sales("WA", "6.5"),
)
LEVIES = {(levy.country, levy.state): levy for levy in _LEVIES}
