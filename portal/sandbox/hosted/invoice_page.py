"""The hosted invoice page `/i/<invoice>`, and the invoice as a file at `/i/<invoice>/pdf`."""

from flask import Flask, Response

from portal.sandbox import taxing
from portal.sandbox.customer_balance import told
from portal.sandbox.hosted.invoice_challenge_page import waiting_intent
from portal.sandbox.hosted.invoice_payment_page import can_be_paid
from portal.sandbox.hosted.invoice_pdf import invoice_file
from portal.sandbox.hosted.pages import guard, plain_page, show
from portal.sandbox.resources import invoice_lines
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page and the file their addresses in the app."""

    def invoice(invoice_id: str) -> Response:
        sandbox.settle()
        found = _find(sandbox, invoice_id)
        if found is None:
            return _nothing(sandbox)
        asks = waiting_intent(sandbox.call(), found[0]) is not None
        return show(
            sandbox,
            "invoice.html",
            invoice=found[0],
            lines=found[1],
            taxes=found[2],
            asks=asks,
            payable=can_be_paid(found[0]),
            balance=told(found[0]),
        )

    def invoice_pdf(invoice_id: str) -> Response:
        found = _find(sandbox, invoice_id)
        if found is None:
            return _nothing(sandbox)
        response = Response(invoice_file(*found), content_type="application/pdf")
        name = f"invoice-{found[0]['number']}.pdf"
        response.headers["Content-Disposition"] = f'inline; filename="{name}"'
        return guard(response)

    app.add_url_rule("/i/<invoice_id>", view_func=invoice)
    app.add_url_rule("/i/<invoice_id>/pdf", view_func=invoice_pdf)


def _find(sandbox: Sandbox, invoice_id: str) -> tuple[Object, list[Object], list[tuple[str, int]]] | None:
    """Return an invoice that may be shown, with its lines, and its taxes in words."""
    call = sandbox.call()
    with sandbox.store.lock:
        found = call.store.get("invoice", invoice_id)
        if found is None or found["status"] == "draft":
            return None
        return found, invoice_lines.of_invoice(call, invoice_id), taxing.told(call, found)


def _nothing(sandbox: Sandbox) -> Response:
    return plain_page(sandbox, 404, "No such invoice", "This address belongs to no invoice.")
