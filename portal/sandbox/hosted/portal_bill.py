"""What a step of the customer portal is going to bill, as its page shows it, and whether that is still so."""

from portal.sandbox import customer_balance
from portal.sandbox.hosted.portal_visit import Visit
from portal.sandbox.standing import card_of
from portal.sandbox.store import Object
from portal.sandbox.wording import date, money


def bill_of(invoice: Object, *, at_once: bool) -> Object:
    """Return what a page shows of an invoice that is to come, given in the wire form of a preview."""
    off = sum(one["amount"] for one in invoice["total_discount_amounts"])
    balance = customer_balance.told(invoice)
    return {
        "currency": invoice["currency"],
        "lines": [(line["description"] or "Other", line["amount"]) for line in invoice["lines"]["data"]],
        "sums": [*([("Discount", -off)] if off else []), *([balance] if balance else [])],
        "due": invoice["amount_due"],
        "when": "Due today" if at_once else f"Due on {date(invoice['created'])}",
        "now": invoice["amount_due"] if at_once else 0,
        "button": f"pay {money(invoice['amount_due'], invoice['currency'])}"
        if at_once and invoice["amount_due"]
        else "",
    }


def lacks_card(visit: Visit, subscription: Object, bill: Object) -> bool:
    """Say whether something is to be charged at once, and there is no card for it."""
    return bool(bill["now"]) and card_of(visit.call, subscription) is None


def is_as_shown(visit: Visit, bill: Object) -> bool:
    """Say whether what is due is what the page said when it was sent."""
    return visit.entered("due") == str(bill["now"])
