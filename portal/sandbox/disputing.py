"""How disputes begin and end: test cards dispute what they paid, and the bank decides by what the evidence says.

A charge is disputed, and a verdict is reached, when time next goes by and not in the request that caused it: whoever
listens to events gets those of the payment, or of the evidence, before.
"""

from copy import deepcopy
from functools import partial

from portal.sandbox import events, ids
from portal.sandbox.agenda import Due
from portal.sandbox.call import Call
from portal.sandbox.errors import invalid
from portal.sandbox.registry import fetch, render
from portal.sandbox.store import Condition, Object, equals, one_of

FEE = 1500
RESPONSE_DAYS = 9
INQUIRY_SECONDS = 120 * 86400
# What can still be answered, and what becomes of it when it is not.
OPEN = {"needs_response": "lost", "warning_needs_response": "warning_closed"}
_INQUIRIES = ("warning_needs_response", "warning_under_review")
_UNDECIDED = ("needs_response", "under_review", *_INQUIRIES)
# The text of the evidence decides, as in Stripe's test mode; on any other text the bank keeps thinking.
_VERDICTS = {
    "winning_evidence": {"under_review": "won", "warning_under_review": "warning_closed"},
    "losing_evidence": {"under_review": "lost", "warning_under_review": "warning_closed"},
    "escalate_inquiry_evidence": {"warning_under_review": "needs_response"},
}


def disputed(call: Call) -> list[Due]:
    """Find the charges whose cards dispute them."""
    waiting = one_of("_awaits", ("fraudulent", "product_not_received", "inquiry"))
    return [
        Due(call.now(), "dispute", charge["id"], partial(_open, charge=charge))
        for charge in call.store.find("charge", [waiting], oldest_first=True)
    ]


def _open(call: Call, charge: Object) -> None:
    from portal.sandbox.resources import disputes  # Its handlers are built on this module.

    why = charge["_awaits"]
    call.store.save(charge | {"_awaits": None, "disputed": True})
    dispute = call.store.insert("dispute", disputes.build(call, charge, why))
    events.emit(call, "charge.dispute.created", dispute)
    if why != "inquiry":
        _move_funds(call, dispute, "charge.dispute.funds_withdrawn", -1)


def respond_by(call: Call) -> int:
    """Return until when a dispute of this instant can be answered: the end of a day."""
    return (call.now() // 86400 + RESPONSE_DAYS + 1) * 86400 - 1


def _move_funds(call: Call, dispute: Object, event_type: str, sign: int) -> None:
    """Take the disputed money and the bank's fee, or give both back."""
    withdrawn = sign < 0
    before = render(call, deepcopy(dispute))
    fees = {"amount": -sign * FEE, "application": None, "currency": dispute["currency"], "type": "stripe_fee"}
    entry = {
        "id": ids.new_id("txn"),
        "object": "balance_transaction",
        "amount": sign * dispute["amount"],
        "available_on": call.now(),
        "balance_type": "payments",
        "created": call.now(),
        "currency": dispute["currency"],
        "description": f"Chargeback {'withdrawal' if withdrawn else 'reversal'} for {dispute['charge']}",
        "exchange_rate": None,
        "fee": -sign * FEE,
        "fee_details": [fees | {"description": "Dispute fee"}],
        "net": sign * (dispute["amount"] + FEE),
        "reporting_category": "dispute" if withdrawn else "dispute_reversal",
        "source": dispute["id"],
        "status": "available",
        "type": "adjustment",
    }
    dispute["balance_transactions"].append(entry)
    call.store.save(dispute)
    events.emit_update(call, event_type, before, dispute)


def submit(dispute: Object) -> None:
    """Send the evidence to the bank; what it says is found out when time goes by."""
    status = "under_review" if dispute["status"] == "needs_response" else "warning_under_review"
    verdict = _VERDICTS.get(dispute["evidence"]["uncategorized_text"] or "", {}).get(status)
    dispute |= {"status": status, "_awaits": verdict}
    details = dispute["evidence_details"]
    details |= {"submission_count": details["submission_count"] + 1, "submission_method": "manual"}


def decided(call: Call) -> list[Due]:
    """Find the disputes whose verdict is due, and those that were not answered in time.

    One can be both, so each act looks at its dispute again: the first of them closes it.
    """
    # Asked at every request, and mostly there is none.
    if not call.store.find("dispute", [one_of("status", _UNDECIDED)], limit=1):
        return []
    late = Condition("json_extract(body, '$.evidence_details.due_by') <= ?", (call.now(),))
    old = Condition("created <= ?", (call.now() - INQUIRY_SECONDS,))
    verdicts = [one_of("_awaits", ("won", "lost", "warning_closed", "needs_response"))]
    found = [
        Due(call.now(), "decide", one["id"], partial(_decide, dispute_id=one["id"]))
        for one in call.store.find("dispute", verdicts, oldest_first=True)
    ]
    found += [
        Due(one["evidence_details"]["due_by"], "miss", one["id"], partial(_miss, dispute_id=one["id"]))
        for one in call.store.find("dispute", [equals("status", "needs_response"), late], oldest_first=True)
    ]
    found += [
        Due(one["created"] + INQUIRY_SECONDS, "forget", one["id"], partial(_forget, dispute_id=one["id"]))
        for one in call.store.find("dispute", [one_of("status", _INQUIRIES), old], oldest_first=True)
    ]
    return found


def _miss(call: Call, dispute_id: str) -> None:
    """Lose a dispute that was not answered in time."""
    dispute = fetch(call, "dispute", dispute_id)
    if dispute["status"] == "needs_response":
        dispute["evidence_details"]["past_due"] = True
        end(call, dispute, "lost")


def _forget(call: Call, dispute_id: str) -> None:
    """Close an inquiry that led to nothing."""
    dispute = fetch(call, "dispute", dispute_id)
    if dispute["status"] in _INQUIRIES:
        end(call, dispute, "warning_closed")


def _decide(call: Call, dispute_id: str) -> None:
    dispute = fetch(call, "dispute", dispute_id)
    verdict = dispute.pop("_awaits", None)
    if verdict is None:
        return  # It was closed just before.
    if verdict == "needs_response":
        _escalate(call, dispute)
        return
    end(call, dispute, verdict)
    if verdict == "won":
        _move_funds(call, dispute, "charge.dispute.funds_reinstated", 1)


def _escalate(call: Call, dispute: Object) -> None:
    """Turn an inquiry into a chargeback, which is answered anew."""
    before = render(call, deepcopy(dispute))
    dispute |= {"is_charge_refundable": False, "status": "needs_response"}
    dispute["payment_method_details"]["card"]["case_type"] = "chargeback"
    dispute["evidence_details"]["due_by"] = respond_by(call)
    call.store.save(dispute)
    events.emit_update(call, "charge.dispute.updated", before, dispute)
    _move_funds(call, dispute, "charge.dispute.funds_withdrawn", -1)


def end(call: Call, dispute: Object, status: str) -> None:
    """Close a dispute for good and tell of it."""
    before = render(call, deepcopy(dispute))
    dispute |= {"is_charge_refundable": status == "warning_closed", "status": status, "_awaits": None}
    call.store.save(dispute)
    events.emit_update(call, "charge.dispute.closed", before, dispute)


def require_refundable(call: Call, charge: Object) -> None:
    """Refuse a refund of money that the bank has already taken back."""
    if any(not one["is_charge_refundable"] for one in _of(call, charge)):
        raise invalid(
            f"Charge {charge['id']} has been charged back; it cannot be refunded.", "charge", "charge_disputed"
        )


def after_refund(call: Call, charge: Object) -> None:
    """Close the inquiry about a charge that has been given back whole."""
    for dispute in _of(call, charge) if charge["refunded"] else []:
        if dispute["status"] in _INQUIRIES:
            end(call, fetch(call, "dispute", dispute["id"]), "warning_closed")


def _of(call: Call, charge: Object) -> list[Object]:
    return call.store.find("dispute", [equals("charge", charge["id"])]) if charge["disputed"] else []
