"""Credit notes: an invoice that was finalized is corrected, before it is paid or afterwards."""

from copy import deepcopy

from portal.sandbox import crediting, events, ids, taxing
from portal.sandbox.call import Call
from portal.sandbox.customer_time import call_for
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.parameters import (
    AMOUNT_MAX,
    CREATED_PAGING,
    Array,
    Choice,
    Hash,
    Integer,
    Metadata,
    Text,
    Timestamp,
    merge_metadata,
)
from portal.sandbox.registry import Nested, Reference, Resource, fetch, list_of, public, register, render
from portal.sandbox.resources import credit_note_lines
from portal.sandbox.store import Object, equals

_AMOUNT = Integer(minimum=0, maximum=AMOUNT_MAX)
_WAYS = ("credit_amount", "out_of_band_amount", "refund_amount")
CREATE = dict.fromkeys(_WAYS, _AMOUNT) | {
    "amount": Integer(minimum=1, maximum=AMOUNT_MAX),
    "effective_at": Timestamp(),
    "invoice": Text(required=True),
    "lines": credit_note_lines.PARAMETER,
    "memo": Text(),
    "metadata": Metadata(),
    "reason": Choice(options=("duplicate", "fraudulent", "order_change", "product_unsatisfactory")),
    "refunds": Array(
        item=Hash(
            fields={
                "amount_refunded": Integer(minimum=1, maximum=AMOUNT_MAX),
                "refund": Text(),
                "type": Choice(options=("refund",)),
            }
        )
    ),
}
UPDATE = {"memo": Text(), "metadata": Metadata()}
LIST = CREATED_PAGING | {"customer": Text(), "invoice": Text()}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/credit_notes`."""
    invoice = fetch(call, "invoice", values["invoice"], "invoice")
    call = call_for(call, invoice)
    note, lines = _draw_up(call, invoice, values)
    if invoice["status"] == "open":
        crediting.lower(call, invoice, note["amount"])
    else:
        crediting.give_back(call, invoice, note, values)
    call.store.insert("credit_note", note)
    for line in lines:
        call.store.insert("credit_note_line_item", line | {"_credit_note": note["id"]})
    events.emit(call, "credit_note.created", note)
    return render(call, note)


def preview(call: Call, values: Values) -> Object:
    """`GET /v1/credit_notes/preview`: what a note would say; nothing is written."""
    invoice = fetch(call, "invoice", values["invoice"], "invoice")
    note, lines = _draw_up(call_for(call, invoice), invoice, values)
    return public(call, note) | {"lines": credit_note_lines.embedded_list(call, note["id"], lines)}


def _draw_up(call: Call, invoice: Object, values: Values) -> tuple[Object, list[Object]]:
    """Return a note and its lines, neither of them stored yet."""
    if invoice["status"] not in ("open", "paid"):
        raise invalid(f"The invoice cannot be credited, because its status is {invoice['status']}.", "invoice")
    lines = _lines(call, invoice, values)
    note = _build(call, invoice, values, lines)
    if values.get("amount", note["amount"]) != note["amount"]:
        raise invalid(f"The lines come to {note['amount']}, which is not the amount.", "amount")
    left = crediting.left_to_credit(invoice)
    if note["amount"] > left:
        raise invalid(f"The amount ({note['amount']}) is greater than what is left to credit ({left}).", "amount")
    note["refunds"] = crediting.existing_refunds(call, invoice, values) if invoice["status"] == "paid" else []
    _check_ways(invoice, note, values)
    return note, lines


def _lines(call: Call, invoice: Object, values: Values) -> list[Object]:
    sent = values.get("lines")
    if sent:
        named = [line["invoice_line_item"] for line in sent if "invoice_line_item" in line]
        if len(named) != len(set(named)):
            raise invalid("A line of the invoice can be credited only once in a note.", "lines")
        return [credit_note_lines.build(call, invoice, line, f"lines[{place}]") for place, line in enumerate(sent)]
    if "amount" not in values:
        raise missing_parameter("amount")
    whole = {"type": "custom_line_item", "unit_amount": values["amount"], "description": "Credit"}
    return [credit_note_lines.build(call, invoice, whole, "amount")]


def _check_ways(invoice: Object, note: Object, values: Values) -> None:
    """What was paid goes back by the ways that are named, to the cent; what was not paid goes nowhere."""
    ways = sum(values.get(name, 0) for name in _WAYS) + sum(one["amount_refunded"] for one in note["refunds"])
    if invoice["status"] == "paid" and ways != note["amount"]:
        raise invalid(
            f"What is refunded and credited ({ways}) must come to the amount of the note ({note['amount']}).",
            "amount",
        )
    if invoice["status"] == "open" and (ways or values.get("refunds")):
        raise invalid("The invoice has not been paid, so there is nothing to refund or to credit.", "refund_amount")


def _build(call: Call, invoice: Object, values: Values, lines: list[Object]) -> Object:
    subtotal, off = (sum(line[name] for line in lines) for name in ("amount", "discount_amount"))
    taxes = [tax for line in lines for tax in line["taxes"]]
    total = subtotal - off + taxing.amount_of(taxes, "exclusive")
    paid = invoice["status"] == "paid"
    note_id = ids.new_id("cn")
    return {
        "id": note_id,
        "object": "credit_note",
        "amount": total,
        "amount_shipping": 0,
        "created": call.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "customer_balance_transaction": None,
        "discount_amount": off,
        "discount_amounts": _discounts(lines),
        "effective_at": values.get("effective_at", call.now()),
        "invoice": invoice["id"],
        "livemode": False,
        "memo": values.get("memo"),
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "number": f"{invoice['number']}-CN-{_number(call, invoice):02d}",
        "out_of_band_amount": values.get("out_of_band_amount"),
        "pdf": call.link(f"/credit_notes/{note_id}/pdf"),
        "post_payment_amount": total if paid else 0,
        "pre_payment_amount": 0 if paid else total,
        "pretax_credit_amounts": [],
        "reason": values.get("reason"),
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - taxing.amount_of(taxes, "inclusive"),
        "total": total,
        "total_excluding_tax": total - taxing.amount_of(taxes),
        "total_taxes": taxing.sum_up(taxes),
        "type": "post_payment" if paid else "pre_payment",
        "voided_at": None,
    }


def _number(call: Call, invoice: Object) -> int:
    return len(call.store.find("credit_note", [equals("invoice", invoice["id"])])) + 1


def _discounts(lines: list[Object]) -> list[Object]:
    sums: dict[str, int] = {}
    for part in (part for line in lines for part in line["discount_amounts"]):
        sums[part["discount"]] = sums.get(part["discount"], 0) + part["amount"]
    return [{"amount": amount, "discount": discount} for discount, amount in sums.items()]


def retrieve(call: Call, _: Values, note_id: str) -> Object:
    """`GET /v1/credit_notes/{credit_note}`."""
    return render(call, fetch(call, "credit_note", note_id))


def update(call: Call, values: Values, note_id: str) -> Object:
    """`POST /v1/credit_notes/{credit_note}`: words about it only."""
    note = fetch(call, "credit_note", note_id)
    before = render(call, deepcopy(note))
    if "memo" in values:
        note["memo"] = values["memo"]
    if "metadata" in values:
        note["metadata"] = merge_metadata(note["metadata"], values["metadata"])
    call.store.save(note)
    events.emit_update(call, "credit_note.updated", before, note)
    return render(call, note)


def void(call: Call, _: Values, note_id: str) -> Object:
    """`POST /v1/credit_notes/{credit_note}/void`, as long as its invoice is open: it asks for the whole again."""
    note = fetch(call, "credit_note", note_id)
    invoice = fetch(call, "invoice", note["invoice"])
    call = call_for(call, invoice)
    if note["status"] == "void":
        raise invalid("The credit note is void already.")
    if invoice["status"] != "open":
        raise invalid("Only a credit note of an open invoice can be made void.")
    note |= {"status": "void", "voided_at": call.now()}
    call.store.save(note)
    crediting.lower(call, invoice, -note["amount"])
    events.emit(call, "credit_note.voided", note)
    return render(call, note)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/credit_notes`."""
    return page(call, "credit_note", values, "/v1/credit_notes", member_equals(values, "customer", "invoice"))


def _render(call: Call, note: Object) -> Object:
    lines = credit_note_lines.of_note(call, note["id"])
    return public(call, note) | {"lines": credit_note_lines.embedded_list(call, note["id"], lines)}


register(
    Resource(
        "credit_note",
        "credit note",
        {
            "customer": Reference("customer"),
            "customer_balance_transaction": Reference("customer_balance_transaction"),
            "invoice": Reference("invoice"),
            "lines": list_of("credit_note_line_item"),
            "refunds": Nested({"refund": Reference("refund")}),
        },
        _render,
    )
)
_ONE = "/v1/credit_notes/{credit_note}"
ENDPOINTS = (
    Endpoint("POST", "/v1/credit_notes", CREATE, create, "credit_note"),
    Endpoint("GET", "/v1/credit_notes", LIST, index, "credit_note", lists=True),
    Endpoint("GET", "/v1/credit_notes/preview", CREATE, preview, "credit_note"),
    Endpoint("GET", _ONE, {}, retrieve, "credit_note"),
    Endpoint("POST", _ONE, UPDATE, update, "credit_note"),
    Endpoint("POST", _ONE + "/void", {}, void, "credit_note"),
)
