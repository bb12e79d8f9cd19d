"""Charges: one attempt to take money from a card or a bank account."""

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.cards import Refusal
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.instruments import charge_details
from portal.sandbox.parameters import CREATED_PAGING, Text
from portal.sandbox.registry import Included, Reference, Resource, fetch, list_object, list_of, register, render
from portal.sandbox.store import Object, equals

LIST = CREATED_PAGING | {"customer": Text(), "payment_intent": Text()}


def build(
    call: Call, intent: Object, payment_method: Object, refusal: Refusal | None, *, pending: bool = False
) -> Object:
    """Return the charge of one attempt to pay an intent: succeeded, `pending`, or failed for the reason given."""
    taken = 0 if refusal else intent["amount"]
    charge_id = ids.new_id("ch")
    return {
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": taken,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": payment_method["billing_details"],
        "calculated_statement_descriptor": "SANDBOX",
        "captured": refusal is None,
        "created": call.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": refusal.code if refusal else None,
        "failure_message": refusal.message if refusal else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": outcome(refusal),
        "paid": refusal is None and not pending,
        "payment_intent": intent["id"],
        "payment_method": payment_method["id"],
        "payment_method_details": charge_details(payment_method, intent["amount"]),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": receipt(call, charge_id) if refusal is None and not pending else None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "failed" if refusal else "pending" if pending else "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def receipt(call: Call, charge_id: str) -> str:
    """Return the address of the receipt."""
    return call.link(f"/r/{charge_id}")


def outcome(refusal: Refusal | None) -> Object:
    """Return what the network and the bank said."""
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": "05" if refusal else None,
        "network_status": "declined_by_network" if refusal else "approved_by_network",
        "reason": (refusal.decline_code or refusal.code) if refusal else None,
        "risk_level": "normal",
        "risk_score": 10,
        "seller_message": "The bank did not pay." if refusal else "Payment complete.",
        "type": "issuer_declined" if refusal else "authorized",
    }


def retrieve(call: Call, _: Values, charge_id: str) -> Object:
    """`GET /v1/charges/{charge}`."""
    return render(call, fetch(call, "charge", charge_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/charges`."""
    return page(call, "charge", values, "/v1/charges", member_equals(values, "customer", "payment_intent"))


def _refunds(call: Call, charge: Object) -> Object:
    found = call.store.find("refund", [equals("charge", charge["id"])])
    listed = list_object([render(call, refund) for refund in found], f"/v1/charges/{charge['id']}/refunds")
    return listed | {"total_count": len(found)}


register(
    Resource(
        "charge",
        "charge",
        {
            "customer": Reference("customer"),
            "payment_intent": Reference("payment_intent"),
            "balance_transaction": Reference("balance_transaction"),
            "refunds": Included(_refunds, list_of("refund").shape),
        },
    )
)
ENDPOINTS = (
    Endpoint("GET", "/v1/charges", LIST, index, "charge", lists=True),
    Endpoint("GET", "/v1/charges/{charge}", {}, retrieve, "charge"),
)
