"""Money is an integer in the currency's minor unit with its ISO code; it becomes words only here."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import format_currency, get_currency_precision
from markupsafe import Markup

LOCALE = "en_US"


def amount_text(minor: int, currency: str, *, short: bool = False) -> str:
    """`128400, "usd"` → `$1,284.00`; `short` drops a fraction of zero. A true minus sign stands in front."""
    code = currency.upper()
    precision = get_currency_precision(code)
    value = Decimal(abs(minor)).scaleb(-precision)
    words = format_currency(value, code, locale=LOCALE, decimal_quantization=False, format=_pattern(precision))
    if short and precision and minor % 10**precision == 0:
        words = words[: -(precision + 1)]
    return ("\u2212" if minor < 0 else "") + words


def decimal_amount(minor: int, currency: str) -> Decimal:
    """An amount in the currency's main unit, exactly: `128400, "usd"` → `1284.00`. For files that programs read."""
    return Decimal(minor).scaleb(-get_currency_precision(currency.upper()))


def _pattern(precision: int) -> str:
    return "\u00a4#,##0" + ("." + "0" * precision if precision else "")


def money_markup(minor: int, currency: str) -> Markup:
    """An amount for a page, with the currency's code in the quieter style."""
    return Markup('<span class="tp-money">{} <span class="tp-money__code">{}</span></span>').format(
        amount_text(minor, currency), currency.upper()
    )


def money_words(minor: int, currency: str) -> str:
    """An amount for plain text: `$29.00 USD`."""
    return f"{amount_text(minor, currency)} {currency.upper()}"
