"""Sums, periods and dates as people read them, on hosted pages and in descriptions."""

from datetime import UTC, datetime
from decimal import Decimal

from babel import Locale

from portal.sandbox.store import Object

_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "cad": "CA$", "aud": "A$"}
_WITHOUT_MINOR_UNIT = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)

_NO_COUNTRIES = ("EU", "EZ", "QO", "UN", "XA", "XB", "ZZ")
_TERRITORIES = Locale("en").territories
COUNTRIES = {
    code: name
    for code, name in sorted(_TERRITORIES.items(), key=lambda one: one[1])
    if len(code) == 2 and code not in _NO_COUNTRIES
}

# What is billed by hand need not have a description.
NAMELESS = "Other"


def money(amount: int, currency: str) -> str:
    """Return an amount of the currency's smallest unit, such as `$1,290.00`."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    figure = f"{size:,}" if currency in _WITHOUT_MINOR_UNIT else f"{size // 100:,}.{size % 100:02d}"
    symbol = _SYMBOLS.get(currency, f"{currency.upper()} ")
    return f"{sign}{symbol}{figure}"


def every(recurring: Object | None) -> str:
    """Return how often a price is due: `month`, `3 months`, or nothing for a price that is paid once."""
    if recurring is None:
        return ""
    count, interval = recurring["interval_count"], str(recurring["interval"])
    return interval if count == 1 else f"{count} {interval}s"


def unit_price(price: Object) -> str:
    """Return what one unit costs, such as `$29.00 / month`."""
    period = every(price["recurring"])
    if price["unit_amount"] is None:
        return f"by usage / {period}"
    cost = money(price["unit_amount"], price["currency"])
    return f"{cost} / {period}" if period else cost


def fine_money(amount: Decimal, currency: str) -> str:
    """Return an amount of the smallest unit that need not be whole, such as `$0.001`."""
    if amount == amount.to_integral_value():
        return money(int(amount), currency)
    size = amount if currency in _WITHOUT_MINOR_UNIT else amount / 100
    return f"{_SYMBOLS.get(currency, f'{currency.upper()} ')}{size.normalize():f}"


def address(parts: Object) -> str:
    """Return an address in one line, as far as it is known."""
    town = " ".join(filter(None, (parts["postal_code"], parts["city"])))
    return ", ".join(filter(None, (parts["line1"], parts["line2"], town, parts["state"], parts["country"])))


def date(timestamp: int) -> str:
    """Return a day in UTC, such as `21 November 2026`."""
    at = datetime.fromtimestamp(timestamp, UTC)
    return f"{at.day} {at:%B %Y}"


def short_date(timestamp: int) -> str:
    """Return a day in UTC as invoice lines name it, such as `21 Nov 2026`."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%d %b %Y}"


def days(start: int, end: int) -> str:
    """Return a period by its first and last instants, or the one day of what has no length."""
    return date(start) if start == end else f"{date(start)} to {date(end)}"


def ahead(seconds: int) -> str:
    """Return how far a clock that only moves forward is ahead of the wall, such as `30 days and 2 h ahead of the wall`."""
    whole_days, rest = divmod(seconds, 86400)
    parts = [f"{whole_days} {'day' if whole_days == 1 else 'days'}"] if whole_days else []
    parts += [f"{number} {unit}" for number, unit in ((rest // 3600, "h"), (rest // 60 % 60, "min")) if number]
    return f"{' and '.join((parts or [f'{seconds} s'])[:2])} ahead of the wall" if seconds else "as on the wall"


def time_of_day(timestamp: int) -> str:
    """Return the time of an instant in UTC."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%H:%M:%S}"


def moment(timestamp: float) -> str:
    """Return an instant in UTC to the second."""
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
