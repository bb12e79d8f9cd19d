"""A renewal that fails, under a moved clock: which mails go out on which day, and what the team may do meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from portal.billing.entitlements import effective
from portal.billing.models import Invoice, PaymentMethod, Subscription
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.models import CreditGrant
from portal.credits.queries import balance
from portal.notifications.models import OutboxItem
from portal.worker import tasks
from tests.cast import Cast
from tests.chaos.history import FAILS_LATER
from tests.purchases import violations
from tests.stage import Stage

DAY = timedelta(days=1)
# Stripe tries again 1, 3, 5 and 7 days after the first time, and then ends the subscription.
LAST_TRY = 7
PRO_CREDITS, FREE_CREDITS = 5_000, 100
KINDS = ("payment_failed", "payment_recovered", "payment_given_up")


def mails() -> list[tuple[str, str]]:
    """What was put for the team's billing address, in order: the message and its subject."""
    query = select(OutboxItem.payload).order_by(OutboxItem.created_at, OutboxItem.id)
    found = [payload for payload in db.session.execute(query).scalars() if payload["message"] in KINDS]
    db.session.remove()
    return [(mail["message"], mail["subject"]) for mail in found if mail["to"] == "owner@example.com"]


def standing(team_id: str) -> tuple[str | None, str, str]:
    """The state of the newest subscription, the plan in force and what is left of it."""
    query = select(Subscription.status).order_by(Subscription.started_at.desc()).limit(1)
    status, rights = db.session.execute(query).scalar(), effective(team_id)
    db.session.remove()
    assert rights.plan is not None
    return status, rights.plan.key, rights.access


def until_the_first_failure(stage: Stage, cast: Cast, interval: str = "month") -> None:
    """A trial with a card that fails later: its first real payment, after two weeks, does not go through."""
    stage.subscribe(cast.owner, cast.team_id, "pro", interval, FAILS_LATER)
    stage.deliver_all()
    assert standing(cast.team_id)[0] == "trialing"
    stage.advance(timedelta(days=14, hours=2))
    stage.deliver_all()


def pay_with_another_card(stage: Stage, invoice: str | None = None) -> None:
    """Pay an invoice, which must be the only open one where it is not named."""
    named = Invoice.stripe_id == invoice if invoice else Invoice.status == "open"
    invoice, subscription = db.session.execute(
        select(Invoice.stripe_id, Subscription.stripe_id)
        .join(Subscription, Subscription.stripe_id == Invoice.subscription_stripe_id)
        .where(named)
    ).one()
    db.session.remove()
    customer = stage.stripe("GET", f"/v1/subscriptions/{subscription}")["customer"]
    card = stage.stripe("POST", "/v1/payment_methods/pm_card_visa/attach", customer=customer)["id"]
    stage.stripe("POST", f"/v1/customers/{customer}", **{"invoice_settings[default_payment_method]": card})
    stage.stripe("POST", f"/v1/invoices/{invoice}/pay", payment_method=card)


@pytest.mark.parametrize(
    ("paid_on", "told"),
    [
        (1, ["first", "recovered"]),
        (4, ["first", "open", "recovered"]),
        (6, ["first", "open", "open", "recovered"]),
        (None, ["first", "open", "open", "given up"]),
    ],
)
def test_mails_and_states_come_on_their_days(cast: Cast, stage: Stage, paid_on: int | None, told: list[str]) -> None:
    until_the_first_failure(stage, cast)
    seen: list[tuple[int, str]] = [(0, word) for word in words()]
    for day in range(1, LAST_TRY + 3):
        stage.advance(DAY)
        if day == paid_on:
            pay_with_another_card(stage)
        stage.deliver_all()
        stage.drain()
        seen += [(day, word) for word in words()[len(seen) :]]
        paid, over = paid_on is not None and day >= paid_on, paid_on is None and day >= LAST_TRY
        left = balance(cast.team_id).available
        if paid:
            assert (*standing(cast.team_id), left) == ("active", "pro", "full", PRO_CREDITS)
        elif over:
            assert (*standing(cast.team_id), left) == ("canceled", "free", "full", FREE_CREDITS)
        else:
            assert (*standing(cast.team_id), left) == ("past_due", "pro", "full", 0), "what is not paid grants nothing"
    assert [word for _, word in seen] == told
    days: dict[str, list[int | None]] = {"first": [0], "open": [3, 5], "recovered": [paid_on], "given up": [LAST_TRY]}
    for word in set(told):
        assert [day for day, found in seen if found == word] == days[word][: told.count(word)]
    assert violations() == []


@pytest.mark.parametrize(
    ("interval", "afterwards", "left"),
    [("month", "past_due", 0), ("month", "cancel", FREE_CREDITS), ("year", "past_due", PRO_CREDITS)],
)
def test_a_month_that_is_paid_when_it_is_over_stands_in_the_ledger_and_repays_what_is_owed(
    cast: Cast, stage: Stage, interval: str, afterwards: str, left: int
) -> None:
    """Nothing of it can be spent any more, and what is free by now, or the next month of a year, is there beside it."""
    with stage.retries([1, 3], afterwards):
        until_the_first_failure(stage, cast, interval)
        invoice = db.session.execute(select(Invoice.stripe_id).where(Invoice.status == "open")).scalar_one()
        stage.advance(4 * DAY)
        stage.deliver_all()
        stage.advance(29 * DAY)
        stage.deliver_all()
        stage.drain()
    owed = 300 if afterwards == "past_due" else 0  # nobody owes anything who has free credits
    if owed:
        with unit_of_work():
            ledger.grant(cast.team_id, kind="bundle", amount=owed, cause_key="bundle:test", source="A bundle")
            ledger.spend(cast.team_id, owed, "usage:all")
            ledger.reverse(cast.team_id, "bundle:test", owed, "refund:test")
    assert balance(cast.team_id).debt == owed
    pay_with_another_card(stage, invoice)
    stage.deliver_all()
    stage.drain()
    paid = CreditGrant.cause_key.like("period:sub%:plan:%")
    months = db.session.execute(select(CreditGrant).where(paid).order_by(CreditGrant.effective_at)).scalars().all()
    first, *later = [(month.amount, month.state) for month in months]
    assert first == (PRO_CREDITS, "ended")
    assert later == ([(PRO_CREDITS, "live")] if interval == "year" else [])
    found = balance(cast.team_id)
    assert (found.available, found.debt) == (left, 0)
    db.session.remove()
    assert violations() == []


def test_a_plan_that_a_schedule_begins_is_told_of_like_a_renewal(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "pro")
    stage.deliver_all()
    [before] = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"]
    stage.stripe("DELETE", f"/v1/subscriptions/{before['id']}")
    stage.advance(DAY)
    failing = stage.stripe(
        "POST", "/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=before["customer"]
    )["id"]
    order = {
        "customer": before["customer"],
        "start_date": "now",
        "phases[0][items][0][price]": before["items"]["data"][0]["price"]["id"],
        "default_settings[default_payment_method]": failing,
    }
    stage.stripe("POST", "/v1/subscription_schedules", **order)
    stage.deliver_all()
    assert standing(cast.team_id)[0] == "past_due"
    assert words() == ["first"]
    for _ in range(LAST_TRY):
        stage.advance(DAY)
        stage.deliver_all()
        stage.drain()
    assert standing(cast.team_id)[0] == "canceled"
    assert words() == ["first", "open", "open", "given up"]
    assert violations() == []


def words() -> list[str]:
    """Each mail in a word."""
    found = []
    for message, subject in mails():
        if message == "payment_failed":
            found.append("first" if "did not go through" in subject else "last" if "Last" in subject else "open")
        else:
            found.append({"payment_recovered": "recovered", "payment_given_up": "given up"}[message])
    return found


def test_days_on_which_no_worker_ran_are_made_up_for_by_one_mail(cast: Cast, stage: Stage) -> None:
    until_the_first_failure(stage, cast)
    assert words() == ["first"]
    for _ in range(6):  # Stripe goes on trying, and nobody here hears of it
        stage.advance(DAY)
        stage.new_events()
    stage.drain()
    assert words() == ["first", "open"], "of days 3 and 5 the last one is told"
    for _ in range(3):
        stage.drain()
    assert words() == ["first", "open"]


def test_every_billing_contact_is_told_once_and_led_to_the_card(cast: Cast, stage: Stage) -> None:
    until_the_first_failure(stage, cast)
    for event in stage.stripe("GET", "/v1/events", limit=100, type="invoice.payment_failed")["data"]:
        stage.deliver({**event, "id": f"{event['id']}again"})
    stage.drain()
    payloads = list(db.session.execute(select(OutboxItem.payload)).scalars())
    failed = [mail for mail in payloads if mail["message"] == "payment_failed"]
    assert sorted(mail["to"] for mail in failed) == ["billing@example.com", "owner@example.com"]
    invoice_id = db.session.execute(select(Invoice.id).where(Invoice.status == "open")).scalar_one()
    link = f"{stage.app.config['SETTINGS'].base_url}/teams/{cast.team_id}/invoices/{invoice_id}"
    for mail in failed:
        assert mail["subject"] == "Your payment of $99.00 USD did not go through"
        assert link in mail["text"]
        assert link in mail["html"]
        assert "It is tried again on " in mail["text"]
    db.session.remove()
    told = {
        "billing": "Your payment of $99.00 USD did not go through",
        f"invoices/{invoice_id}": "$99.00 USD are still to be paid",
    }
    for path, words in told.items():
        page = cast.owner.client.get(f"/teams/{cast.team_id}/{path}").get_data(as_text=True)
        assert [part for part in (words, "Update card", "Pay now") if part not in page] == [], path


def test_a_declined_first_payment_is_nobodys_dunning(cast: Cast, stage: Stage) -> None:
    page = stage.begin_checkout(cast.owner, cast.team_id, "business")
    assert stage.pay(page, "4000000000000002").status_code == 402
    stage.deliver_all()
    assert mails() == []


@pytest.mark.parametrize(("months_ahead", "told"), [(-1, False), (0, True), (1, True), (2, False), (14, False)])
def test_a_card_that_ends_soon_is_told_of_once(cast: Cast, stage: Stage, months_ahead: int, told: bool) -> None:
    # Early in a month: on its last day the month after the next is less than 32 days away.
    stage.advance(timedelta(days=(10 - clock.now().day) % 28))
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    now = clock.now()
    months = now.year * 12 + now.month - 1 + months_ahead
    with unit_of_work() as session:
        session.execute(update(PaymentMethod).values(exp_year=months // 12, exp_month=months % 12 + 1))
    for _ in range(3):
        stage.advance(timedelta(hours=1))
        run_task("billing.expiring_cards")
    found = [payload for payload in payloads_of("card_expiring") if payload["to"] == "owner@example.com"]
    assert len(found) == told
    if told:
        assert found[0]["subject"] == f"Your Visa •••• 4242 ends {months % 12 + 1:02}/{months // 12}"


def test_a_plan_that_ends_by_itself_needs_no_new_card(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    now = clock.now()
    with unit_of_work() as session:
        session.execute(update(PaymentMethod).values(exp_year=now.year, exp_month=now.month))
        session.execute(update(Subscription).values(cancel_at=now + DAY))
    run_task("billing.expiring_cards")
    assert payloads_of("card_expiring") == []


def run_task(name: str) -> None:

    tasks()[name].run()
    db.session.remove()


def payloads_of(message: str) -> list[dict[str, Any]]:
    found = list(db.session.execute(select(OutboxItem.payload)).scalars())
    db.session.remove()
    return [payload for payload in found if payload["message"] == message]
