"""What a bank says of a refund some time after it was accepted: that it is done, or that it could not be."""

from copy import deepcopy
from functools import partial

from portal.sandbox import events
from portal.sandbox.agenda import Due
from portal.sandbox.call import Call
from portal.sandbox.registry import fetch, render
from portal.sandbox.store import Condition, Object, equals, one_of


def due(call: Call) -> list[Due]:
    """Find what banks have decided by now about refunds."""
    decided = [
        one_of("_awaits", ("succeeded", "failed")),
        Condition("json_extract(body, '$._answer_at') <= ?", (call.now(),)),
        equals("_test_clock", call.test_clock),
    ]
    return [
        Due(refund["_answer_at"], "answer", refund["id"], partial(_answer, refund=refund))
        for refund in call.store.find("refund", decided, oldest_first=True)
    ]


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
