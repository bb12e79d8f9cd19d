"""The hosted invoice page: `/i/<invoice>`, and the same page to print at `/i/<invoice>/pdf`."""

from flask import Flask, Response

from portal.sandbox.hosted.pages import plain_page, show
from portal.sandbox.resources import invoice_lines
from portal.sandbox.sandbox import Sandbox


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the pages their addresses in the app."""

    def invoice(invoice_id: str) -> Response:
        call = sandbox.call()
        with sandbox.store.lock:
            found = call.store.get("invoice", invoice_id)
            if found is None or found["status"] == "draft":
                return plain_page(sandbox, 404, "No such invoice", "This address belongs to no invoice.")
            lines = invoice_lines.of_invoice(call, invoice_id)
        return show(sandbox, "invoice.html", invoice=found, lines=lines)

    app.add_url_rule("/i/<invoice_id>", view_func=invoice)
    app.add_url_rule("/i/<invoice_id>/pdf", endpoint="invoice_pdf", view_func=invoice)
