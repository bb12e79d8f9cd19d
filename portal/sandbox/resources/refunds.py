"""Refunds: money of a charge that goes back to its card, whole or in parts. What its bank says later: `refunding.py`."""

from copy import deepcopy

from portal.sandbox import disputing, events, ids
from portal.sandbox.call import Call
from portal.sandbox.customer_time import call_for
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.instruments import instrument_of
from portal.sandbox.parameters import AMOUNT_MAX, CREATED_PAGING, Choice, Integer, Metadata, Text, merge_metadata
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.store import Object

CREATE = {
    "amount": Integer(minimum=1, maximum=AMOUNT_MAX),
    "charge": Text(),
    "metadata": Metadata(),
    "payment_intent": Text(),
    "reason": Choice(options=("duplicate", "fraudulent", "requested_by_customer")),
}
UPDATE = {"metadata": Metadata()}
ANSWER_SECONDS = 600
LIST = CREATED_PAGING | {"charge": Text(), "payment_intent": Text()}


def build(call: Call, charge: Object, amount: int, values: Values) -> Object:
    """Return a new refund that is not stored yet; `amount` is in the charge's smallest unit."""
    return {
        "id": ids.new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": call.now(),
        "currency": charge["currency"],
        "destination_details": _destination(charge),
        "metadata": merge_metadata({}, values.get("metadata", {})),
        "payment_intent": charge["payment_intent"],
        "reason": values.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    } | _later(call, charge)


def _destination(charge: Object) -> Object | None:
    if charge["payment_method_details"]["type"] != "card":
        return None
    card = {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}
    return {"card": card, "type": "card"}


def _later(call: Call, charge: Object) -> Object:
    """Return what the card's bank has in mind with a refund, if it is not simply carried out."""
    fate = instrument_of(fetch(call, "payment_method", charge["payment_method"])).refund
    if fate == "succeeds":
        return {}
    due: Object = {"_answer_at": call.now() + ANSWER_SECONDS, "_test_clock": call.test_clock}
    if fate == "takes_time":
        return due | {"pending_reason": "processing", "status": "pending", "_awaits": "succeeded"}
    return due | {"_awaits": "failed"}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/refunds`: of a charge, or of the charge that paid an intent; all that is left of it unless an amount is sent."""
    charge = _charge(call, values)
    if charge["customer"] is not None:
        call = call_for(call, call.store.get("customer", charge["customer"]))
    left = charge["amount_captured"] - charge["amount_refunded"]
    if not charge["paid"]:
        what = "is pending, so there is nothing to refund yet" if charge["status"] == "pending" else "failed"
        raise invalid(f"The charge {what}; only what was paid can be refunded.", "charge")
    disputing.require_refundable(call, charge)
    if left == 0:
        raise invalid(f"Charge {charge['id']} has already been refunded.", "charge", "charge_already_refunded")
    amount = values.get("amount", left)
    if amount > left:
        raise invalid(f"The refund ({amount}) is greater than what is left of the charge ({left}).", "amount")
    refund = call.store.insert("refund", build(call, charge, amount, values))
    before = render(call, deepcopy(charge))
    refunded = charge["amount_refunded"] + amount
    charge |= {"amount_refunded": refunded, "refunded": refunded == charge["amount_captured"]}
    call.store.save(charge)
    events.emit(call, "refund.created", refund)
    events.emit_update(call, "charge.refunded", before, charge)
    disputing.after_refund(call, charge)
    return render(call, refund)


def _charge(call: Call, values: Values) -> Object:
    if "charge" in values:
        return fetch(call, "charge", values["charge"], "charge")
    if "payment_intent" not in values:
        raise missing_parameter("payment_intent")
    intent = fetch(call, "payment_intent", values["payment_intent"], "payment_intent")
    if intent["status"] != "succeeded":
        raise invalid("The intent has not been paid, so there is nothing to refund.", "payment_intent")
    return fetch(call, "charge", intent["latest_charge"])


def retrieve(call: Call, _: Values, refund_id: str) -> Object:
    """`GET /v1/refunds/{refund}`."""
    return render(call, fetch(call, "refund", refund_id))


def update(call: Call, values: Values, refund_id: str) -> Object:
    """`POST /v1/refunds/{refund}`: metadata only."""
    refund = fetch(call, "refund", refund_id)
    before = render(call, deepcopy(refund))
    refund["metadata"] = merge_metadata(refund["metadata"], values.get("metadata", {}))
    call.store.save(refund)
    for name in ("refund.updated", "charge.refund.updated"):
        events.emit_update(call, name, before, refund)
    return render(call, refund)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/refunds`."""
    return page(call, "refund", values, "/v1/refunds", member_equals(values, "charge", "payment_intent"))


register(
    Resource(
        "refund",
        "refund",
        {
            "balance_transaction": Reference("balance_transaction"),
            "charge": Reference("charge"),
            "payment_intent": Reference("payment_intent"),
        },
    )
)
_ONE = "/v1/refunds/{refund}"
ENDPOINTS = (
    Endpoint("POST", "/v1/refunds", CREATE, create, "refund"),
    Endpoint("GET", "/v1/refunds", LIST, index, "refund", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "refund"),
    Endpoint("POST", _ONE, UPDATE, update, "refund"),
)
