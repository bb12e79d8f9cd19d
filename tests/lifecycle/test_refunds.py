"""Refunds and the credits they take back: in parts, out of order, twice, after the credits were spent, and undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text

from portal.billing.gateway import Gateway
from portal.billing.models import Checkout, Customer, Payment, Refund
from portal.catalog.queries import price_for
from portal.core import statements
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger, undo
from portal.credits.models import CreditEntry, CreditGrant, CreditReversal
from portal.credits.queries import balance
from portal.credits.storage import lock_account
from portal.usage.metering import Use, record
from portal.webhooks import apply
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.purchases import forget_effects, violations
from tests.refund_desk import RefundDesk
from tests.stage import Stage

PAID, GRANTED = 29_900, 20_000


@pytest.fixture
def desk(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> RefundDesk:
    return RefundDesk.open(stage, monkeypatch)


def subscribed(cast: Cast, stage: Stage, interval: str = "month") -> str:
    """A team on Business; returns the intent that paid for it."""
    stage.subscribe(cast.owner, cast.team_id, "business", interval)
    stage.deliver_all()
    intent = db.session.execute(select(Payment.payment_intent_stripe_id)).scalar_one()
    db.session.remove()
    return str(intent)


def spend(team_id: str, quantity: int) -> None:
    """Spend so many credits: a send_email costs one."""
    with unit_of_work():
        record(Use(team_id, f"spent-{quantity}", "send_email", quantity), lambda recorded: f'{{"id": "{recorded.id}"}}')
    db.session.remove()


def net(team_id: str) -> tuple[int, int]:
    """What may be spent, and what is owed."""
    db.session.remove()
    found = balance(team_id)
    assert violations() == []
    db.session.remove()
    return found.available, found.debt


def reversals() -> list[int]:
    return list(db.session.execute(select(CreditReversal.amount).order_by(CreditReversal.id)).scalars())


def refund_rows(team_id: str) -> list[tuple[int, str]]:
    query = select(Payment.amount, Payment.status).where(Payment.team_id == team_id, Payment.type == "refund")
    return sorted((row.amount, row.status) for row in db.session.execute(query))


def test_a_full_refund_of_unspent_credits_takes_all_of_them_once(cast: Cast, stage: Stage, desk: RefundDesk) -> None:
    """Fault 35: however often it is told, in both of its events."""
    intent = subscribed(cast, stage)
    desk.refund(intent, PAID)
    for _ in range(3):
        desk.deliver(*[told | {"id": told["id"] + new_id("again")} for told in desk.told])
    assert net(cast.team_id) == (0, 0)
    assert reversals() == [GRANTED]
    assert refund_rows(cast.team_id) == [(-PAID, "succeeded")]


def test_what_was_spent_already_becomes_debt_that_the_next_grant_repays(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    """Fault 36."""
    intent = subscribed(cast, stage)
    spend(cast.team_id, 16_000)
    desk.refund(intent, PAID)
    desk.deliver()
    assert net(cast.team_id) == (0, 16_000)
    page = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "16,000 credits" in page
    assert "taken from the next credits" in page
    with unit_of_work():
        ledger.grant(cast.team_id, kind="bundle", amount=20_000, cause_key="bundle:next", source="Next")
    assert net(cast.team_id) == (4_000, 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0)])
def test_partial_refunds_in_any_order_come_to_the_formula_of_their_sum(
    cast: Cast, stage: Stage, desk: RefundDesk, order: tuple[int, ...]
) -> None:
    """Fault 37: each is told twice too."""
    intent = subscribed(cast, stage)
    amounts = (9_999, 1, 7_777)
    told = []
    for amount in amounts:
        desk.refund(intent, amount)
        told.append(desk.told[-2:])
    for place in order:
        desk.deliver(*told[place])
        desk.deliver(*(each | {"id": each["id"] + "x"} for each in told[place]))
    taken = GRANTED * sum(amounts) // PAID
    assert net(cast.team_id) == (GRANTED - taken, 0)
    assert sum(reversals()) == taken
    assert refund_rows(cast.team_id) == sorted((-amount, "succeeded") for amount in amounts)
    paid = select(Payment.amount_refunded).where(Payment.type == "subscription_payment")
    assert db.session.execute(paid).scalar_one() in (0, sum(amounts))


def test_refunds_that_become_known_one_by_one_never_take_more_than_their_sum_so_far(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    intent = subscribed(cast, stage)
    total = 0
    for amount in (1, 1, 12_000, 1, 17_897):
        desk.refund(intent, amount)
        desk.deliver(*desk.told[-2:])
        total += amount
        assert net(cast.team_id) == (GRANTED - GRANTED * total // PAID, 0)
    assert total == PAID


def test_a_refund_told_before_its_payment_comes_to_nothing_in_the_end(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    """Fault 39, for a plan: the refund brings the payment and the subscription with it."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    intent = next(told for told in events if told["type"] == "payment_intent.succeeded")["data"]["object"]["id"]
    desk.refund(intent, PAID)
    desk.deliver()
    assert net(cast.team_id) == (0, 0)
    for told in events:
        stage.deliver(told)
    stage.drain()
    assert net(cast.team_id) == (0, 0)
    paid = select(CreditEntry.amount).where(CreditEntry.cause_key.like("%period:sub%")).order_by(CreditEntry.version)
    assert db.session.execute(paid).scalars().all() == [GRANTED, -GRANTED]


def test_a_pending_refund_takes_at_once_and_one_that_fails_gives_back_once(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    intent = subscribed(cast, stage)
    refund = desk.refund(intent, PAID // 2, "pending")
    desk.deliver()
    assert net(cast.team_id) == (GRANTED // 2, 0)
    assert refund_rows(cast.team_id) == [(-PAID // 2, "pending")]
    desk.fail(refund)
    for _ in range(2):
        desk.deliver(*[told | {"id": told["id"] + new_id("again")} for told in desk.told[-2:]])
    assert net(cast.team_id) == (GRANTED, 0)
    assert refund_rows(cast.team_id) == [(-PAID // 2, "failed")]
    assert db.session.execute(select(Refund.effect)).scalar_one() == "returned"
    back = db.session.execute(select(CreditGrant).where(CreditGrant.kind == "adjustment")).scalar_one()
    assert back.source == "Business, refund that did not go through"
    original = db.session.execute(select(CreditGrant.expires_at).where(CreditGrant.cause_key.like("period:sub%")))
    until = original.scalar_one()
    assert until is not None
    assert back.expires_at is not None
    assert back.expires_at >= until


def test_a_refund_that_had_failed_before_it_was_told_takes_nothing(cast: Cast, stage: Stage, desk: RefundDesk) -> None:
    intent = subscribed(cast, stage)
    desk.fail(desk.refund(intent, PAID))
    desk.deliver()
    assert net(cast.team_id) == (GRANTED, 0)
    assert reversals() == []
    assert db.session.execute(select(Refund.effect)).scalar_one() == "none"


def test_a_refund_that_fails_while_the_lock_is_waited_for_takes_nothing(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = subscribed(cast, stage)

    def fail_first(team_id: str) -> None:
        with db.engine.begin() as other:
            other.execute(text("update refunds set status = 'failed'"))
        lock_account(team_id)

    with unit_of_work() as session:
        paid = session.execute(select(Payment)).scalar_one()
        values = {"amount": PAID, "currency": "usd", "status": "succeeded", "created_at": paid.occurred_at}
        whose = {"team_id": cast.team_id, "payment_intent_stripe_id": intent}
        session.add(Refund(id=new_id("ref"), stripe_id="re_1", gen=1, synced_at=paid.occurred_at, **whose, **values))
        invoice = str(paid.invoice_stripe_id)
    monkeypatch.setattr(undo, "lock_account", fail_first)
    with unit_of_work():
        undo.undo_invoice(cast.team_id, invoice)
    assert net(cast.team_id) == (GRANTED, 0)
    assert reversals() == []
    assert db.session.execute(select(Refund.effect)).scalar_one() == "none"


def test_debt_of_a_refund_that_fails_is_gone_again(cast: Cast, stage: Stage, desk: RefundDesk) -> None:
    intent = subscribed(cast, stage)
    spend(cast.team_id, 15_000)
    refund = desk.refund(intent, PAID)
    desk.deliver()
    assert net(cast.team_id) == (0, 15_000)
    desk.fail(refund)
    desk.deliver(*desk.told[-2:])
    assert net(cast.team_id) == (5_000, 0)
    again = desk.refund(intent, PAID)
    desk.deliver(*desk.told[-2:])
    assert net(cast.team_id) == (0, 15_000)
    desk.fail(again)
    desk.deliver(*desk.told[-2:])
    assert net(cast.team_id) == (5_000, 0)


def test_a_failed_refund_gives_back_no_credits_that_would_have_ended_by_themselves(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    """5,000 were spent, the rest ended with the month; only then, in the next one, came the refund, and failed."""
    intent = subscribed(cast, stage)
    spend(cast.team_id, 5_000)
    stage.advance(timedelta(days=32))
    stage.deliver_all()
    refund = desk.refund(intent, PAID)
    desk.deliver()
    assert net(cast.team_id) == (GRANTED - 5_000, 0)
    desk.fail(refund)
    desk.deliver(*desk.told[-2:])
    assert net(cast.team_id) == (GRANTED, 0)


def grants_of_the_year(team_id: str) -> list[CreditGrant]:
    query = select(CreditGrant).where(CreditGrant.team_id == team_id, CreditGrant.cause_key.like("period:sub%"))
    return list(db.session.execute(query.order_by(CreditGrant.effective_at)).scalars())


def month_passes(cast: Cast, stage: Stage) -> None:
    until = grants_of_the_year(cast.team_id)[-1].expires_at
    now = db.session.execute(text("select app_now()")).scalar_one()
    db.session.remove()
    assert until is not None
    stage.advance(until - now + timedelta(seconds=1))
    stage.drain()


def test_a_refund_of_half_a_year_leaves_the_first_half_alone(cast: Cast, stage: Stage, desk: RefundDesk) -> None:
    intent = subscribed(cast, stage, "year")
    price = price_for("business", "year")
    assert price is not None
    db.session.remove()
    desk.refund(intent, price.unit_amount_cents // 2)
    desk.deliver()
    for month in range(1, 13):
        assert net(cast.team_id) == (GRANTED if month <= 6 else 0, 0), f"month {month}"
        if month < 12:
            month_passes(cast, stage)
    assert sum(reversals()) == 6 * GRANTED


def test_a_full_refund_of_a_year_takes_the_spent_months_too_and_grants_none_any_more(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    intent = subscribed(cast, stage, "year")
    price = price_for("business", "year")
    assert price is not None
    db.session.remove()
    spend(cast.team_id, 3_000)
    month_passes(cast, stage)
    desk.refund(intent, price.unit_amount_cents)
    desk.deliver()
    assert net(cast.team_id) == (0, 3_000)
    month_passes(cast, stage)
    assert net(cast.team_id)[0] == 0
    assert len(reversals()) == 3


# --- what was bought on a checkout page by itself


BUNDLE, BUNDLE_PAID = 5_000, 8_000


def buy_bundle(cast: Cast, stage: Stage) -> tuple[str, str, list[dict[str, Any]]]:
    """A team on Business buys a bundle; returns page, intent and the news of it, of which none is delivered yet."""
    subscribed(cast, stage)
    checkout_id = stage.buy_bundle(cast.owner, cast.team_id, "credits_5000")
    events = stage.new_events()
    page = db.session.execute(select(Checkout.stripe_id).where(Checkout.id == checkout_id)).scalar_one()
    db.session.remove()
    intent = stage.stripe("GET", f"/v1/checkout/sessions/{page}")["payment_intent"]
    return str(page), intent, events


def taken_of_bundle(page: str) -> int:
    query = select(CreditReversal.amount).join(CreditGrant, CreditGrant.id == CreditReversal.grant_id)
    return sum(db.session.execute(query.where(CreditGrant.cause_key == f"bundle:{page}")).scalars())


def test_a_refund_of_a_bundle_takes_its_part_of_the_bundle(cast: Cast, stage: Stage, desk: RefundDesk) -> None:
    page, intent, events = buy_bundle(cast, stage)
    for told in events:
        stage.deliver(told)
    stage.drain()
    desk.refund(intent, 2_001)
    desk.deliver()
    assert taken_of_bundle(page) == BUNDLE * 2_001 // BUNDLE_PAID
    desk.refund(intent, BUNDLE_PAID - 2_001)
    desk.deliver(*desk.told[-2:])
    assert taken_of_bundle(page) == BUNDLE
    assert net(cast.team_id) == (GRANTED, 0)
    top_up = db.session.execute(select(Payment).where(Payment.type == "top_up")).scalar_one()
    assert (top_up.stripe_id, top_up.checkout_stripe_id, top_up.amount) == (intent, page, BUNDLE_PAID)
    assert top_up.description == "Bundle of 5,000 credits"


def test_a_bundle_with_an_invoice_of_its_own_is_refunded_alike(
    cast: Cast, stage: Stage, desk: RefundDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the page is asked to write one: then the payment is found by the invoice."""
    create = Gateway.create_checkout_session

    def with_invoice(self: Gateway, params: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
        more = {"invoice_creation": {"enabled": True}} if params["mode"] == "payment" else {}
        return create(self, params | more, idempotency_key)

    monkeypatch.setattr(Gateway, "create_checkout_session", with_invoice)
    page, intent, events = buy_bundle(cast, stage)
    for told in events:
        stage.deliver(told)
    stage.drain()
    desk.refund(intent, BUNDLE_PAID // 2)
    desk.deliver()
    assert taken_of_bundle(page) == BUNDLE // 2
    rows = db.session.execute(select(Payment).where(Payment.type == "top_up")).scalars().all()
    assert [(row.stripe_id, row.checkout_stripe_id, row.amount) for row in rows] == [(intent, page, BUNDLE_PAID)]
    assert rows[0].invoice_stripe_id is not None


def test_a_refund_of_a_bundle_told_before_its_payment_comes_to_nothing_in_the_end(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    """Fault 39, for a bundle: the refund brings the page and its payment with it."""
    page, intent, events = buy_bundle(cast, stage)
    desk.refund(intent, BUNDLE_PAID)
    desk.deliver()
    assert net(cast.team_id) == (GRANTED, 0)
    for told in events:
        stage.deliver(told)
    stage.drain()
    assert net(cast.team_id) == (GRANTED, 0)
    assert taken_of_bundle(page) == BUNDLE
    assert refund_rows(cast.team_id) == [(-BUNDLE_PAID, "succeeded")]


def test_a_refund_of_a_bundle_waits_while_its_page_does_not_say_that_it_is_paid(
    cast: Cast, stage: Stage, desk: RefundDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a payment that takes days: parked until the credits can be granted, and then net 0."""
    page, intent, _events = buy_bundle(cast, stage)
    real = Gateway.checkout_session_of
    desk.refund(intent, BUNDLE_PAID)
    with monkeypatch.context() as patch:
        patch.setattr(
            Gateway,
            "checkout_session_of",
            lambda self, which: (real(self, which) or {}) | {"payment_status": "unpaid"},
        )
        desk.deliver()
    parked = select(StripeEvent.last_error).where(StripeEvent.state == "parked")
    assert set(db.session.execute(parked).scalars()) == {f"the credits of {page} are not granted yet"}
    assert db.session.execute(select(Refund)).first() is None
    db.session.remove()
    stage.advance(timedelta(minutes=1))
    stage.drain()
    assert db.session.execute(parked).first() is None
    assert taken_of_bundle(page) == BUNDLE
    assert net(cast.team_id) == (GRANTED, 0)


def test_a_refund_of_what_gave_no_credits_stands_in_the_history_and_takes_none(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    customer = db.session.execute(select(Customer.stripe_id)).scalar_one()
    db.session.remove()
    intent = stage.stripe(
        "POST", "/v1/payment_intents", customer=customer, amount=900, currency="usd",
        payment_method="pm_card_visa", confirm="true",
    )  # fmt: skip
    desk.refund(intent["id"], 300)
    desk.deliver()
    assert refund_rows(cast.team_id) == [(-300, "succeeded")]
    assert reversals() == []
    assert db.session.execute(select(Refund.effect)).scalar_one() == "none"


def test_a_refund_in_every_place_of_the_news_of_its_purchase_ends_the_same(
    cast: Cast, stage: Stage, desk: RefundDesk
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    events = stage.new_events()
    by_type = {told["type"]: told for told in events}
    news = [by_type[name] for name in ("customer.subscription.created", "invoice.paid", "payment_intent.succeeded")]
    desk.refund(by_type["payment_intent.succeeded"]["data"]["object"]["id"], 10_000)
    results = set()
    for place in range(len(news) + 1):
        forget_effects(stage.app)
        for told in (*news[:place], *desk.told, *news[place:]):
            stage.deliver(told)
            apply.drain()
        rows = db.session.execute(select(Payment.stripe_id, Payment.type, Payment.amount, Payment.status)).all()
        results.add((tuple(sorted(tuple(row) for row in rows)), net(cast.team_id), tuple(reversals())))
        db.session.remove()
    assert len(results) == 1
    assert next(iter(results))[1] == (GRANTED - GRANTED * 10_000 // PAID, 0)


class Cut:
    """Ends the connection's work at the n-th statement, as a crash would: everything since the last commit is undone."""

    def __init__(self, at: int) -> None:
        self.left, self.was_cut = at, False

    def before(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **more: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.was_cut = True
                raise ConnectionError("cut off here")
            return execute(*args, **more)

        return watched


def test_cut_off_between_any_two_statements_a_refund_is_applied_once(
    cast: Cast, stage: Stage, desk: RefundDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refund after another, each cut off one statement later than the one before, and then told again."""
    intent = subscribed(cast, stage)
    at, total = 0, 0
    while True:
        at, total = at + 1, total + 101
        desk.refund(intent, 101)
        created = desk.told[-2]
        assert stage.deliver(created) == 200
        cut = Cut(at)
        with monkeypatch.context() as cutting:
            cutting.setattr(psycopg.Cursor, "execute", cut.before(psycopg.Cursor.execute))
            cutting.setattr(statements, "run", cut.before(statements.run))
            try:
                apply.drain()
            except ConnectionError:
                db.session.rollback()  # it hit the claim, or the note that the event failed
        db.session.execute(text("update stripe_events set run_at = now(), lease_until = null where state = 'pending'"))
        db.session.commit()
        apply.drain()
        assert sum(reversals()) == GRANTED * total // PAID, f"cut off at statement {at}"
        db.session.remove()
        desk.refunds.clear()  # so that each refund takes as many statements as the one before
        if not cut.was_cut:
            break
    assert at > 20, "the unit has more statements than that"
    assert net(cast.team_id) == (GRANTED - GRANTED * total // PAID, 0)
