"""A team's invoices as pages and CSV show them. Drafts are not among them: what they come to may still change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from portal.billing.list_filters import Filters
from portal.billing.models import Invoice
from portal.billing.pay_now import left_to_pay
from portal.core.database import db
from portal.core.money import decimal_amount
from portal.core.pagination import Listing

INVOICES_SHOWN = 5
INVOICE_LABELS = {
    "open": ("Open", "warn"),
    "paid": ("Paid", "ok"),
    "uncollectible": ("Uncollectible", "bad"),
    "void": ("Void", "idle"),
}
CSV_HEADER = ("Date", "Number", "Status", "Description", "Total", "Paid", "Currency", "Invoice", "Page", "PDF")


@dataclass(frozen=True)
class InvoiceRow:
    """`net_cents` is what is left of the total when what was credited is taken off."""

    id: str
    number: str | None
    date: datetime
    description: str
    status: str
    status_label: str
    tone: str
    total_cents: int
    credited_cents: int
    net_cents: int
    to_pay: bool
    currency: str
    hosted_url: str | None
    pdf_url: str | None


def listing(team_id: str, filters: Filters) -> Listing[Invoice]:
    query = select(Invoice).where(Invoice.team_id == team_id, Invoice.status != "draft")
    if filters.status:
        query = query.where(Invoice.status == filters.status)
    return Listing(Invoice, Invoice.created_at, filters.within_days(query, Invoice.created_at), team_id)


def recent_invoices(team_id: str) -> list[InvoiceRow]:
    query = (
        select(Invoice)
        .where(Invoice.team_id == team_id, Invoice.status != "draft")
        .order_by(Invoice.created_at.desc(), Invoice.stripe_id.desc())
        .limit(INVOICES_SHOWN)
    )
    return [row_of(invoice) for invoice in db.session.execute(query).scalars()]


def unpaid_invoice(team_id: str) -> Invoice | None:
    """The newest invoice that still waits for its money."""
    query = select(Invoice).where(Invoice.team_id == team_id, Invoice.status == "open")
    return db.session.execute(query.order_by(Invoice.created_at.desc()).limit(1)).scalar_one_or_none()


def open_ids(team_id: str, invoice_stripe_ids: Iterable[str | None]) -> dict[str, str]:
    """Our ids of those of the team's invoices that still wait for their money, by Stripe's."""
    wanted = [stripe_id for stripe_id in invoice_stripe_ids if stripe_id is not None]
    query = select(Invoice.stripe_id, Invoice.id).where(
        Invoice.team_id == team_id, Invoice.stripe_id.in_(wanted), Invoice.status == "open"
    )
    return {row.stripe_id: row.id for row in db.session.execute(query)}


def row_of(invoice: Invoice) -> InvoiceRow:
    label, tone = INVOICE_LABELS.get(invoice.status, (invoice.status.capitalize(), "idle"))
    credited = invoice.credited_before + invoice.credited_after
    return InvoiceRow(
        id=invoice.id,
        number=invoice.number,
        date=invoice.created_at,
        description=invoice.description,
        status=invoice.status,
        status_label=label,
        tone=tone,
        total_cents=invoice.total,
        credited_cents=credited,
        net_cents=invoice.total - credited,
        to_pay=left_to_pay(invoice) > 0,
        currency=invoice.currency,
        hosted_url=invoice.hosted_invoice_url,
        pdf_url=invoice.invoice_pdf,
    )


def csv_row(invoice: Invoice) -> tuple[object, ...]:
    return (
        invoice.created_at,
        invoice.number,
        row_of(invoice).status_label,
        invoice.description,
        decimal_amount(invoice.total, invoice.currency),
        decimal_amount(invoice.amount_paid, invoice.currency),
        invoice.currency.upper(),
        invoice.stripe_id,
        invoice.hosted_invoice_url,
        invoice.invoice_pdf,
    )
