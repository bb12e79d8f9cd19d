"""Disputes of the stand-in, from the card that disputes to the bank's word, and what becomes of the credits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.billing.dispute_models import Dispute
from portal.billing.gateway import Gateway
from portal.billing.models import Invoice, Payment
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import holds, ledger
from portal.credits.dispute_watch import payments_to_look_at
from portal.credits.jobs import look_at_disputed
from portal.credits.models import CreditEntry
from portal.credits.queries import Balance, balance
from portal.notifications import kinds, messages
from portal.notifications.models import Notification, OutboxItem
from portal.usage.metering import Use, record
from tests.cast import Cast
from tests.exporting import exported
from tests.purchases import violations
from tests.stage import Stage

FRAUDULENT, INQUIRY = "4000000000000259", "4000000000001976"
PAID, GRANTED = 29_900, 20_000


def subscribed(cast: Cast, stage: Stage, card: str = FRAUDULENT, interval: str = "month") -> str:
    """A team on Business whose bank disputes what it paid; the news of both are applied. Returns the dispute's id."""
    stage.subscribe(cast.owner, cast.team_id, "business", interval, card)
    stage.deliver_all()
    stage.deliver_all()
    return str(stage.stripe("GET", "/v1/disputes", limit=1)["data"][0]["id"])


def decide(stage: Stage, dispute: str, how: str) -> None:
    """Answer the bank with evidence that it decides by, and take the news in."""
    answer = {"won": "winning_evidence", "lost": "losing_evidence"}[how]
    stage.stripe("POST", f"/v1/disputes/{dispute}", **{"evidence[uncategorized_text]": answer})
    stage.stripe("GET", "/v1/events", limit=1)
    stage.deliver_all()


def decide_late(stage: Stage, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The bank thinks for weeks. The stand-in decides at once or never, so this is laid over its answer."""
    real = Gateway.disputes_of
    monkeypatch.setattr(
        Gateway,
        "disputes_of",
        lambda self, intent: [one | {"status": how, "balance_transactions": []} for one in real(self, intent)],
    )
    opened = next(event for event in every_event(stage) if event["type"] == "charge.dispute.created")
    assert stage.deliver({**opened, "id": new_id("evt"), "type": "charge.dispute.closed"}) == 200
    stage.drain()
    monkeypatch.undo()


def spend(team_id: str, quantity: int) -> None:
    with unit_of_work():
        record(Use(team_id, new_id("use"), "send_email", quantity), lambda recorded: f'{{"id": "{recorded.id}"}}')
    db.session.remove()


def stands(team_id: str) -> tuple[int, int, int]:
    """What may be spent, what is frozen, what is owed."""
    db.session.remove()
    found: Balance = balance(team_id)
    assert violations() == []
    db.session.remove()
    return found.available, found.frozen, found.debt


def entries(team_id: str) -> list[tuple[str, int]]:
    query = select(CreditEntry.kind, CreditEntry.amount).where(CreditEntry.team_id == team_id)
    return [(row.kind, row.amount) for row in db.session.execute(query.order_by(CreditEntry.version))]


def test_a_dispute_freezes_what_it_is_about_and_gives_it_back_when_it_is_won(cast: Cast, stage: Stage) -> None:
    """Fault 38, won: and each event told again, in the other order, changes nothing."""
    dispute = subscribed(cast, stage)
    assert stands(cast.team_id) == (0, GRANTED, 0)
    row = db.session.execute(select(Dispute)).scalar_one()
    assert (row.stripe_id, row.amount, row.status, row.withdrawn) == (dispute, PAID, "needs_response", PAID)
    with unit_of_work(), pytest.raises(ledger.InsufficientCredits):
        ledger.spend(cast.team_id, 1, "usage:1")
    decide(stage, dispute, "won")
    assert stands(cast.team_id) == (GRANTED, 0, 0)
    row = db.session.execute(select(Dispute)).scalar_one()
    assert (row.status, row.withdrawn, row.effect) == ("won", 0, "none")
    assert told() == ["dispute_opened", "dispute_won"]
    before = entries(cast.team_id)
    again = [event for event in every_event(stage) if event["type"].startswith("charge.dispute.")]
    assert len(again) >= 4
    for event in again:
        assert stage.deliver({**event, "id": event["id"] + "again"}) == 200
    stage.drain()
    assert entries(cast.team_id) == before


def every_event(stage: Stage) -> list[dict[str, Any]]:
    return list(stage.stripe("GET", "/v1/events", limit=100)["data"])


@pytest.mark.parametrize("spent", [0, 5_000, GRANTED])
def test_a_lost_dispute_takes_back_and_what_was_spent_is_owed(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, spent: int
) -> None:
    """Fault 38, lost: what was spent before it was opened becomes debt only now."""
    stage.subscribe(cast.owner, cast.team_id, "business", card=FRAUDULENT)
    news = stage.new_events()
    of_bank = [event for event in news if event["type"].startswith("charge.dispute.")]
    with monkeypatch.context() as before_the_bank_speaks:
        before_the_bank_speaks.setattr(Gateway, "disputes_of", lambda _self, _intent: [])
        for event in news:
            if event not in of_bank:
                stage.deliver(event)
        stage.drain()
    assert stands(cast.team_id) == (GRANTED, 0, 0)
    if spent:
        spend(cast.team_id, spent)
    for event in reversed(of_bank):
        stage.deliver(event)
    stage.drain()
    assert stands(cast.team_id) == (0, GRANTED - spent, 0)
    dispute = stage.stripe("GET", "/v1/disputes", limit=1)["data"][0]["id"]
    decide(stage, dispute, "lost")
    assert stands(cast.team_id) == (0, 0, spent)
    assert db.session.execute(select(Dispute.effect)).scalar_one() == "taken"
    with unit_of_work():
        ledger.grant(cast.team_id, kind="bundle", amount=25_000, cause_key="bundle:next", source="Next")
    assert stands(cast.team_id) == (25_000 - spent, 0, 0)


def page(cast: Cast, path: str) -> str:
    answer = cast.billing.client.get(f"/teams/{cast.team_id}/{path}")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return " ".join(answer.get_data(as_text=True).split())


def told(to: str = "owner@example.com") -> list[str]:
    """The news about it, mails and inbox, oldest first."""
    rows = db.session.execute(select(OutboxItem.payload).order_by(OutboxItem.id)).scalars().all()
    notes = db.session.execute(
        select(Notification.kind).join(User, User.id == Notification.user_id).where(User.email == to, Notification.kind == "undone")
    ).scalars().all()  # fmt: skip
    mails = [row["message"] for row in rows if row["to"] == to and row["message"] in kinds.KINDS["undone"].messages]
    db.session.remove()
    assert len(notes) == len(mails)
    return mails


def test_the_customer_is_told_in_plain_words_what_is_frozen_and_what_is_owed_and_why(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before_the_bank_speaks:
        before_the_bank_speaks.setattr(Gateway, "disputes_of", lambda _self, _intent: [])
        stage.subscribe(cast.owner, cast.team_id, "business", card=FRAUDULENT)
        stage.deliver_all()
    spend(cast.team_id, 5_000)
    opened = next(event for event in every_event(stage) if event["type"] == "charge.dispute.created")
    stage.deliver({**opened, "id": new_id("evt")})
    stage.drain()
    assert told() == ["dispute_opened"]
    shown = page(cast, "credits")
    assert "15,000 credits are frozen" in shown
    assert "still yours and cannot be spent until the bank has decided" in shown
    assert "The payment of $299.00 USD on" in shown
    assert "is disputed. The bank decides." in shown
    assert "Frozen" in page(cast, "billing")
    payments = page(cast, "payments")
    assert "Disputed" in payments
    assert "$299.00 USD of it is disputed at the bank." in payments
    told_in_file = [(row["Status"], row["Amount"]) for row in exported(cast.owner, cast.team_id, "payments")]
    assert ("Disputed", "299.00") in told_in_file, "the file says what the page says"
    invoice = db.session.execute(select(Invoice.id)).scalar_one()
    db.session.remove()
    assert f"/invoices/{invoice}" in shown
    assert "$299.00 USD of it is disputed at the bank." in page(cast, f"invoices/{invoice}")
    decide(stage, opened["data"]["object"]["id"], "lost")
    assert told() == ["dispute_opened", "dispute_lost"]
    shown = page(cast, "credits")
    assert "credits are frozen" not in shown
    assert "5,000 credits are owed" in shown
    assert "used before they were taken back. The next credits repay them first" in shown
    assert "was disputed, and the bank sent it back." in shown
    assert "Dispute lost" in page(cast, "payments")
    assert "Frozen and set free" in shown
    assert "Set free" in page(cast, "credits?kind=frozen")


@pytest.mark.parametrize("spent", [5_000, GRANTED])
def test_what_is_free_again_is_told_where_something_was_frozen(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, spent: int
) -> None:
    with monkeypatch.context() as before_the_bank_speaks:
        before_the_bank_speaks.setattr(Gateway, "disputes_of", lambda _self, _intent: [])
        stage.subscribe(cast.owner, cast.team_id, "business", card=FRAUDULENT)
        stage.deliver_all()
    spend(cast.team_id, spent)
    opened = next(event for event in every_event(stage) if event["type"] == "charge.dispute.created")
    stage.deliver({**opened, "id": new_id("evt")})
    stage.drain()
    decide(stage, opened["data"]["object"]["id"], "won")
    mail, note = news_of("dispute_won")
    for words in (mail["text"], mail["html"], note):
        assert ("What was still frozen of its credits is free again." in words) is (spent < GRANTED)
        assert ("free again" in words) is (spent < GRANTED)
        assert "given again" not in words


def news_of(message: str) -> tuple[dict[str, str], str]:
    """The mail of this name to the owner, and what the inbox says below it."""
    rows = db.session.execute(select(OutboxItem.payload).order_by(OutboxItem.id)).scalars().all()
    (mail,) = (row for row in rows if row["message"] == message and row["to"] == "owner@example.com")
    mine = select(Notification.words).join(User, User.id == Notification.user_id).where(
        User.email == "owner@example.com", Notification.title == mail["subject"]
    )  # fmt: skip
    note = db.session.execute(mine).scalar_one()
    db.session.remove()
    return mail, note


def test_a_lost_dispute_that_took_no_credits_is_told_without_them(app: Flask) -> None:
    """Of a payment that bought none, or whose credits were over."""
    payment = {"amount": "$10.00 USD", "payment": "the payment of $10.00 USD on 1 June", "link": "https://example.com"}
    lost = messages.dispute_lost("a@example.com", credits_taken=0, debt=0, **payment)
    assert lost.words == "The payment of $10.00 USD on 1 June went back to the card."
    lost = messages.dispute_lost("a@example.com", credits_taken=1_000, debt=0, **payment)
    assert lost.words == "1,000 credits went back with it."


def test_a_refund_is_told_with_the_credits_it_took(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    spend(cast.team_id, 19_960)
    intent = db.session.execute(select(Payment.payment_intent_stripe_id)).scalar_one()
    db.session.remove()
    stage.stripe("POST", "/v1/refunds", payment_intent=intent, amount=PAID // 2)
    stage.deliver_all()
    assert told() == ["credits_taken_back"]
    shown = page(cast, "credits")
    assert "9,960 credits are owed" in shown
    assert "$149.50 USD of the payment of $299.00 USD on" in shown
    assert "was refunded." in shown


def test_an_inquiry_freezes_nothing(cast: Cast, stage: Stage) -> None:
    """A bank that only asks has taken no money."""
    dispute = subscribed(cast, stage, INQUIRY)
    assert stands(cast.team_id) == (GRANTED, 0, 0)
    row = db.session.execute(select(Dispute)).scalar_one()
    assert (row.status, row.withdrawn) == ("warning_needs_response", 0)
    db.session.remove()
    assert told() == [], "nothing has happened to the money or the credits"
    stage.stripe("POST", f"/v1/disputes/{dispute}", **{"evidence[uncategorized_text]": "escalate_inquiry_evidence"})
    stage.stripe("GET", "/v1/events", limit=1)
    stage.deliver_all()
    assert stands(cast.team_id) == (0, GRANTED, 0)


def test_a_bundle_is_frozen_and_the_plan_is_not(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    stage.buy_bundle(cast.owner, cast.team_id, "credits_5000", FRAUDULENT)
    stage.deliver_all()
    stage.deliver_all()
    assert stands(cast.team_id) == (GRANTED, 5_000, 0)
    dispute = stage.stripe("GET", "/v1/disputes", limit=1)["data"][0]["id"]
    decide(stage, dispute, "lost")
    assert stands(cast.team_id) == (GRANTED, 0, 0)


def test_a_dispute_told_before_its_payment_brings_it(cast: Cast, stage: Stage) -> None:
    """Fault 39, for disputes."""
    stage.subscribe(cast.owner, cast.team_id, "business", card=FRAUDULENT)
    stage.stripe("GET", "/v1/events", limit=1)
    events = stage.new_events()
    first = [event for event in events if event["type"] == "charge.dispute.created"]
    assert first
    for event in (*first, *(event for event in events if event not in first)):
        stage.deliver(event)
        stage.drain()
    assert stands(cast.team_id) == (0, GRANTED, 0)


def test_what_ends_while_it_is_frozen_is_given_back_for_a_month_when_the_dispute_is_won(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time goes on: the month ends frozen, its credits with it. But it was paid for, and nobody could use it."""
    dispute = subscribed(cast, stage)
    stage.stripe("POST", f"/v1/disputes/{dispute}", **{"evidence[uncategorized_text]": "a letter"})
    customer = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"][0]
    method = stage.stripe("POST", "/v1/payment_methods/pm_card_visa/attach", customer=customer["customer"])["id"]
    stage.stripe("POST", f"/v1/subscriptions/{customer['id']}", default_payment_method=method)
    stage.advance(timedelta(days=33))
    stage.deliver_all()
    assert stands(cast.team_id) == (GRANTED, 0, 0), "the next month is another payment's"
    for _ in range(2):
        decide_late(stage, monkeypatch, "won")
        assert stands(cast.team_id) == (2 * GRANTED, 0, 0)
    mail, note = news_of("dispute_won")
    for words in (mail["text"], note):
        assert "20,000 credits that ended while they were frozen are given again." in words
        assert "is free again" not in words


def test_months_of_a_year_that_begin_while_it_is_disputed_begin_frozen(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispute = subscribed(cast, stage, interval="year")
    assert stands(cast.team_id) == (0, GRANTED, 0)
    stage.stripe("POST", f"/v1/disputes/{dispute}", **{"evidence[uncategorized_text]": "a letter"})
    stage.advance(timedelta(days=32))
    stage.deliver_all()
    assert stands(cast.team_id) == (0, GRANTED, 0)
    decide_late(stage, monkeypatch, "won")
    # The month that was over by then is given back, and the one that runs is thawed.
    assert stands(cast.team_id) == (2 * GRANTED, 0, 0)


def test_what_was_held_meanwhile_is_frozen_when_it_comes_back(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released or settled: nothing of a disputed payment can be spent by way of a hold that was there before."""
    stage.subscribe(cast.owner, cast.team_id, "business", card=FRAUDULENT)
    news = stage.new_events()
    with monkeypatch.context() as before_the_bank_speaks:
        before_the_bank_speaks.setattr(Gateway, "disputes_of", lambda _self, _intent: [])
        for event in news:
            if not event["type"].startswith("charge.dispute."):
                stage.deliver(event)
        stage.drain()
    with unit_of_work():
        released = holds.hold(cast.team_id, 3_000, "hold:1", timedelta(days=1)).id
        settled = holds.hold(cast.team_id, 2_000, "hold:2", timedelta(days=1)).id
    for event in news:
        stage.deliver(event)
    stage.drain()
    assert stands(cast.team_id) == (0, GRANTED - 5_000, 0)
    orders = len(entries(cast.team_id))
    assert look_at_disputed() == 0
    assert run_in_unit(payments_to_look_at) == [], "nothing is looked at while they are held"
    assert len(entries(cast.team_id)) == orders
    with unit_of_work():
        holds.release(cast.team_id, released)
        holds.settle(cast.team_id, settled, 500, "usage:settled")
    assert stands(cast.team_id)[0] == 4_500
    assert len(run_in_unit(payments_to_look_at)) == 1
    look_at_disputed()
    assert stands(cast.team_id) == (0, GRANTED - 500, 0)
    decide(stage, str(stage.stripe("GET", "/v1/disputes", limit=1)["data"][0]["id"]), "lost")
    assert stands(cast.team_id) == (0, 0, 500)
