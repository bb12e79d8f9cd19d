"""A quote as a PDF file of one page."""

from portal.sandbox.call import ACCOUNT_NAME, Call
from portal.sandbox.pdf import Page, fitting
from portal.sandbox.registry import fetch
from portal.sandbox.resources import checkout_items
from portal.sandbox.store import Object
from portal.sandbox.wording import date, every, money, unit_price

LINES_SHOWN = 16
_LEFT, _RIGHT = 56.0, 539.0
_SUMS = 300.0


def quote_file(call: Call, quote: Object) -> bytes:
    """Return the file; lines that do not fit on the page are counted in one."""
    page = Page(f"Quote {quote['number']}")
    page.text(_LEFT, 60, "Sandbox. No money moves, and this is no real quote.", size=9, grey=True)
    page.text(_LEFT, 92, quote["header"] or f"Quote {quote['number']}", size=20, bold=True)
    y = 126.0
    for label, words in _facts(call, quote):
        page.text(_LEFT, y, label, grey=True)
        page.text(_LEFT + 90, y, fitting(words, _RIGHT - _LEFT - 90))
        y += 16
    y = _table(call, page, quote, y + 24)
    for label, amount in _sums(quote):
        page.text(_SUMS, y, label)
        page.text_right(_RIGHT, y, amount)
        y += 18
    if quote["footer"]:
        page.text(_LEFT, y + 24, fitting(quote["footer"], _RIGHT - _LEFT), size=9, grey=True)
    return page.file()


def _facts(call: Call, quote: Object) -> list[tuple[str, str]]:
    customer = fetch(call, "customer", quote["customer"], with_deleted=True)
    name = ", ".join(filter(None, (customer["name"], customer["email"]))) or customer["id"]
    facts = [("From", ACCOUNT_NAME), ("For", name), ("Number", quote["number"]), ("Until", date(quote["expires_at"]))]
    return facts + ([("About", quote["description"])] if quote["description"] else [])


def _table(call: Call, page: Page, quote: Object, y: float) -> float:
    page.text(_LEFT, y, "Description", size=9, grey=True)
    page.text_right(_RIGHT, y, "Amount", size=9)
    page.rule(y + 8, _LEFT, _RIGHT)
    y += 26
    items = checkout_items.of_session(call, quote["id"])
    for item in items[:LINES_SHOWN]:
        price = fetch(call, "price", item["price"])
        words = f"{item['quantity']} \u00d7 {item['description']} (at {unit_price(price)})"
        page.text(_LEFT, y, fitting(words, _RIGHT - _LEFT - 100))
        page.text_right(_RIGHT, y, money(item["amount_subtotal"], item["currency"]))
        y += 18
    rest = items[LINES_SHOWN:]
    if rest:
        page.text(_LEFT, y, f"{len(rest)} more lines")
        page.text_right(_RIGHT, y, money(sum(item["amount_subtotal"] for item in rest), quote["currency"]))
        y += 18
    page.rule(y - 4, _LEFT, _RIGHT)
    return y + 16


def _sums(quote: Object) -> list[tuple[str, str]]:
    details, currency = quote["total_details"], quote["currency"]
    again, upfront = quote["computed"]["recurring"], quote["computed"]["upfront"]
    sums = [
        ("Discount", -details["amount_discount"]),
        ("Tax", details["amount_tax"]),
    ]
    told = [(label, money(amount, currency)) for label, amount in sums if amount]
    told.append(("Due when accepted", money(upfront["amount_total"], currency)))
    if again is not None:
        told.append((f"Then every {every(again)}", money(again["amount_total"], currency)))
    return told
