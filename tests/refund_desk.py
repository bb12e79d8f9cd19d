"""Refunds as Stripe would tell of them, laid over the stand-in's own answers about the payments they are of."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from portal.billing.gateway import Gateway, NotFound
from tests.stage import Stage

COUNTER = itertools.count(1)


@dataclass
class RefundDesk:
    """Whoever refunds in Stripe's dashboard. `told` are the events of it, in the order they happened."""

    stage: Stage
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def open(cls, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> RefundDesk:
        desk = cls(stage)
        monkeypatch.setattr(Gateway, "refund", lambda _self, refund_id: desk._find(refund_id))
        monkeypatch.setattr(Gateway, "refunds_of", lambda _self, intent_id: desk._of(intent_id))
        return desk

    def refund(self, intent_id: str, amount: int, status: str = "succeeded") -> str:
        """Refund a part of a payment; returns the refund's id. Its events are not delivered yet."""
        number = next(COUNTER)
        refund = {
            "id": f"re_desk{number}",
            "object": "refund",
            "amount": amount,
            "charge": self.stage.stripe("GET", f"/v1/payment_intents/{intent_id}")["latest_charge"],
            "created": 1_795_000_000 + number // 3,  # several within a second, as it may be
            "currency": "usd",
            "failure_reason": None,
            "payment_intent": intent_id,
            "reason": "requested_by_customer",
            "status": status,
        }
        self.refunds[refund["id"]] = refund
        self._tell("refund.created", refund)
        self._tell("charge.refunded", {"id": refund["charge"], "object": "charge"})
        return str(refund["id"])

    def fail(self, refund_id: str) -> None:
        self.refunds[refund_id] |= {"status": "failed", "failure_reason": "lost_or_stolen_card"}
        self._tell("refund.failed", self.refunds[refund_id])
        self._tell("refund.updated", self.refunds[refund_id])

    def deliver(self, *events: dict[str, Any]) -> None:
        """Deliver these events, or all that were told, and apply them."""
        for event in events or self.told:
            assert self.stage.deliver(event) == 200
        self.stage.drain()

    def _tell(self, event_type: str, what: dict[str, Any]) -> None:
        event = {
            "id": f"evt_desk{next(COUNTER)}",
            "object": "event",
            "type": event_type,
            "livemode": False,
            "created": 1_795_000_000,
            "data": {"object": dict(what)},
        }
        self.told.append(event)

    def _find(self, refund_id: str) -> dict[str, Any]:
        if refund_id not in self.refunds:
            raise NotFound(f"no such refund: {refund_id}")
        return dict(self.refunds[refund_id])

    def _of(self, intent_id: str) -> list[dict[str, Any]]:
        return [dict(refund) for refund in self.refunds.values() if refund["payment_intent"] == intent_id]
