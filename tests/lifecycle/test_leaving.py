"""Leaving a plan and staying after all, pausing and going on: done at Stripe, said in words, and with the right sums."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from portal.accounts.models import AuditEntry
from portal.billing.models import Payment
from portal.core.database import db
from portal.core.times import day_words
from portal.core.unit_of_work import unit_of_work
from portal.credits.models import CreditGrant, CreditReversal
from portal.credits.periods import period
from portal.credits.queries import balance
from portal.notifications.models import OutboxItem
from portal.usage.metering import CreditsFrozen, Use, record
from tests.cast import Cast
from tests.metered import METER, again, report
from tests.plan_changes import HALF, Changer
from tests.purchases import paid_grants, violations
from tests.stage import VISA, Stage
from tests.trouble import call_fault, trouble
from tests.web.api.backend import backend_of


def on(stage: Stage, cast: Cast, plan: str = "business", interval: str = "month", wait: timedelta = HALF) -> Changer:
    return Changer.on(stage, cast.owner, cast.team_id, plan, interval, wait=wait)


def page_of(changer: Changer, path: str) -> str:
    answer = changer.person.client.get(f"/teams/{changer.team_id}/{path}")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return " ".join(answer.get_data(as_text=True).split())


def credits_left(team_id: str) -> int:
    found = balance(team_id)
    db.session.remove()
    return found.available - found.debt


def spend(team_id: str, quantity: int, key: str) -> None:
    with unit_of_work():
        record(Use(team_id, key, "send_email", quantity), lambda recorded: f"{recorded.balance}")
    db.session.remove()


def mails_to_owner() -> list[str]:
    """The subjects of what was sent about leaving, oldest first."""
    rows = db.session.execute(select(OutboxItem.payload).order_by(OutboxItem.id)).scalars().all()
    db.session.remove()
    told = ("plan_canceled", "plan_resumed", "plan_paused")
    return [row["subject"] for row in rows if row["message"] in told and row["to"] == "owner@example.com"]


def test_canceled_with_a_reason_it_ends_with_the_period_and_can_be_kept_until_then(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast)
    page = page_of(changer, "plan/cancellation")
    assert "Everybody stays. Free has 1 seat and the team has 4 members, so nobody can be added." in page
    _, change = changer.leave("cancel", feedback="too_expensive", comment=" Too dear for us. ")
    assert change.state == "done"
    live = changer.live()
    assert live["cancel_at_period_end"]
    given = (live["cancellation_details"]["feedback"], live["cancellation_details"]["comment"])
    assert given == ("too_expensive", "Too dear for us.")
    changer.assert_mirrored()
    done = page_of(changer, f"plan/changes/{change.id}")
    assert "Business ends on" in done
    assert "Nothing is deleted." in done
    assert "Resume plan" in page_of(changer, "billing")
    _, change = changer.leave("resume")
    assert change.state == "done"
    assert changer.live()["cancel_at"] is None
    changer.assert_mirrored()
    assert "Business goes on" in page_of(changer, f"plan/changes/{change.id}")
    stage.advance(timedelta(minutes=1))  # Stripe counts whole seconds, and nobody leaves twice in one
    changer.leave("cancel")
    canceled = changer.mirrored()
    assert canceled.cancel_at is not None
    changer.pass_period()
    assert changer.mirrored().status == "canceled"
    changer.assert_mirrored()
    ends = f"Business ends on {day_words(canceled.cancel_at, 'UTC')}"
    assert mails_to_owner() == [ends, "Business goes on", ends, "Business has ended"]
    actions = set(db.session.execute(select(AuditEntry.action)).scalars())
    assert {"plan_cancel.agreed", "plan.canceled", "plan_resume.agreed", "plan.resumed"} <= actions
    assert violations() == []


@pytest.mark.parametrize(("interval", "spent"), [("month", 15_000), ("year", 0)])
def test_ended_now_the_rest_is_kept_as_shown_and_its_share_of_the_credits_goes(
    cast: Cast, stage: Stage, interval: str, spent: int
) -> None:
    """Of a month of which twelve days are over; whoever has used more of it owes the difference."""
    changer = on(stage, cast, interval=interval)
    if spent:
        spend(cast.team_id, spent, "much")
    before = changer.mirrored()
    preview, change = changer.leave("cancel_now", feedback="unused")
    assert change.state == "done", change.failure_code
    assert (preview.amount_due, preview.shown["at_once"]) == (0, True)
    assert changer.mirrored().status == "canceled"
    given = changer.invoices()[0]
    assert given["total"] == preview.shown["total"] < 0
    assert stage.stripe("GET", f"/v1/customers/{changer.live()['customer']}")["balance"] == given["total"]
    changer.assert_mirrored()
    assert before.current_period_start is not None
    start = before.current_period_start
    until = period(start, "month", 0)[1]
    rest = until - preview.expires_at.replace(microsecond=0)
    kept = 20_000 - 20_000 * int(rest.total_seconds()) // int((until - start).total_seconds())
    assert 7_000 < kept < 9_000
    left = kept - spent
    assert credits_left(cast.team_id) in (left, left + 100)  # a free month may have begun, and pays what is owed first
    page = page_of(changer, f"plan/changes/{change.id}")
    assert "Business has ended" in page
    assert "Kept for your next invoices" in page
    assert mails_to_owner() == ["Business has ended"]
    assert violations() == []


def ended_halfway(cast: Cast, stage: Stage, spent: int) -> tuple[Changer, str]:
    """A team whose plan has ended with the rest given back, before it has used more than the time before; and its payment."""
    changer = on(stage, cast)
    spend(cast.team_id, spent, "some")
    intent = db.session.execute(select(Payment.payment_intent_stripe_id)).scalar_one()
    db.session.remove()
    return changer, str(intent)


def taken_of_month(team_id: str) -> int:
    """What was ordered back of the plan's month, by anything."""
    mine = (CreditGrant.team_id == team_id) & CreditGrant.cause_key.like("period:sub%")
    query = select(func.sum(CreditReversal.amount)).join(CreditGrant, CreditGrant.id == CreditReversal.grant_id)
    found = db.session.execute(query.where(mine)).scalar()
    db.session.remove()
    return int(found or 0)


def refund(stage: Stage, intent: str, amount: int) -> str:
    refunded = str(stage.stripe("POST", "/v1/refunds", payment_intent=intent, amount=amount)["id"])
    stage.deliver_all()
    return refunded


def test_a_rest_that_is_paid_out_by_a_refund_takes_its_credits_once(cast: Cast, stage: Stage) -> None:
    """In two parts, as the balance; what is refunded beyond the rest takes its own share."""
    changer, intent = ended_halfway(cast, stage, 5_000)
    changer.leave("cancel_now")
    given, rest = taken_of_month(cast.team_id), -changer.invoices()[0]["total"]
    assert 10_000 < given < 15_000
    left = credits_left(cast.team_id)
    for part in (rest // 3, rest - rest // 3):
        refund(stage, intent, part)
        assert (taken_of_month(cast.team_id) - given, credits_left(cast.team_id)) in ((0, left), (1, left - 1))
    beyond = 2_990  # a tenth of what was paid
    refund(stage, intent, beyond)
    assert taken_of_month(cast.team_id) == 20_000 * (rest + beyond) // 29_900
    refund(stage, intent, 29_900 - rest - beyond)
    assert taken_of_month(cast.team_id) == 20_000
    assert violations() == []


def test_a_refund_before_the_rest_was_given_back_is_none_of_it(cast: Cast, stage: Stage) -> None:
    changer, intent = ended_halfway(cast, stage, 5_000)
    refund(stage, intent, 2_990)
    assert taken_of_month(cast.team_id) == 2_000
    stage.advance(timedelta(minutes=5))
    changer.leave("cancel_now")
    given, rest = taken_of_month(cast.team_id) - 2_000, -changer.invoices()[0]["total"]
    assert given > 10_000
    refund(stage, intent, rest)
    assert taken_of_month(cast.team_id) - 2_000 - given in (0, 1)
    assert violations() == []


def test_ended_now_the_share_goes_also_when_the_news_of_what_is_given_back_come_before_the_end(
    cast: Cast, stage: Stage
) -> None:
    """Stripe is asked twice, and what was used is on a later invoice than what is given back."""
    changer = on(stage, cast)
    backend = backend_of(stage.app, cast.team_id, cast.owner)
    assert backend.use(METER, 600_000).status_code == 200
    report()
    again(stage)
    preview = changer.shown(changer.ask_to_leave("cancel_now"))
    with trouble(stage, call_fault("drop_before", "DELETE /v1/subscriptions/*", times=None)):
        changer.agree(preview)
        stage.drain()
        stage.deliver_all()
    assert (changer.live()["status"], taken_of_month(cast.team_id)) == ("active", 0)
    with unit_of_work() as session:
        session.execute(text("update pending_changes set run_at = app_now() where finished_at is null"))
    stage.drain()
    stage.deliver_all()
    used, given = changer.invoices()[:2]
    assert given["total"] < 0 < used["total"]
    assert changer.live()["latest_invoice"] == used["id"]
    assert taken_of_month(cast.team_id) > 10_000, "more than half of the month is left"
    assert violations() == []


def test_what_was_given_back_and_charged_again_is_not_taken_when_the_plan_ends_later(cast: Cast, stage: Stage) -> None:
    """Ended, kept and ended for good by the seller at Stripe, within one month."""
    changer = on(stage, cast)
    address = f"/v1/subscriptions/{changer.live()['id']}"
    soon = changer.live()["start_date"] + int(timedelta(days=14).total_seconds())
    for end in (soon, ""):
        stage.stripe("POST", address, cancel_at=end, proration_behavior="always_invoice")
        stage.deliver_all()
        stage.advance(timedelta(minutes=1))
    again_charged, given_back = (invoice["total"] for invoice in changer.invoices()[:2])
    assert again_charged == -given_back > 0
    stage.advance(timedelta(days=10))
    stage.stripe("DELETE", address, prorate="true", invoice_now="true")
    stage.deliver_all()
    assert changer.invoices()[0]["total"] < 0
    assert 3_000 < taken_of_month(cast.team_id) < 8_000, "a quarter of the month is left, and not more than half of it"
    assert violations() == []


@pytest.mark.parametrize(("policy", "status"), [("no_refund", 303), ("no", 409)])
def test_ended_now_by_another_policy_of_the_catalog(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch, policy: str, status: int
) -> None:
    changer = on(stage, cast)
    changer.change_seats(27)  # paid with the next invoice, so that something waits
    extensions = stage.app.extensions
    monkeypatch.setitem(extensions, "catalog", replace(extensions["catalog"], cancel_now=policy))
    answer = changer.ask_to_leave("cancel_now")
    assert answer.status_code == status
    if status == 409:
        assert "This plan ends with its period" in answer.get_data(as_text=True)
        assert "Nothing was charged and nothing has changed." in answer.get_data(as_text=True)
        return
    preview, change = changer.finish(changer.shown(answer))
    assert change.state == "done", change.failure_code
    assert preview.amount_due > 0
    last = changer.invoices()[0]
    assert (last["amount_paid"], last["total"]) == (preview.amount_due, preview.shown["total"])
    assert credits_left(cast.team_id) in (20_000, 20_100)
    changer.assert_mirrored()
    assert violations() == []


def test_a_last_invoice_that_is_not_paid_is_said_to_be_open(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    changer = on(stage, cast)
    changer.change_seats(27)
    changer.switch_card("pm_card_chargeCustomerFail")
    extensions = stage.app.extensions
    monkeypatch.setitem(extensions, "catalog", replace(extensions["catalog"], cancel_now="no_refund"))
    preview, change = changer.leave("cancel_now")
    assert (change.state, changer.mirrored().status) == ("done", "canceled")
    assert (changer.invoices()[0]["status"], changer.invoices()[0]["amount_due"]) == ("open", preview.amount_due)
    page = page_of(changer, f"plan/changes/{change.id}")
    assert "its last invoice stays open" in page
    assert "Charged" not in page
    changer.assert_mirrored()


def test_a_planned_change_is_dropped_by_canceling_and_that_is_said_before_and_after(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast)
    changer.change("pro")
    assert "to Pro is dropped" in page_of(changer, "plan/cancellation")
    answer = changer.ask_to_leave("cancel_now")
    assert answer.status_code == 409
    assert "A change of plan is planned" in answer.get_data(as_text=True)
    _, change = changer.leave("cancel")
    assert change.state == "done"
    assert changer.live()["schedule"] is None
    changer.assert_mirrored()
    _, change = changer.leave("resume")
    assert "is not planned any more" in page_of(changer, f"plan/changes/{change.id}")
    changer.assert_mirrored()
    assert changer.mirrored().scheduled_plan_key is None
    changer.change("pro")
    changer.pass_period()
    assert changer.live()["schedule"] is not None, "it goes on until the schedule lets it go"
    preview, change = changer.leave("cancel_now")
    assert (change.state, changer.mirrored().status) == ("done", "canceled")
    assert changer.invoices()[0]["total"] == preview.shown["total"] < 0
    changer.assert_mirrored()


def test_what_a_schedule_is_to_end_can_be_kept(cast: Cast, stage: Stage) -> None:
    """As staff may have set it up in Stripe's dashboard."""
    changer = on(stage, cast)
    changer.change("pro")
    stage.stripe("POST", f"/v1/subscription_schedules/{changer.live()['schedule']['id']}", end_behavior="cancel")
    stage.deliver_all()
    changer.assert_mirrored()
    assert changer.mirrored().cancel_at is not None
    _, change = changer.leave("resume")
    assert change.state == "done"
    assert changer.live()["cancel_at"] is None
    changer.assert_mirrored()


def test_paused_within_the_period_nothing_is_lost_and_nothing_charged(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast)
    stage.buy_bundle(cast.owner, cast.team_id)
    stage.deliver_all()
    before, ends = changer.invoices(), changer.mirrored().current_period_end
    assert "is not given back" in page_of(changer, "plan/pause")
    _, change = changer.leave("pause")
    assert (change.state, changer.mirrored().status) == ("done", "paused")
    changer.assert_mirrored()
    assert "Business is paused" in page_of(changer, f"plan/changes/{change.id}")
    overview = page_of(changer, "billing")
    assert "credits are frozen" in overview
    assert "4 of 25 used" in overview
    with pytest.raises(CreditsFrozen):
        spend(cast.team_id, 1, "waits")
    assert credits_left(cast.team_id) == 21_000
    stage.advance(timedelta(days=3))
    _, change = changer.leave("unpause")
    assert (change.state, changer.mirrored().status) == ("done", "active")
    assert (changer.invoices(), changer.mirrored().current_period_end) == (before, ends)
    spend(cast.team_id, 1, "waits")
    changer.assert_mirrored()
    assert mails_to_owner() == ["Business is paused", "Business goes on"]
    assert violations() == []


@pytest.mark.parametrize("card", [VISA, "pm_card_chargeCustomerFail"])
def test_let_go_on_after_the_period_a_new_one_begins_and_costs_what_was_shown(
    cast: Cast, stage: Stage, card: str
) -> None:
    """Refused, the plan goes on all the same, as Stripe has it, and dunning takes over."""
    changer = on(stage, cast)
    changer.leave("pause")
    if card != VISA:
        changer.switch_card(card)
    stage.advance(timedelta(days=40))
    stage.deliver_all()
    assert changer.mirrored().status == "paused"
    before = changer.invoices()
    preview, change = changer.leave("unpause")
    assert (preview.amount_due, change.state) == (29_900, "done")
    newest = changer.invoices()[0]
    assert newest not in before
    assert newest["amount_due"] == 29_900
    page = page_of(changer, f"plan/changes/{change.id}")
    if card == VISA:
        assert (newest["status"], changer.mirrored().status) == ("paid", "active")
        assert credits_left(cast.team_id) == 20_000
        assert "The payment did not go through" not in page
    else:
        assert (newest["status"], changer.mirrored().status) == ("open", "past_due")
        assert credits_left(cast.team_id) == 0
        assert "The payment did not go through" in page
    changer.assert_mirrored()
    assert violations() == []


def test_the_months_of_a_year_bring_no_credits_while_it_is_paused(cast: Cast, stage: Stage) -> None:
    """Not what was to come meanwhile either: the month under way is brought once the plan goes on."""
    changer = on(stage, cast, interval="year")
    changer.leave("pause")
    stage.advance(timedelta(days=62))
    stage.drain()
    assert paid_grants(cast.team_id) == [20_000]
    changer.leave("unpause")
    stage.advance(timedelta(minutes=2))
    stage.drain()
    assert paid_grants(cast.team_id) == [20_000, 20_000]
    assert credits_left(cast.team_id) == 20_000
    assert violations() == []


def test_what_was_done_elsewhere_is_told_of_once(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast)
    ours = f"/v1/subscriptions/{changer.mirrored().stripe_id}"
    stage.stripe("POST", ours, cancel_at="max_period_end")
    events = stage.deliver_all()
    for event in events:
        stage.deliver(event)
    stage.stripe("POST", ours, cancel_at="")
    stage.stripe("POST", f"{ours}/pause")
    stage.deliver_all()
    stage.stripe("POST", f"{ours}/resume")
    stage.stripe("DELETE", ours)
    stage.deliver_all()
    ends, *rest = mails_to_owner()
    assert ends.startswith("Business ends on ")
    assert rest == ["Business goes on", "Business is paused", "Business has ended"]
    assert changer.mirrored().status == "canceled"


def test_after_a_pause_elsewhere_that_gave_the_rest_back_a_new_period_is_paid_for(cast: Cast, stage: Stage) -> None:
    """Else what is paid back would be had for nothing."""
    changer = on(stage, cast)
    stage.stripe("POST", f"/v1/subscriptions/{changer.mirrored().stripe_id}/pause")
    stage.deliver_all()
    preview, change = changer.leave("unpause")
    assert change.state == "done"
    assert 0 < preview.amount_due < 29_900
    assert changer.invoices()[0]["amount_paid"] == preview.amount_due
    changer.assert_mirrored()


def test_who_leaves_keeps_their_members_but_adds_none(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast)
    changer.leave("cancel_now")
    people = cast.by_role()
    assert all(one.client.get(f"/teams/{cast.team_id}/members").status_code == 200 for one in people.values())
    answer = cast.owner.client.post(
        f"/teams/{cast.team_id}/invitations", data={"email": "new@example.com", "role": "member"}, follow_redirects=True
    )
    assert "Every seat of the team is taken" in answer.get_data(as_text=True)


WRONG = {
    "when": ({"when": "yesterday"}, "Choose when the plan is to end."),
    "reason": ({"feedback": "spite"}, "Choose one of the reasons, or none."),
    "comment": ({"comment": "x" * 501}, "At most 500 characters, please; these are 501."),
}


@pytest.mark.parametrize("field", WRONG)
def test_bad_input_gets_words_and_keeps_what_was_entered(cast: Cast, stage: Stage, field: str) -> None:
    form, words = WRONG[field]
    changer = on(stage, cast, wait=timedelta())
    answer = changer.post("plan/cancellation", **({"comment": "Keep this"} | form))
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert words in page
    assert form.get("comment", "Keep this") in page
    assert changer.mirrored().cancel_at is None


def test_of_two_who_cancel_at_once_one_is_refused(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast)
    first, second = changer.ask_to_leave("cancel"), changer.ask_to_leave("cancel")
    assert (first.status_code, second.status_code) == (303, 409)
    assert "A change is on its way already" in second.get_data(as_text=True)
    assert changer.come_to(first).state == "done"
    again = changer.ask_to_leave("cancel")
    assert again.status_code == 409
    assert "The plan is canceled already" in again.get_data(as_text=True)


def test_an_expired_preview_of_an_end_does_nothing(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast)
    preview = changer.shown(changer.ask_to_leave("cancel_now"))
    stage.advance(timedelta(minutes=11))
    assert changer.agree(preview).status_code == 409
    assert changer.mirrored().status == "active"
    assert "Expired" in page_of(changer, f"plan/previews/{preview.id}")
