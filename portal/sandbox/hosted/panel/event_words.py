"""Events in words, for whoever reads a customer's story."""

from portal.sandbox.store import Object
from portal.sandbox.wording import money

_WORDS = {
    "charge.dispute.closed": "The dispute was closed",
    "charge.dispute.created": "A charge was disputed",
    "charge.dispute.funds_reinstated": "The disputed money came back",
    "charge.dispute.funds_withdrawn": "The disputed money was taken",
    "charge.dispute.updated": "The dispute changed",
    "charge.failed": "A charge was refused",
    "charge.pending": "A debit was taken, and the bank has not answered yet",
    "charge.refunded": "A charge was refunded",
    "charge.succeeded": "A charge succeeded",
    "checkout.session.async_payment_failed": "The bank did not pay for a checkout",
    "checkout.session.async_payment_succeeded": "The bank paid for a checkout",
    "checkout.session.completed": "A checkout was completed",
    "checkout.session.expired": "A checkout expired",
    "credit_note.created": "A credit note was made",
    "credit_note.updated": "The credit note changed",
    "credit_note.voided": "The credit note was made void",
    "customer.created": "The customer was made",
    "customer.deleted": "The customer was deleted",
    "customer.discount.created": "A discount was given",
    "customer.discount.deleted": "The discount is over",
    "customer.subscription.created": "A subscription began",
    "customer.subscription.deleted": "The subscription ended",
    "customer.subscription.paused": "The subscription was paused",
    "customer.subscription.resumed": "The subscription was resumed",
    "customer.subscription.trial_will_end": "The trial is about to end",
    "customer.subscription.updated": "The subscription changed",
    "customer.updated": "The customer changed",
    "entitlements.active_entitlement_summary.updated": "What the customer may do changed",
    "invoice.created": "An invoice was drafted",
    "invoice.finalized": "The invoice was finalized",
    "invoice.paid": "The invoice was paid",
    "invoice.payment_failed": "The invoice could not be paid",
    "invoice.payment_succeeded": "The invoice's payment succeeded",
    "invoice.updated": "The invoice changed",
    "invoice_payment.paid": "A payment was put to the invoice",
    "payment_intent.created": "A payment was begun",
    "payment_intent.payment_failed": "The payment failed",
    "payment_intent.processing": "The payment is on its way",
    "payment_intent.requires_action": "The bank asks who is paying",
    "payment_intent.succeeded": "The payment succeeded",
    "payment_method.attached": "A card was saved",
    "payment_method.detached": "A card was removed",
    "payment_method.updated": "A card changed",
    "quote.accepted": "A quote was accepted",
    "quote.canceled": "The quote was canceled",
    "quote.created": "A quote was drafted",
    "quote.finalized": "The quote can be accepted",
    "refund.created": "A refund was made",
    "refund.updated": "The refund changed",
    "refund.failed": "The refund failed",
    "setup_intent.succeeded": "A card was set up",
}
_SUMS = ("amount_total", "total", "amount")


def words_of(event: Object) -> str:
    """Return what an event says, in a few words; one without words of its own is told by its type."""
    kind = str(event["type"])
    return _WORDS.get(kind) or kind.replace("_", " ").replace(".", " ").capitalize()


def detail_of(obj: Object) -> str:
    """Return what distinguishes the object: its number, status, sum or card."""
    told = [str(obj[name]) for name in ("number", "status") if obj.get(name)]
    amount = next((obj[name] for name in _SUMS if isinstance(obj.get(name), int)), None)
    if amount is not None and obj.get("currency"):
        told.append(money(amount, obj["currency"]))
    card = obj.get("card")
    if isinstance(card, dict) and "last4" in card:
        told.append(f"{str(card['brand']).capitalize()} ending in {card['last4']}")
    return ", ".join(told)
