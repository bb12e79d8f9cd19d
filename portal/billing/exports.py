"""Invoices and payments as files, narrowed as their lists are."""

from __future__ import annotations

from portal.billing import invoice_list, payment_history
from portal.billing.list_filters import read_filters
from portal.billing.models import PAYMENT_STATUSES, PAYMENT_TYPES, Invoice, Payment
from portal.core.authz import Action
from portal.core.exporting import Export, ListingRows, Wanted, columns
from portal.core.pagination import Listing


def _invoices(wanted: Wanted) -> ListingRows:
    filters = read_filters(wanted.arguments, wanted.zone, statuses=invoice_list.INVOICE_LABELS)
    found = invoice_list.listing(wanted.team_id, filters)
    until = found.query.where(Invoice.created_at <= wanted.until)
    return ListingRows(Listing(Invoice, found.at, until, wanted.team_id), invoice_list.csv_row)


def _payments(wanted: Wanted) -> ListingRows:
    filters = read_filters(wanted.arguments, wanted.zone, types=PAYMENT_TYPES, statuses=PAYMENT_STATUSES)
    found = payment_history.listing(wanted.team_id, filters)
    until = found.query.where(Payment.occurred_at <= wanted.until)
    return ListingRows(Listing(Payment, found.at, until, wanted.team_id), payment_history.csv_rows(wanted.team_id))


def _words(labels: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: label for name, (label, _) in labels.items()}


EXPORTS = {
    "invoices": Export(
        title="Invoices",
        action=Action.VIEW_BILLING,
        columns=columns(invoice_list.CSV_HEADER, moments=("Date",), numbers=("Total", "Paid")),
        rows=_invoices,
        labels={"status": _words(invoice_list.INVOICE_LABELS)},
    ),
    "payments": Export(
        title="Payments",
        action=Action.VIEW_BILLING,
        columns=columns(payment_history.CSV_HEADER, moments=("Date",), numbers=("Amount", "Refunded")),
        rows=_payments,
        labels={"type": payment_history.TYPE_LABELS, "status": _words(payment_history.STATUS_LABELS)},
    ),
}
