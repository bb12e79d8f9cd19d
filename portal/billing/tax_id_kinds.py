"""The kinds of tax ids that can be entered here, with what people call them. Stripe decides whether a number is one.

https://docs.stripe.com/billing/customer/tax-ids#supported-tax-id
"""

from __future__ import annotations

KINDS = {
    "eu_vat": ("EU VAT number", "DE123456789"),
    "gb_vat": ("UK VAT number", "GB123456789"),
    "us_ein": ("US employer identification number", "12-3456789"),
    "ca_bn": ("Canadian business number", "123456789"),
    "au_abn": ("Australian business number", "12345678912"),
    "nz_gst": ("New Zealand GST number", "123456789"),
    "ch_vat": ("Swiss VAT number", "CHE-123.456.789 MWST"),
    "no_vat": ("Norwegian VAT number", "123456789MVA"),
    "in_gst": ("Indian GST number", "12ABCDE1234F1Z5"),
}
VERIFICATIONS = {
    "pending": ("Being checked", "idle"),
    "verified": ("Verified", "ok"),
    "unverified": ("Not found", "warn"),
}


def kind_words(kind: str) -> str:
    """What a kind is called; one that is not offered here is read out: `br_cnpj` becomes `BR CNPJ`."""
    return KINDS[kind][0] if kind in KINDS else kind.replace("_", " ").upper()


def refusal_words(kind: str) -> str:
    """Why a number was not taken."""
    words, example = KINDS[kind]
    return f"Stripe says that this is no {words}. One looks like {example}."
