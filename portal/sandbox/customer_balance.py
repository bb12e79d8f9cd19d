"""What a customer's balance does to an invoice: credit pays first, and what is too little to charge waits there.

A balance below zero is credit, one above zero is owed, as at Stripe.
"""

# Stripe takes no card payment below this; what is less goes to the balance and is asked for with the next invoice.
CHARGE_MIN = 50


def apply(total: int, balance: int) -> tuple[int, int]:
    """Return what is due on an invoice, and the balance that it leaves behind."""
    due = total + balance
    if due <= 0:
        return 0, due
    return (due, 0) if due >= CHARGE_MIN else (0, due)
