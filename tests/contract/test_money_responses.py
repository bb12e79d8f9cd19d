"""Disputes and failing refunds are what the SDK's annotations say they are, in answers and in events."""

from collections.abc import Iterator
from typing import Any

import pytest

from portal.sandbox import create_sandbox
from tests.contract.recording import Recording
from tests.sandbox.driving import KEY, Driver, over_http


@pytest.fixture
def recording() -> Iterator[Recording]:
    app = create_sandbox(api_key=KEY)
    with over_http(app) as address:
        recorded = Recording(Driver(app), address)
        yield recorded
        recorded.http.close()
    app.extensions["sandbox"].close()


def pay(recording: Recording, card: str) -> Any:
    """Pay with a stock card; returns the intent."""
    return recording.v1.payment_intents.create(
        {"amount": 1800, "currency": "usd", "payment_method": card, "confirm": True}
    )


def test_disputes(recording: Recording) -> None:
    disputes = recording.v1.disputes
    for card, evidence in (
        ("pm_card_createDispute", "winning_evidence"),
        ("pm_card_createDisputeProductNotReceived", "losing_evidence"),
        ("pm_card_createDisputeInquiry", "escalate_inquiry_evidence"),
    ):
        found = disputes.list({"payment_intent": pay(recording, card).id}).data[0]
        disputes.update(found.id, {"evidence": {"customer_name": "Ada"}, "submit": False, "metadata": {"seen": "1"}})
        disputes.update(found.id, {"evidence": {"uncategorized_text": evidence}})
        disputes.retrieve(found.id, {"expand": ["charge", "payment_intent"]})
    disputes.close(found.id)
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["dispute"] > 15
    assert checker.objects["balance_transaction"] > 15


def test_refunds_that_take_time_or_fail(recording: Recording) -> None:
    for card in ("pm_card_pendingRefund", "pm_card_refundFail"):
        refund = recording.v1.refunds.create({"payment_intent": pay(recording, card).id})
        recording.driver.pass_by(1)
        recording.v1.refunds.retrieve(refund.id)
    problems, checker = recording.problems()
    assert sorted(problems) == []
    assert checker.objects["refund"] > 8
