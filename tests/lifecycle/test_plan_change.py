"""Changes of a plan and its seats, from the form to the invoice: what was shown is what is charged, and our rows follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import AuditEntry
from portal.billing.change_models import ChangePreview, PendingChange
from portal.core.database import db
from portal.core.money import money_words
from portal.credits.queries import balance, summary
from portal.notifications.models import OutboxItem
from tests.cast import Cast
from tests.plan_changes import HALF, Changer, codes_planned_at_stripe
from tests.purchases import paid_grants, violations
from tests.stage import Stage


def on(stage: Stage, cast: Cast, plan: str = "business", interval: str = "month", wait: timedelta = HALF) -> Changer:
    return Changer.on(stage, cast.owner, cast.team_id, plan, interval, wait=wait)


def assert_charged(changer: Changer, preview: ChangePreview, change: PendingChange) -> None:
    """The invoice of the change is exactly what was shown, line by line; without one nothing was to be paid."""
    assert change.state == "done", (change.state, change.failure_code)
    made = [one for one in changer.invoices() if one["billing_reason"] == "subscription_update"]
    if preview.amount_due == 0 and not preview.shown["at_once"]:
        assert made == []
    else:
        newest = made[0]
        assert (newest["amount_due"], newest["amount_paid"]) == (preview.amount_due, preview.amount_due)
        assert (newest["total"], newest["status"]) == (preview.shown["total"], "paid")
        lines = [line["amount"] for line in newest["lines"]["data"]]
        assert sorted(lines) == sorted(line["amount"] for line in preview.shown["lines"])
    changer.assert_mirrored()


Do = Callable[[Changer], tuple[ChangePreview, PendingChange]]

# By name: what the team is on, what is done, what is due now (None: more than nothing), and the plan afterwards.
KINDS: dict[str, tuple[tuple[str, str], Do, int | None, tuple[str, str]]] = {
    "upgrade": (("starter", "month"), lambda c: c.change("pro"), None, ("pro", "month")),
    "upgrade with a code": (
        ("pro", "month"), lambda c: c.change("business", promotion_code=c.code()), None, ("business", "month"),
    ),
    "month to year": (("business", "month"), lambda c: c.change("business", "year"), None, ("business", "year")),
    "upgrade to a year": (("starter", "month"), lambda c: c.change("pro", "year"), None, ("pro", "year")),
    "upgrade within a year": (("pro", "year"), lambda c: c.change("business", "year"), None, ("business", "year")),
    "downgrade": (("business", "month"), lambda c: c.change("pro"), 0, ("business", "month")),
    "downgrade with a code": (
        ("business", "month"), lambda c: c.change("pro", promotion_code=c.code()), 0, ("business", "month"),
    ),
    "year to month": (("business", "year"), lambda c: c.change("business"), 0, ("business", "year")),
    "more seats": (("pro", "month"), lambda c: c.change_seats(13), None, ("pro", "month")),
    "more seats later": (("business", "month"), lambda c: c.change_seats(27), 0, ("business", "month")),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_charged_is_what_was_shown(cast: Cast, stage: Stage, kind: str) -> None:
    (plan, interval), do, due, after = KINDS[kind]
    wait = timedelta(days=25) if plan in ("starter", "pro") else timedelta(days=12)  # past a trial
    changer = on(stage, cast, plan, interval, wait=wait)
    preview, change = do(changer)
    assert preview.amount_due > 0 if due is None else preview.amount_due == due
    assert_charged(changer, preview, change)
    ours = changer.mirrored()
    assert (ours.plan_key, ours.interval) == after
    assert violations() == []


def test_a_change_within_a_trial_costs_nothing_and_the_trial_goes_on(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro", wait=timedelta(days=3))
    ends = changer.mirrored().trial_end
    preview, change = changer.change("starter", "year")
    assert_charged(changer, preview, change)
    ours = changer.mirrored()
    assert (ours.status, ours.plan_key, ours.interval, ours.trial_end) == ("trialing", "starter", "year", ends)
    assert preview.shown["next_total"] == 29_000 + 10_800  # four members, three seats included
    changer.pass_period()
    assert changer.invoices()[0]["amount_paid"] == preview.shown["next_total"]


def test_seats_that_are_given_up_make_no_invoice_and_are_credited_on_the_next_one(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro", wait=timedelta(days=25))
    changer.change_seats(13)
    before = changer.invoices()
    preview, change = changer.change_seats(10)
    assert (change.state, preview.amount_due) == ("done", 0)
    assert changer.invoices() == before
    assert [item.get("quantity") for item in changer.live()["items"]["data"]] == [1, None]
    changer.assert_mirrored()
    changer.pass_period()
    assert changer.invoices()[0]["total"] == preview.shown["next_total"]


def test_seats_that_come_and_go_within_a_period_never_make_an_invoice(cast: Cast, stage: Stage) -> None:
    """Where they are billed with the next invoice, what was added is netted with what was given up."""
    changer = on(stage, cast, "business")
    before = changer.invoices()
    changer.change_seats(30)
    changer.change_seats(25)
    assert changer.invoices() == before
    changer.pass_period()
    assert changer.invoices()[0]["total"] == 29_900


def test_what_is_planned_is_shown_can_be_undone_and_comes_when_the_period_ends(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "business")
    _, change = changer.change("pro")
    assert change.state == "done"
    ours = changer.mirrored()
    assert (ours.plan_key, ours.scheduled_plan_key, ours.scheduled_at) == ("business", "pro", ours.current_period_end)
    assert changer.undo().state == "done"
    assert changer.mirrored().scheduled_plan_key is None
    assert changer.live()["schedule"] is None
    changer.assert_mirrored()
    preview, _ = changer.change("starter")
    changer.pass_period()
    ours = changer.mirrored()
    assert (ours.plan_key, ours.scheduled_plan_key) == ("starter", None)
    assert (
        changer.invoices()[0]["amount_paid"] == preview.shown["next_total"] == 3_800
    )  # four members, three seats included
    changer.assert_mirrored()


def test_a_year_becomes_months_when_it_ends(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "business", "year")
    preview, _ = changer.change("pro", "month")
    changer.pass_period()
    assert (changer.mirrored().plan_key, changer.mirrored().interval) == ("pro", "month")
    assert changer.invoices()[0]["amount_paid"] == preview.shown["next_total"] == 9_900
    changer.pass_period()
    assert changer.invoices()[0]["amount_paid"] == 9_900
    changer.assert_mirrored()


def test_a_change_of_seats_keeps_what_is_planned(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "business")
    changer.change("pro")
    preview, change = changer.change_seats(27)
    assert change.state == "done"
    ours = changer.mirrored()
    assert (ours.scheduled_plan_key, ours.scheduled_seats_extra) == ("pro", 17)
    changer.assert_mirrored()
    changer.pass_period()
    assert (changer.mirrored().plan_key, changer.invoices()[0]["total"]) == ("pro", preview.shown["next_total"])
    assert {item.get("quantity") for item in changer.live()["items"]["data"]} == {1, 17, None}


# By name: what the team is on and what it has planned, what is changed then, and what a month costs afterwards without the code.
KEPT: dict[str, tuple[tuple[str, str], str, Do, int]] = {
    "seats that wait for the next invoice": (
        ("business", "month"), "pro", lambda c: c.change_seats(27), 9_900 + 17 * 1_200,
    ),
    "seats that are paid at once": (("pro", "year"), "pro", lambda c: c.change_seats(12), 9_900 + 2 * 1_200),
    "an add-on": (("pro", "month"), "starter", lambda c: c.change_addon("longer_history"), 2_900 + 900),  # of four members
}  # fmt: skip


@pytest.mark.parametrize("what", KEPT)
def test_a_planned_change_keeps_its_code_whatever_is_changed_before(cast: Cast, stage: Stage, what: str) -> None:
    (plan, interval), coming, do, whole = KEPT[what]
    changer = on(stage, cast, plan, interval, wait=timedelta(days=12 if plan == "business" else 25))
    changer.change(coming, promotion_code=changer.code(percent_off=50, duration="forever"))
    codes = codes_planned_at_stripe(changer.live())
    assert len(codes) == 1
    preview, change = do(changer)
    assert_charged(changer, preview, change)
    assert codes_planned_at_stripe(changer.live()) == codes
    assert preview.shown["recurring_total"] == whole // 2
    changer.pass_period()
    renewal = changer.invoices()[0]
    assert (changer.mirrored().plan_key, renewal["total"]) == (coming, preview.shown["next_total"])
    assert sum(one["amount"] for one in renewal["total_discount_amounts"]) == whole // 2


def test_a_code_that_has_ended_is_told_of_before_a_planned_change_could_lose_it(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "business")
    code = changer.code(percent_off=50)
    changer.change("pro", promotion_code=code)
    made = stage.stripe("GET", "/v1/promotion_codes", code=code)["data"][0]["id"]
    stage.stripe("POST", f"/v1/promotion_codes/{made}", active="false")
    refused = changer.ask_seats(27)
    assert refused.status_code == 422
    assert "The promotion code of the planned change has ended" in refused.get_data(as_text=True)
    assert codes_planned_at_stripe(changer.live()) == [made]
    assert changer.undo().state == "done"
    assert changer.change_seats(27)[1].state == "done"


def test_what_the_staff_take_off_at_stripe_comes_along_with_a_planned_change(cast: Cast, stage: Stage) -> None:
    """The next phase names the discount that there was; what is rewritten names the one that there is."""
    changer = on(stage, cast, "business")
    ours = f"/v1/subscriptions/{changer.mirrored().stripe_id}"
    for percent in (10, 30):
        coupon = stage.stripe("POST", "/v1/coupons", percent_off=percent, duration="forever")["id"]
        stage.stripe("POST", ours, **{"discounts[0][coupon]": coupon})
        stage.deliver_all()
        if percent == 10:
            changer.change("pro")
    preview, change = changer.change_seats(27)
    assert_charged(changer, preview, change)
    assert preview.shown["recurring_total"] == (9_900 + 17 * 1_200) * 70 // 100
    changer.pass_period()
    assert changer.invoices()[0]["total"] == preview.shown["next_total"]


def test_an_upgrade_drops_what_was_planned_and_another_downgrade_takes_its_place(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro", wait=timedelta(days=25))
    changer.change("starter")
    changer.change("starter", "year")
    assert changer.mirrored().scheduled_interval == "year"
    preview, change = changer.change("business")
    assert_charged(changer, preview, change)
    ours = changer.mirrored()
    assert (ours.plan_key, ours.scheduled_plan_key, ours.schedule_stripe_id) == ("business", None, None)


def test_a_month_that_becomes_a_year_has_the_credits_of_each_month(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "business")
    changer.change("business", "year")
    assert paid_grants(cast.team_id) == [20_000, 20_000]
    assert balance(cast.team_id).available == 40_000
    db.session.remove()
    stage.advance(timedelta(days=62))
    stage.drain()
    assert balance(cast.team_id).available == 20_000
    assert violations() == []


def test_the_contacts_are_told_once_what_has_changed(cast: Cast, stage: Stage) -> None:
    changer = on(stage, cast, "pro", wait=timedelta(days=25))
    preview, _ = changer.change("business")
    changer.change_seats(26)
    changer.change("starter")
    mails = db.session.execute(select(OutboxItem.payload).order_by(OutboxItem.id)).scalars().all()
    texts = [(mail["subject"], mail["text"]) for mail in mails if mail["to"] == "owner@example.com"]
    subjects = [subject for subject, _ in texts if "trial" not in subject and "paid: invoice" not in subject]
    assert subjects[0] == "You are on Business now"
    assert subjects[1] == "Your team has 26 seats now"
    assert subjects[2].startswith("Your plan changes to Starter on ")
    assert money_words(preview.amount_due, "usd") in dict(texts)["You are on Business now"]
    actions = set(
        db.session.execute(select(AuditEntry.action).where(AuditEntry.actor_id == cast.owner.user_id)).scalars()
    )
    assert {"plan_change.agreed", "plan.changed", "seats.changed", "plan_change.planned"} <= actions


def test_the_next_credits_are_those_of_the_plan_that_is_paid_for_then(cast: Cast, stage: Stage) -> None:
    """In a trial of Pro, changed to Business, the first paid month brings Business's."""
    stage.subscribe(cast.owner, cast.team_id, "pro")
    stage.deliver_all()
    assert summary(cast.team_id).next_reset_amount == 5_000
    subscription = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"][0]
    price = stage.stripe("GET", "/v1/prices", **{"lookup_keys[]": "turnpike_plan_business_month"})["data"][0]["id"]
    items = {"items[0][id]": subscription["items"]["data"][0]["id"], "items[0][price]": price}
    stage.stripe("POST", f"/v1/subscriptions/{subscription['id']}", **items, proration_behavior="none")
    stage.deliver_all()
    assert summary(cast.team_id).next_reset_amount == 20_000
    db.session.remove()
