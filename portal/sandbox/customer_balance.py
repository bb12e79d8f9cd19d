"""What a customer's balance does to an invoice: credit pays first, and what is too little to charge waits there.

A balance below zero is credit, one above zero is owed, as at Stripe.
"""

from portal.sandbox.store import Object

# Stripe takes no card payment below this; what is less goes to the balance and is asked for with the next invoice.
CHARGE_MIN = 50


def held(customer: Object, currency: str | None) -> int:
    """Return the balance that counts for an invoice: there is one in the customer's own currency only."""
    return int(customer["balance"]) if customer["currency"] in (None, currency) else 0


def apply(total: int, balance: int) -> tuple[int, int]:
    """Return what is due on an invoice, and the balance that it leaves behind."""
    due = total + balance
    if due <= 0:
        return 0, due
    return (due, 0) if due >= CHARGE_MIN else (0, due)


def told(invoice: Object) -> tuple[str, int] | None:
    """Return in words, and as the sum to add to the total, what a balance did to an invoice; None when it did nothing."""
    before, after = invoice["starting_balance"], invoice["ending_balance"] or 0
    if before == after:
        return None
    if invoice["total"] < 0:
        words = "Kept as credit"
    elif after > before:
        words = "Paid from credit" if before < 0 else "Carried to the next invoice"
    else:
        words = "Owed from before"
    return words, before - after
