"""An invoice as a PDF file of one page."""

from portal.sandbox import customer_balance
from portal.sandbox.pdf import Page, fitting
from portal.sandbox.store import Object
from portal.sandbox.wording import NAMELESS, date, days, money

LINES_SHOWN = 16
_LEFT, _RIGHT = 56.0, 539.0
_PERIOD = 300.0


def invoice_file(invoice: Object, lines: list[Object], taxes: list[tuple[str, int]]) -> bytes:
    """Return the file; lines that do not fit on the page are counted in one. `taxes` are named as people read them."""
    page = Page(f"Invoice {invoice['number']}")
    page.text(_LEFT, 60, "Sandbox. No money moves, and this is no real invoice.", size=9, grey=True)
    page.text(_LEFT, 92, f"Invoice {invoice['number']}", size=20, bold=True)
    y = 126.0
    for label, words in _facts(invoice):
        page.text(_LEFT, y, label, grey=True)
        page.text(_LEFT + 90, y, fitting(words, _RIGHT - _LEFT - 90))
        y += 16
    y = _table(page, invoice, lines, y + 24)
    for label, amount in _sums(invoice, taxes):
        page.text(_PERIOD, y, label, bold=label == "Still due")
        page.text_right(_RIGHT, y, money(amount, invoice["currency"]), bold=label == "Still due")
        y += 18
    return page.file()


def _facts(invoice: Object) -> list[tuple[str, str]]:
    address = invoice["customer_address"] or {}
    place = ", ".join(
        filter(None, (address.get(part) for part in ("line1", "postal_code", "city", "state", "country")))
    )
    billed_to = [invoice["customer_name"], invoice["customer_email"], place]
    facts = [
        ("From", invoice["account_name"]),
        ("Status", str(invoice["status"]).capitalize()),
        ("Date", date(invoice["status_transitions"]["finalized_at"])),
    ]
    facts += [("Billed to" if number == 0 else "", text) for number, text in enumerate(filter(None, billed_to))]
    return facts + [("Tax id", one["value"]) for one in invoice["customer_tax_ids"]]


def _table(page: Page, invoice: Object, lines: list[Object], y: float) -> float:
    page.text(_LEFT, y, "Description", size=9, grey=True)
    page.text(_PERIOD, y, "Period", size=9, grey=True)
    page.text_right(_RIGHT, y, "Amount", size=9)
    page.rule(y + 8, _LEFT, _RIGHT)
    y += 26
    for line in lines[:LINES_SHOWN]:
        page.text(_LEFT, y, fitting(line["description"] or NAMELESS, _PERIOD - _LEFT - 12))
        page.text(_PERIOD, y, days(line["period"]["start"], line["period"]["end"]), size=8, grey=True)
        page.text_right(_RIGHT, y, money(line["amount"], line["currency"]))
        y += 18
    rest = lines[LINES_SHOWN:]
    if rest:
        page.text(_LEFT, y, f"{len(rest)} more lines")
        page.text_right(_RIGHT, y, money(sum(line["amount"] for line in rest), invoice["currency"]))
        y += 18
    page.rule(y - 4, _LEFT, _RIGHT)
    return y + 16


def _sums(invoice: Object, taxes: list[tuple[str, int]]) -> list[tuple[str, int]]:
    sums = [("Subtotal", invoice["subtotal"])] if invoice["subtotal"] != invoice["total"] else []
    return [
        *sums,
        *taxes,
        ("Total", invoice["total"]),
        *([told] if (told := customer_balance.told(invoice)) else []),
        ("Paid", invoice["amount_paid"]),
        ("Still due", invoice["amount_remaining"]),
    ]
