"""What the page says of a try to pay an invoice: a reading of our own rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from portal.billing.failure_words import payment_failure
from portal.billing.invoice_models import PaymentTry
from portal.billing.models import Invoice
from portal.core import clock
from portal.core.database import db

SLOW_AFTER = timedelta(seconds=60)

FAILURES = {
    "refused_by_stripe": "Stripe did not take the payment. Nothing was charged. We have been told.",
    "failed_at_stripe": "Something failed at Stripe. Nothing was charged.",
    "not_confirmed": "The bank wanted the payment to be confirmed, and it was not. Nothing was charged.",
    "closed": "The invoice has been closed meanwhile, so there is nothing to pay. Nothing was charged.",
    "too_late": "It took too long until Stripe could be asked, so we did not. Nothing was charged.",
    "amount_changed": "The invoice asks for more by now than when you pressed the button. Nothing was charged.",
    "replaced": "It was asked for once more meanwhile, and that is what counts. Nothing was charged here.",
    "under_way": "Another payment of this invoice is on its way already. Nothing more was charged.",
}
# What another card does not mend.
NOT_THE_CARD = (
    "refused_by_stripe",
    "failed_at_stripe",
    "closed",
    "too_late",
    "amount_changed",
    "replaced",
    "under_way",
)


@dataclass(frozen=True)
class PayStatus:
    """`kind` is waiting, slow, action, paid or failed; the amount is in the minor unit."""

    kind: str
    invoice_id: str
    number: str | None
    amount: int
    currency: str
    confirm_url: str | None
    failure: str | None
    card_helps: bool


def read(row: PaymentTry) -> PayStatus:
    number = db.session.execute(select(Invoice.number).where(Invoice.id == row.invoice_id)).scalar_one()
    code = row.failure_code
    return PayStatus(
        kind=_kind(row),
        invoice_id=row.invoice_id,
        number=number,
        amount=row.amount,
        currency=row.currency,
        confirm_url=row.confirm_url,
        failure=(FAILURES.get(code or "") or payment_failure(code)) if row.state == "failed" else None,
        card_helps=code not in NOT_THE_CARD,
    )


def _kind(row: PaymentTry) -> str:
    if row.state in ("paid", "failed"):
        return row.state
    if row.state == "requires_action":
        return "action"
    return "slow" if clock.now() - row.created_at > SLOW_AFTER else "waiting"
