"""The lines of credit notes: what is given back, of which line of the invoice, with its part of the discount."""

from portal.sandbox import ids, tax_settings, taxing
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, page
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.parameters import AMOUNT_MAX, PAGING, Array, Choice, Hash, Integer, Metadata, Text, merge_metadata
from portal.sandbox.registry import Resource, fetch, list_object, register, render
from portal.sandbox.store import Object, equals
from portal.sandbox.tax_settings import TAX_RATES

EMBEDDED_MAX = 10
QUANTITY_MAX = 1_000_000
PARAMETER = Array(
    item=Hash(
        fields={
            "amount": Integer(minimum=1, maximum=AMOUNT_MAX),
            "description": Text(),
            "invoice_line_item": Text(),
            "metadata": Metadata(),
            "quantity": Integer(minimum=1, maximum=QUANTITY_MAX),
            "tax_rates": TAX_RATES,
            "type": Choice(options=("custom_line_item", "invoice_line_item"), required=True),
            "unit_amount": Integer(minimum=1, maximum=AMOUNT_MAX),
        }
    )
)


def build(call: Call, invoice: Object, sent: Values, place: str) -> Object:
    """Return a new line that is not stored yet; `place` names the parameter it came from."""
    if sent["type"] == "custom_line_item":
        return _custom(call, invoice, sent, place)
    if "tax_rates" in sent:
        raise invalid("A line of the invoice is credited with its own taxes.", f"{place}[tax_rates]")
    if "invoice_line_item" not in sent:
        raise missing_parameter(f"{place}[invoice_line_item]")
    if ("amount" in sent) == ("quantity" in sent):
        raise invalid("Send either the amount or the quantity to credit.", f"{place}[amount]", "parameter_missing")
    line = fetch(call, "line_item", sent["invoice_line_item"], f"{place}[invoice_line_item]")
    if line["invoice"] != invoice["id"]:
        raise invalid("The line is one of another invoice.", f"{place}[invoice_line_item]")
    return _of_invoice_line(call, line, sent, place)


def _custom(call: Call, invoice: Object, sent: Values, place: str) -> Object:
    if "unit_amount" not in sent:
        raise missing_parameter(f"{place}[unit_amount]")
    for name in ("amount", "invoice_line_item"):
        if name in sent:
            raise invalid(f"A custom line has no {name}; send unit_amount and quantity.", f"{place}[{name}]")
    quantity = sent.get("quantity", 1)
    line = _line("custom_line_item", sent, quantity * sent["unit_amount"], quantity, sent["unit_amount"])
    rates = tax_settings.named(call, sent.get("tax_rates"), f"{place}[tax_rates]")
    customer = fetch(call, "customer", invoice["customer"])
    taxes = taxing.taxes_on(call, tax_settings.NO_TAX, customer, line["amount"], rates, None)
    return line | {"tax_rates": tax_settings.shown(call, rates), "taxes": taxes}


def _of_invoice_line(call: Call, line: Object, sent: Values, place: str) -> Object:
    quantity = sent.get("quantity")
    if quantity is not None and quantity > line["quantity"]:
        raise invalid(f"The line has a quantity of {line['quantity']} only.", f"{place}[quantity]")
    amount = sent["amount"] if quantity is None else line["amount"] * quantity // line["quantity"]
    credited = _credited(call, line)
    left = max(line["amount"] - credited, 0)
    if not 0 < amount <= left:
        raise invalid(f"Only {left} of the line can still be credited.", f"{place}[amount]")
    unit = line["amount"] // line["quantity"] if quantity is not None else None
    sent = {"description": line["description"]} | sent
    taxes = [_tax_part(tax, line, credited, amount) for tax in line["taxes"]]
    return (
        _line("invoice_line_item", sent, amount, quantity, unit) | _discount(line, credited, amount) | {"taxes": taxes}
    )


def _credited(call: Call, line: Object) -> int:
    """Return how much of an invoice's line has been credited by notes that stand."""
    found = call.store.find("credit_note_line_item", [equals("invoice_line_item", line["id"])])
    notes = {one["_credit_note"]: fetch(call, "credit_note", one["_credit_note"]) for one in found}
    return sum(one["amount"] for one in found if notes[one["_credit_note"]]["status"] == "issued")


def _discount(line: Object, credited: int, amount: int) -> Object:
    """Return the discount's part in an amount; the parts of all credits of a line add up to its whole discount."""
    parts = [
        {"amount": _part(one["amount"], credited + amount, line) - _part(one["amount"], credited, line)}
        | {"discount": one["discount"]}
        for one in line["discount_amounts"]
    ]
    return {"discount_amount": sum(part["amount"] for part in parts), "discount_amounts": parts}


def _tax_part(tax: Object, line: Object, credited: int, amount: int) -> Object:
    """Return a tax's part in an amount, in the same way."""
    parts = {
        name: _part(tax[name], credited + amount, line) - _part(tax[name], credited, line)
        for name in ("amount", "taxable_amount")
    }
    return tax | parts


def _part(off: int, amount: int, line: Object) -> int:
    return int(off * amount // line["amount"])


def _line(kind: str, sent: Values, amount: int, quantity: int | None, unit_amount: int | None) -> Object:
    return {
        "id": ids.new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": sent.get("description"),
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": sent.get("invoice_line_item"),
        "livemode": False,
        "metadata": merge_metadata({}, sent.get("metadata", {})),
        "pretax_credit_amounts": [],
        "quantity": quantity,
        "tax_rates": [],
        "taxes": [],
        "type": kind,
        "unit_amount": unit_amount,
        "unit_amount_decimal": None if unit_amount is None else str(unit_amount),
    }


def of_note(call: Call, note_id: str) -> list[Object]:
    """Return the lines of a credit note in the order they were made."""
    return call.store.find("credit_note_line_item", [equals("_credit_note", note_id)], oldest_first=True)


def embedded_list(call: Call, note_id: str, lines: list[Object]) -> Object:
    """Return the list object that a credit note carries: its first lines."""
    data = [render(call, line) for line in lines[:EMBEDDED_MAX]]
    return list_object(data, f"/v1/credit_notes/{note_id}/lines", has_more=len(lines) > EMBEDDED_MAX)


def index(call: Call, values: Values, note_id: str) -> Object:
    """`GET /v1/credit_notes/{credit_note}/lines`."""
    fetch(call, "credit_note", note_id)
    url = f"/v1/credit_notes/{note_id}/lines"
    return page(call, "credit_note_line_item", values, url, [equals("_credit_note", note_id)], oldest_first=True)


register(Resource("credit_note_line_item", "credit note line item"))
ENDPOINTS = (
    Endpoint("GET", "/v1/credit_notes/{credit_note}/lines", PAGING, index, "credit_note_line_item", lists=True),
)
