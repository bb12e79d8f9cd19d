"""Disputes: charges that are disputed, evidence, verdicts, and the money that goes and comes back."""

import pytest

from tests.sandbox.driving import Driver, Json, Wall


def dispute_by(sandbox: Driver, card: str) -> Json:
    """Pay with a card and return the dispute about it."""
    order = {"amount": 1800, "currency": "usd", "payment_method": card, "confirm": "true"}
    intent = sandbox.post("/v1/payment_intents", order)
    return dict(sandbox.get("/v1/disputes", payment_intent=intent["id"])["data"][0])


def new_events(sandbox: Driver, seen: int) -> list[str]:
    return sandbox.event_types()[seen:]


def test_a_charge_is_disputed_after_it_has_succeeded(sandbox: Driver) -> None:
    dispute = dispute_by(sandbox, "pm_card_createDispute")
    assert (dispute["status"], dispute["reason"], dispute["amount"]) == ("needs_response", "fraudulent", 1800)
    assert dispute["is_charge_refundable"] is False
    assert [one["net"] for one in dispute["balance_transactions"]] == [-3300]
    charge = sandbox.get(f"/v1/charges/{dispute['charge']}")
    assert (charge["status"], charge["disputed"]) == ("succeeded", True)
    assert sandbox.event_types()[-4:] == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
    ]
    status, error = sandbox.error("POST", "/v1/refunds", {"charge": charge["id"]})
    assert (status, error["code"]) == (400, "charge_disputed")


def test_an_inquiry_takes_no_money(sandbox: Driver) -> None:
    dispute = dispute_by(sandbox, "pm_card_createDisputeInquiry")
    assert (dispute["status"], dispute["balance_transactions"]) == ("warning_needs_response", [])
    assert sandbox.event_types()[-1] == "charge.dispute.created"
    sandbox.post("/v1/refunds", {"charge": dispute["charge"]})
    closed = sandbox.get(f"/v1/disputes/{dispute['id']}")
    assert closed["status"] == "warning_closed"
    assert sandbox.event_types()[-1] == "charge.dispute.closed"


CLOSED, REINSTATED = "charge.dispute.closed", "charge.dispute.funds_reinstated"
UPDATED, WITHDRAWN = "charge.dispute.updated", "charge.dispute.funds_withdrawn"


@pytest.mark.parametrize(
    ("card", "evidence", "before", "after", "told", "balance"),
    [
        ("createDispute", "winning_evidence", "under_review", "won", [CLOSED, REINSTATED], 0),
        ("createDispute", "losing_evidence", "under_review", "lost", [CLOSED], -3300),
        ("createDisputeProductNotReceived", "It came.", "under_review", "under_review", [], -3300),
        ("createDisputeInquiry", "winning_evidence", "warning_under_review", "warning_closed", [CLOSED], 0),
        ("createDisputeInquiry", "losing_evidence", "warning_under_review", "warning_closed", [CLOSED], 0),
        (
            "createDisputeInquiry",
            "escalate_inquiry_evidence",
            "warning_under_review",
            "needs_response",
            [UPDATED, WITHDRAWN],
            -3300,
        ),
    ],
)
def test_the_evidence_decides(
    sandbox: Driver, card: str, evidence: str, before: str, after: str, told: list[str], balance: int
) -> None:
    path = f"/v1/disputes/{dispute_by(sandbox, f'pm_card_{card}')['id']}"
    seen = len(sandbox.events())
    sent = sandbox.post(path, {"evidence[uncategorized_text]": evidence})
    assert (sent["status"], sent["evidence_details"]["submission_count"]) == (before, 1)
    decided = sandbox.get(path)
    assert decided["status"] == after
    assert new_events(sandbox, seen) == [UPDATED, *told]
    assert sum(one["net"] for one in decided["balance_transactions"]) == balance


def test_evidence_can_be_gathered_before_it_is_sent(sandbox: Driver) -> None:
    path = f"/v1/disputes/{dispute_by(sandbox, 'pm_card_createDispute')['id']}"
    staged = sandbox.post(path, {"evidence[uncategorized_text]": "winning_evidence", "submit": "false"})
    assert (staged["status"], staged["evidence_details"]["has_evidence"]) == ("needs_response", True)
    assert sandbox.post(path, {"metadata[case]": "7"})["status"] == "needs_response"
    assert sandbox.post(path, {"submit": "true"})["status"] == "under_review"
    assert sandbox.get(path)["status"] == "won"
    assert sandbox.error("POST", path, {"evidence[product_description]": "late"})[0] == 400
    assert sandbox.error("POST", f"{path}/close")[0] == 400
    assert sandbox.post(path, {"metadata[case]": "8"})["metadata"] == {"case": "8"}


def test_too_much_evidence_is_refused_and_files_are_not_emulated(sandbox: Driver) -> None:
    path = f"/v1/disputes/{dispute_by(sandbox, 'pm_card_createDispute')['id']}"
    names = ("access_activity_log", "billing_address", "cancellation_rebuttal", "customer_name", "product_description")
    more = ("refund_policy_disclosure", "service_date", "uncategorized_text")
    flood = {f"evidence[{name}]": "x" * 20_000 for name in (*names, *more)}
    assert sandbox.error("POST", path, flood)[1]["param"] == "evidence"
    assert sandbox.error("POST", path, {"evidence[receipt]": "file_1"})[1]["code"] == "parameter_unknown"
    assert sandbox.get(path)["evidence_details"]["has_evidence"] is False


@pytest.mark.parametrize(("card", "closed"), [("createDispute", "lost"), ("createDisputeInquiry", "warning_closed")])
def test_accepting_a_dispute(sandbox: Driver, card: str, closed: str) -> None:
    dispute = dispute_by(sandbox, f"pm_card_{card}")
    assert sandbox.post(f"/v1/disputes/{dispute['id']}/close")["status"] == closed
    assert sandbox.event_types()[-1] == CLOSED


@pytest.mark.parametrize(
    ("card", "days", "status"),
    [
        ("createDispute", 8, "needs_response"),
        ("createDispute", 11, "lost"),
        ("createDisputeInquiry", 119, "warning_needs_response"),
        ("createDisputeInquiry", 121, "warning_closed"),
    ],
)
def test_what_is_not_answered_in_time(sandbox: Driver, card: str, days: int, status: str) -> None:
    dispute = dispute_by(sandbox, f"pm_card_{card}")
    sandbox.pass_by(days)
    later = sandbox.get(f"/v1/disputes/{dispute['id']}")
    assert (later["status"], later["evidence_details"]["past_due"]) == (status, status == "lost")
    if status == "lost":
        assert sandbox.events()[-1]["created"] == dispute["evidence_details"]["due_by"]


def test_a_renewal_can_be_disputed_too(sandbox: Driver) -> None:
    sandbox.paid(sandbox.session(), card_number="4000 0000 0000 0259")
    sandbox.pass_by(31)
    assert len(sandbox.get("/v1/disputes")["data"]) == 2
    charges = sandbox.get("/v1/charges")["data"]
    assert [charge["disputed"] for charge in charges] == [True, True]
    assert sandbox.get("/v1/disputes", charge=charges[0]["id"])["data"][0]["charge"] == charges[0]["id"]


@pytest.mark.parametrize("evidence", ["winning_evidence", "escalate_inquiry_evidence"])
def test_an_inquiry_that_is_forgotten_is_not_decided_too(sandbox: Driver, wall: Wall, evidence: str) -> None:
    dispute = dispute_by(sandbox, "pm_card_createDisputeInquiry")
    path = f"/v1/disputes/{dispute['id']}"
    sandbox.post(path, {"evidence[uncategorized_text]": evidence})
    seen = len(sandbox.app.extensions["sandbox"].store.query("SELECT id FROM objects WHERE type = 'event'"))
    wall.at += 121 * 86400
    closed = sandbox.get(path)
    assert (closed["status"], closed["balance_transactions"]) == ("warning_closed", [])
    assert new_events(sandbox, seen) == [CLOSED]
