"""What a bank says of a refund some time after it was accepted: that it is done, or that it could not be."""

from copy import deepcopy

from portal.sandbox import events
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch, render
from portal.sandbox.store import Condition, Object, equals, one_of


def answer_refunds(call: Call) -> None:
    """Carry out what banks have decided by now about refunds, each dated when it was due."""
    due = [
        one_of("_awaits", ("succeeded", "failed")),
        Condition("json_extract(body, '$._answer_at') <= ?", (call.now(),)),
        equals("_test_clock", call.test_clock),
    ]
    if not call.store.find("refund", due, limit=1):
        return
    with call.store.transaction():
        for refund in call.store.find("refund", due, oldest_first=True):
            _answer(call.dated(refund["_answer_at"]), refund)


def _answer(call: Call, refund: Object) -> None:
    before = render(call, deepcopy(refund))
    status = refund["_awaits"]
    refund |= {"_awaits": None, "status": status}
    refund.pop("pending_reason", None)
    if status == "failed":
        refund["failure_reason"] = "expired_or_canceled_card"
        _take_back(call, refund)
    call.store.save(refund)
    for name in ("refund.updated", "charge.refund.updated"):
        events.emit_update(call, name, before, refund)
    if status == "failed":
        events.emit(call, "refund.failed", refund)


def _take_back(call: Call, refund: Object) -> None:
    """The money of a refund that failed has never left: the charge can be refunded once more."""
    charge = fetch(call, "charge", refund["charge"])
    left = charge["amount_refunded"] - refund["amount"]
    call.store.save(charge | {"amount_refunded": left, "refunded": False})
