"""Tax rates and what they do to subscriptions, invoices and checkouts are what the SDK annotates."""

from typing import Any

from tests.contract.recording import Recording


def rate(recording: Recording, percentage: float, *, inclusive: bool) -> str:
    params: Any = {"display_name": "VAT", "percentage": percentage, "inclusive": inclusive, "country": "DE"}
    made = recording.v1.tax_rates.create(params | {"jurisdiction": "DE", "tax_type": "vat"})
    recording.v1.tax_rates.update(made.id, {"description": "As the law says", "metadata": {"by": "us"}})
    recording.v1.tax_rates.retrieve(made.id)
    return str(made.id)


def order_of(recording: Recording, **customer: Any) -> Any:
    v1 = recording.v1
    params: Any = {"payment_method": "pm_card_visa", "expand": ["tax"]}
    made = v1.customers.create(params | customer)
    card = v1.payment_methods.list({"customer": made.id}).data[0].id
    price = recording.driver.price(1000)["id"]
    return {"customer": made.id, "items": [{"price": price}], "default_payment_method": card}


def test_rates_that_are_named(recording: Recording) -> None:
    v1 = recording.v1
    outer, inner = rate(recording, 19, inclusive=False), rate(recording, 5.5, inclusive=True)
    order = order_of(recording)
    begun = v1.subscriptions.create(order | {"default_tax_rates": [outer]})
    v1.invoices.create_preview(
        {"subscription": begun.id, "subscription_details": {"default_tax_rates": [outer, inner]}}
    )
    item = begun["items"].data[0].id
    v1.subscriptions.update(begun.id, {"items": [{"id": item, "quantity": 2, "tax_rates": [inner]}]})
    recording.driver.pass_by(31)
    invoice = v1.invoices.list({"subscription": begun.id}).data[0]
    assert {tax.tax_behavior for tax in invoice.total_taxes or []} == {"exclusive", "inclusive"}
    v1.invoice_items.create({"customer": order["customer"], "amount": 500, "currency": "usd", "tax_rates": [inner]})
    drafted = v1.invoices.create(
        {"customer": order["customer"], "pending_invoice_items_behavior": "include", "default_tax_rates": [outer]}
    )
    v1.invoices.update(drafted.id, {"default_tax_rates": ""})
    line = invoice.lines.data[0]
    note: Any = {"invoice": invoice.id, "credit_amount": abs(line.amount)}
    note["lines"] = [{"type": "custom_line_item", "unit_amount": 100, "tax_rates": [outer]}]
    v1.credit_notes.create(note | {"credit_amount": 119})
    v1.tax_rates.list({"active": True, "inclusive": False})
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["tax_rate"] > 20


def test_tax_by_the_place(recording: Recording) -> None:
    v1, automatic = recording.v1, {"automatic_tax": {"enabled": True}}
    order = order_of(recording, address={"country": "DE"})
    begun = v1.subscriptions.create(order | automatic)
    v1.subscriptions.retrieve(begun.id, {"expand": ["latest_invoice"]})
    v1.customers.update(order["customer"], {"address": "", "expand": ["tax"]})
    recording.driver.pass_by(31)
    assert not v1.subscriptions.retrieve(begun.id).automatic_tax.enabled
    session = recording.driver.session(**{"automatic_tax[enabled]": "true"})
    recording.driver.client.post(f"/c/pay/{session['id']}", data={"place": "set", "country": "US", "state": "NY"})
    recording.driver.paid(session)
    v1.checkout.sessions.retrieve(session["id"], {"expand": ["line_items.data.taxes", "subscription", "invoice"]})
    v1.tax_rates.list()
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["tax_rate"] > 2
