"""One invoice as its page shows it: what it bills, what was paid, refunded and credited, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from portal.billing.credit_notes import notes_of
from portal.billing.invoice_list import InvoiceRow, row_of
from portal.billing.invoice_models import CreditNote, PaymentTry
from portal.billing.invoice_sums import Sums, sums_of
from portal.billing.leased_work import OPEN_STATES
from portal.billing.metered_words import Said, line_words, meter_of
from portal.billing.models import Invoice, Payment
from portal.billing.pay_now import left_to_pay
from portal.billing.payment_history import PaymentRow, rows_of
from portal.billing.payments import waits_for_bank
from portal.core.database import db

NOTE_REASONS = {
    "duplicate": "It was billed twice",
    "fraudulent": "It was not your order",
    "order_change": "The order has changed",
    "product_unsatisfactory": "It was not what it should be",
}


@dataclass(frozen=True)
class Line:
    """What is billed, for which time, and what it comes to in the minor unit; of metered use the meter as well."""

    description: str
    quantity: int | None
    since: datetime | None
    until: datetime | None
    amount: int
    meter_key: str | None


@dataclass(frozen=True)
class Note:
    """A credit note; `amount` is what it took off, in the minor unit."""

    number: str
    date: datetime
    amount: int
    words: str
    void: bool
    pdf: str | None


@dataclass(frozen=True)
class InvoicePage:
    """`asks`: the bank waits for an answer on Stripe's page. `try_id` is a try to pay that is under way."""

    row: InvoiceRow
    lines: list[Line]
    sums: Sums | None
    paid: int
    left: int
    paid_at: datetime | None
    next_try_at: datetime | None
    notes: list[Note]
    payments: list[PaymentRow]
    asks: bool
    try_id: str | None


def build(invoice: Invoice) -> InvoicePage:
    return InvoicePage(
        row=row_of(invoice),
        lines=[_line(line) for line in invoice.lines],
        sums=_sums(invoice),
        paid=invoice.amount_paid,
        left=left_to_pay(invoice),
        paid_at=invoice.paid_at,
        next_try_at=invoice.next_payment_attempt if invoice.status == "open" else None,
        notes=[_note(note) for note in notes_of(invoice.id)],
        payments=_payments(invoice),
        asks=left_to_pay(invoice) > 0 and waits_for_bank(invoice.stripe_id),
        try_id=_open_try(invoice.id),
    )


def _line(line: dict[str, Any]) -> Line:
    since, until = (datetime.fromtimestamp(line[name], UTC) for name in ("period_start", "period_end"))
    lasts = until > since
    return Line(
        line_words(Said(line.get("price"), line.get("description"), line.get("quantity"), line["amount"])),
        line.get("quantity"),
        since if lasts else None,
        until if lasts else None,
        line["amount"],
        meter_of(line.get("price")),
    )


def _sums(invoice: Invoice) -> Sums | None:
    """None of an invoice that was mirrored before they were kept."""
    if invoice.subtotal is None:
        return None
    return sums_of(invoice.subtotal, invoice.discount, invoice.tax, invoice.total)


def _note(note: CreditNote) -> Note:
    words = note.memo or NOTE_REASONS.get(note.reason or "", "")
    return Note(note.number or "", note.created_at, note.amount, words, note.status == "void", note.pdf)


def _payments(invoice: Invoice) -> list[PaymentRow]:
    """What was paid and given back, newest first. The way to pay it stands on the page itself."""
    mine = (Payment.team_id == invoice.team_id) & (Payment.invoice_stripe_id == invoice.stripe_id)
    query = select(Payment).where(mine).order_by(Payment.occurred_at.desc(), Payment.id.desc())
    return rows_of(invoice.team_id, list(db.session.execute(query).scalars()), way_out=False)


def _open_try(invoice_id: str) -> str | None:
    query = select(PaymentTry.id).where(PaymentTry.invoice_id == invoice_id, PaymentTry.state.in_(OPEN_STATES))
    return db.session.execute(query).scalar()
