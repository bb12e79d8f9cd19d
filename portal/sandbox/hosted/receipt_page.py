"""The receipt of a payment: `/r/<charge>`."""

from flask import Flask, Response

from portal.sandbox.hosted.pages import plain_page, show
from portal.sandbox.sandbox import Sandbox


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def receipt(charge_id: str) -> Response:
        call = sandbox.call()
        with sandbox.store.lock:
            found = call.store.get("charge", charge_id)
        if found is None or not found["paid"]:
            return plain_page(sandbox, 404, "No such receipt", "This address belongs to no payment.")
        details = found["payment_method_details"]
        paid_with = {"card": details.get("card"), "account": details.get("sepa_debit")}
        return show(sandbox, "receipt.html", charge=found, **paid_with)

    app.add_url_rule("/r/<charge_id>", view_func=receipt)
