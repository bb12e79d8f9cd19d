"""Charging an invoice that somebody asked to be charged: once, or not at all.

After Stripe was asked, the truth is looked up: whoever takes a try over, after a timeout or a death, looks at the invoice
first and then asks again under the same key, under which Stripe gives the same answer for a day and charges nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import select

from portal.billing import leased_work
from portal.billing.gateway import (
    CardDeclined,
    Failed,
    Gateway,
    InFlight,
    InvalidRequest,
    RateLimited,
    Unavailable,
)
from portal.billing.invoice_intent import ASKS, UNDER_WAY, failure_code, intent_of
from portal.billing.invoice_models import PaymentTry
from portal.billing.mirror import Json
from portal.billing.models import Invoice
from portal.billing.pay_now import PAYABLE
from portal.billing.pay_outcome import Apply, Outcome, record
from portal.core import clock
from portal.core.failpoints import failpoint
from portal.core.unit_of_work import end_read, unit_of_work

log = structlog.get_logger(__name__)

# Who pressed the button waits for it: hours later it would charge somebody who has long gone on.
SENT_WITHIN = timedelta(hours=1)
# How long Stripe surely gives the same answer under a key.
KEYS_LAST = timedelta(hours=23)
# How long a bank's question is waited for.
ANSWERED_WITHIN = timedelta(hours=24)
# A person waits on the page and can answer the bank.
PRESENT = {"off_session": False}


@dataclass(frozen=True)
class Work:
    """A try under our lease, and the invoice's id at Stripe."""

    row: PaymentTry
    token: str
    invoice_stripe_id: str


def drain(gateway: Callable[[], Gateway], apply: Apply, at_most: int) -> int:
    """Carry out tries until none is due, `at_most` were looked at, or this process is to end; returns how many.

    `apply` writes the purchase and what follows from it, in the unit that records the outcome.
    """
    return leased_work.drain(_claim, lambda work: _carry_out(gateway(), work, apply), at_most)


def _claim() -> Work | None:
    found = leased_work.claim(PaymentTry)
    if found is None:
        return None
    row, token = found
    with unit_of_work() as session:
        invoice_id = session.execute(select(Invoice.stripe_id).where(Invoice.id == row.invoice_id)).scalar_one()
    return Work(row, token, invoice_id)


def _carry_out(stripe: Gateway, work: Work, apply: Apply) -> None:
    failpoint("tries.claimed")
    with leased_work.one_try(work.row, work.token, failed="payment_try_failed", stuck="stuck_payment"):
        outcome = _outcome(stripe, work)
        failpoint("tries.asked")
        record(stripe, work.row, work.token, work.invoice_stripe_id, outcome, apply)


def _outcome(stripe: Gateway, work: Work) -> Outcome:
    end_read()
    try:
        return _do(stripe, work)
    except (InFlight, RateLimited):
        return Outcome("again")
    except Unavailable:
        return Outcome("unknown" if leased_work.was_sent(work.row) else "again")
    except InvalidRequest as error:
        log.exception("payment_refused_by_stripe", code=error.code, param=error.param)
        return Outcome("failed", "refused_by_stripe")


def _do(stripe: Gateway, work: Work) -> Outcome:
    invoice = stripe.invoice(work.invoice_stripe_id)
    settled = _settled(invoice)
    if settled is not None:
        return settled
    if work.row.state == "requires_action":
        return _answer(stripe, work, invoice)
    return _why_not(stripe, work, invoice) or _charge(stripe, work, invoice)


def _charge(stripe: Gateway, work: Work, invoice: Json) -> Outcome:
    leased_work.note_sending(work.row, work.token)
    failpoint("tries.sending")
    try:
        stripe.pay_invoice(invoice["id"], PRESENT, work.row.idempotency_key)
    except CardDeclined as error:
        return _declined(stripe, invoice, error)
    except InvalidRequest:  # paid or closed a moment ago, or waiting for the bank
        known = _as_it_stands(stripe, work)
        if known is None:
            raise
        return known
    except Failed as error:
        if not error.replayed:
            raise
        # An old answer: whatever it was the answer to is over, and this key will never bring another one.
        return _as_it_stands(stripe, work) or Outcome("failed", "failed_at_stripe")
    failpoint("tries.sent")
    return _as_it_stands(stripe, work) or Outcome("unknown")


def _settled(invoice: Json) -> Outcome | None:
    if invoice["status"] == "paid":
        return Outcome("paid")
    return None if invoice["status"] in PAYABLE else Outcome("failed", "closed")


def _why_not(stripe: Gateway, work: Work, invoice: Json) -> Outcome | None:
    """Why the card may not be charged now."""
    now, sent_at = clock.now(), work.row.first_sent_at
    end_read()
    if sent_at is not None:
        over = now - sent_at > KEYS_LAST
        return (_as_it_stands(stripe, work) or Outcome("failed", "failed_at_stripe")) if over else None
    if now - work.row.created_at > SENT_WITHIN:
        return Outcome("failed", "too_late")
    if invoice["amount_remaining"] > work.row.amount:
        return Outcome("failed", "amount_changed")
    if intent_of(stripe, invoice["id"])["status"] == UNDER_WAY:
        return Outcome("failed", "under_way")
    return None


def _declined(stripe: Gateway, invoice: Json, error: CardDeclined) -> Outcome:
    """The bank said no, or it asks: only the intent says which, also when this is an old answer told once more."""
    intent = intent_of(stripe, invoice["id"])
    if intent["status"] == ASKS:
        return Outcome(ASKS, confirm_url=invoice["hosted_invoice_url"])
    if intent["status"] in (UNDER_WAY, "succeeded"):
        return Outcome("unknown")
    return Outcome("failed", failure_code(intent) or error.code or "card_declined", declined=True)


def _as_it_stands(stripe: Gateway, work: Work) -> Outcome | None:
    """What the invoice says by now; None when it is still open and nothing is under way."""
    invoice = stripe.invoice(work.invoice_stripe_id)
    settled = _settled(invoice)
    if settled is not None:
        return settled
    intent = intent_of(stripe, invoice["id"])
    if intent["status"] == ASKS:
        return Outcome(ASKS, confirm_url=invoice["hosted_invoice_url"])
    return Outcome("unknown") if intent["status"] == UNDER_WAY else None


def _answer(stripe: Gateway, work: Work, invoice: Json) -> Outcome:
    """What came of the bank's question."""
    late = clock.now() - work.row.created_at > ANSWERED_WITHIN
    end_read()
    intent = intent_of(stripe, invoice["id"])
    if intent["status"] == UNDER_WAY:
        return Outcome("unknown")
    if intent["status"] != ASKS:
        return Outcome("failed", failure_code(intent) or "not_confirmed", declined=True)
    if late:
        return Outcome("failed", "not_confirmed")
    return Outcome(ASKS, confirm_url=invoice["hosted_invoice_url"])
