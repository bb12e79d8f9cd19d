"""Charges: one attempt to take money from a card."""

from portal.sandbox import ids
from portal.sandbox.call import Call
from portal.sandbox.cards import Refusal
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.parameters import CREATED_PAGING, Text
from portal.sandbox.registry import Included, Reference, Resource, fetch, list_object, register, render
from portal.sandbox.store import Object, equals

LIST = CREATED_PAGING | {"customer": Text(), "payment_intent": Text()}


def build(call: Call, intent: Object, payment_method: Object, refusal: Refusal | None) -> Object:
    """Return the charge of one attempt to pay an intent: succeeded, or failed for the reason given."""
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
        "outcome": _outcome(refusal),
        "paid": refusal is None,
        "payment_intent": intent["id"],
        "payment_method": payment_method["id"],
        "payment_method_details": _card_details(payment_method, intent["amount"]),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": call.link(f"/r/{charge_id}") if refusal is None else None,
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "failed" if refusal else "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def _outcome(refusal: Refusal | None) -> Object:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": "05" if refusal else None,
        "network_status": "declined_by_network" if refusal else "approved_by_network",
        "reason": (refusal.decline_code or refusal.code) if refusal else None,
        "risk_level": "normal",
        "risk_score": 10,
        "seller_message": "The bank declined the card." if refusal else "Payment complete.",
        "type": "issuer_declined" if refusal else "authorized",
    }


def _card_details(payment_method: Object, amount: int) -> Object:
    card = payment_method["card"]
    kept = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "wallet")
    return {
        "card": {name: card[name] for name in kept}
        | {
            "amount_authorized": amount,
            "authorization_code": None,
            "extended_authorization": {"status": "disabled"},
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card["brand"],
            "network_token": {"used": False},
            "network_transaction_id": None,
            "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
            "regulated_status": "unregulated",
            "three_d_secure": None,
        },
        "type": "card",
    }


def retrieve(call: Call, _: Values, charge_id: str) -> Object:
    """`GET /v1/charges/{charge}`."""
    return render(call, fetch(call, "charge", charge_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/charges`."""
    return page(call, "charge", values, "/v1/charges", member_equals(values, "customer", "payment_intent"))


def _refunds(call: Call, charge: Object) -> Object:
    found = call.store.find("refund", [equals("charge", charge["id"])])
    return list_object([render(call, refund) for refund in found], f"/v1/charges/{charge['id']}/refunds")


register(
    Resource(
        "charge",
        "charge",
        {
            "customer": Reference("customer"),
            "payment_intent": Reference("payment_intent"),
            "balance_transaction": Reference("balance_transaction"),
            "refunds": Included(_refunds),
        },
    )
)
ENDPOINTS = (
    Endpoint("GET", "/v1/charges", LIST, index, "charge", lists=True),
    Endpoint("GET", "/v1/charges/{charge}", {}, retrieve, "charge"),
)
