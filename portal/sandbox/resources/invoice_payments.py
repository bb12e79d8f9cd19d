"""Invoice payments: which payment intent paid which invoice."""

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import CREATED_PAGING, Choice, Hash, Text
from portal.sandbox.registry import Nested, Reference, Resource, fetch, register, render
from portal.sandbox.store import Object, equals

LIST = CREATED_PAGING | {
    "invoice": Text(),
    "payment": Hash(
        fields={
            "payment_intent": Text(),
            "type": Choice(options=("payment_intent",), required=True),
        }
    ),
    "status": Choice(options=("canceled", "open", "paid")),
}


def build(call: Call, invoice: Object, intent: Object) -> Object:
    """Return the open invoice payment that ties an intent to an invoice, not stored yet."""
    return {
        "id": ids.new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": intent["amount"],
        "created": call.now(),
        "currency": intent["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }


def of_invoice(call: Call, invoice_id: str) -> Object | None:
    """Return what pays an invoice, or None when nothing was due on it."""
    found = call.store.find("invoice_payment", [equals("invoice", invoice_id)], limit=1)
    return found[0] if found else None


def of_intent(call: Call, intent_id: str) -> Object | None:
    """Return the invoice payment that an intent is for, or None when it is for no invoice."""
    found = call.store.find("invoice_payment", [equals("payment.payment_intent", intent_id)], limit=1)
    return found[0] if found else None


def retrieve(call: Call, _: Values, invoice_payment_id: str) -> Object:
    """`GET /v1/invoice_payments/{invoice_payment}`."""
    return render(call, fetch(call, "invoice_payment", invoice_payment_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/invoice_payments`."""
    payment = values.get("payment")
    if payment is not None and "payment_intent" not in payment:
        raise invalid("Name the payment intent.", "payment[payment_intent]", "parameter_missing")
    filters = member_equals(values, "invoice", "status")
    filters += member_equals(payment or {}, payment_intent="payment.payment_intent")
    return page(call, "invoice_payment", values, "/v1/invoice_payments", filters)


register(
    Resource(
        "invoice_payment",
        "invoice_payment",
        {
            "invoice": Reference("invoice"),
            "payment": Nested({"payment_intent": Reference("payment_intent"), "charge": Reference("charge")}),
        },
    )
)
ENDPOINTS = (
    Endpoint("GET", "/v1/invoice_payments", LIST, index, "invoice_payment", lists=True),
    Endpoint("GET", "/v1/invoice_payments/{invoice_payment}", {}, retrieve, "invoice_payment"),
)
