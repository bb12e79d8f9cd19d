"""Disputes: what the holder of a card, or its bank, has against a charge. How they come and go: `disputing.py`."""

from copy import deepcopy

from portal.sandbox import disputing, events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import CREATED_PAGING, Boolean, Choice, Hash, Metadata, Text, merge_metadata
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.store import Object

# All of it together, as it is sent to the bank.
EVIDENCE_LENGTH_MAX = 150_000
_TEXTS = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_tracking_number",
    "uncategorized_text",
)
_FILES = (
    "cancellation_policy",
    "customer_communication",
    "customer_signature",
    "duplicate_charge_documentation",
    "receipt",
    "refund_policy",
    "service_documentation",
    "shipping_documentation",
    "uncategorized_file",
)
_REASON_CODES = {"fraudulent": "10.4", "product_not_received": "13.1"}
UPDATE = {
    "evidence": Hash(fields={name: Text(max_length=20_000, unsettable=True) for name in _TEXTS}),
    "intended_submission_method": Choice(options=("manual", "prefer_manual")),
    "metadata": Metadata(),
    "submit": Boolean(),
}
LIST = CREATED_PAGING | {"charge": Text(), "payment_intent": Text()}


def build(call: Call, charge: Object, why: str) -> Object:
    """Return a new dispute that is not stored yet; `why` is its reason, or `inquiry` when the bank only asks."""
    inquiry = why == "inquiry"
    reason = "fraudulent" if inquiry else why
    return {
        "id": ids.new_id("du"),
        "object": "dispute",
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": call.now(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": _evidence(charge),
        "evidence_details": {
            "due_by": disputing.respond_by(call),
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "intended_submission_method": None,
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "network_reason_code": _REASON_CODES[reason],
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": charge["payment_method_details"]["card"]["brand"],
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": charge["payment_method_details"]["card"]["network"],
                "network_reason_code": _REASON_CODES[reason],
            },
            "type": "card",
        },
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }


def _evidence(charge: Object) -> Object:
    """Return the evidence there is from the start: who paid."""
    known = {
        "customer_email_address": charge["billing_details"]["email"],
        "customer_name": charge["billing_details"]["name"],
    }
    return dict.fromkeys(sorted((*_TEXTS, *_FILES))) | known | {"enhanced_evidence": {}}


def retrieve(call: Call, _: Values, dispute_id: str) -> Object:
    """`GET /v1/disputes/{dispute}`."""
    return render(call, fetch(call, "dispute", dispute_id))


def update(call: Call, values: Values, dispute_id: str) -> Object:
    """`POST /v1/disputes/{dispute}`: evidence goes to the bank at once, unless `submit` says that it is to wait."""
    dispute = fetch(call, "dispute", dispute_id)
    before = render(call, deepcopy(dispute))
    if "evidence" in values or "submit" in values:
        _require_open(dispute)
        dispute["evidence"] |= values.get("evidence", {})
        _count(dispute)
    if "intended_submission_method" in values:
        dispute["intended_submission_method"] = values["intended_submission_method"]
    if "metadata" in values:
        dispute["metadata"] = merge_metadata(dispute["metadata"], values["metadata"])
    if values.get("submit", "evidence" in values):
        disputing.submit(dispute)
    call.store.save(dispute)
    events.emit_update(call, "charge.dispute.updated", before, dispute)
    return render(call, dispute)


def _count(dispute: Object) -> None:
    texts = [dispute["evidence"][name] for name in _TEXTS if dispute["evidence"][name]]
    if sum(map(len, texts)) > EVIDENCE_LENGTH_MAX:
        raise invalid(f"All evidence together may have {EVIDENCE_LENGTH_MAX} characters at most.", "evidence")
    dispute["evidence_details"]["has_evidence"] = bool(texts)


def _require_open(dispute: Object) -> None:
    if dispute["status"] not in disputing.OPEN:
        raise invalid(f"The dispute cannot be answered, because its status is {dispute['status']}.")


def close(call: Call, _: Values, dispute_id: str) -> Object:
    """`POST /v1/disputes/{dispute}/close`: accept it; the money is gone for good."""
    dispute = fetch(call, "dispute", dispute_id)
    _require_open(dispute)
    disputing.end(call, dispute, disputing.OPEN[dispute["status"]])
    return render(call, dispute)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/disputes`."""
    return page(call, "dispute", values, "/v1/disputes", member_equals(values, "charge", "payment_intent"))


register(Resource("dispute", "dispute", {"charge": Reference("charge"), "payment_intent": Reference("payment_intent")}))
_ONE = "/v1/disputes/{dispute}"
ENDPOINTS = (
    Endpoint("GET", "/v1/disputes", LIST, index, "dispute", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "dispute"),
    Endpoint("POST", _ONE, UPDATE, update, "dispute"),
    Endpoint("POST", _ONE + "/close", {}, close, "dispute"),
)
