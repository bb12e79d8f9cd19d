"""The mirror of credit notes. What they come to stands in the invoice's own row, which Stripe sums up."""

from __future__ import annotations

from sqlalchemy import select

from portal.billing.gateway import Gateway
from portal.billing.invoice_models import CreditNote
from portal.billing.mirror import Fetched, fetch, moment, store
from portal.billing.models import Invoice
from portal.core.database import db


def fetch_credit_note(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(CreditNote, stripe_id, gateway.credit_note)


def mirror_credit_note(fetched: Fetched, invoice: Invoice) -> CreditNote:
    """Write a note of `invoice`, whose row was written in this unit. Raises `StaleFetch`."""
    data = fetched.data
    values = {
        "team_id": invoice.team_id,
        "invoice_id": invoice.id,
        "number": data.get("number"),
        "status": data["status"],
        "amount": data["amount"],
        "before_payment": data.get("pre_payment_amount") or 0,
        "after_payment": data.get("post_payment_amount") or 0,
        "currency": data["currency"],
        "reason": data.get("reason"),
        "memo": data.get("memo"),
        "pdf": data.get("pdf"),
        "created_at": moment(data["created"]),
        "voided_at": moment(data.get("voided_at")),
    }
    return store(CreditNote, "note", fetched, values)


def notes_of(invoice_id: str) -> list[CreditNote]:
    """The credit notes of an invoice, oldest first."""
    query = select(CreditNote).where(CreditNote.invoice_id == invoice_id)
    return list(db.session.execute(query.order_by(CreditNote.created_at, CreditNote.stripe_id)).scalars())
