"""Changes in random order, as people, the staff at Stripe and time bring them: each charges what was shown, and nothing is
forgotten.

`CHANGE_SEQUENCES=200` tries so many; a few are enough to notice that something broke.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from flask import Flask
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from portal.billing.change_models import LEAVE_KINDS, ChangePreview
from tests.plan_changes import Changer, Json, codes_planned_at_stripe, planned_of, read
from tests.purchases import make_buyer, violations
from tests.stage import Stage

SEQUENCES = int(os.environ.get("CHANGE_SEQUENCES", "4"))
STEPS_MAX = 6

Step = tuple[str, Any]
PLANS = st.tuples(st.sampled_from(["starter", "pro", "business"]), st.sampled_from(["month", "year"]))
STEPS = st.one_of(
    st.tuples(st.just("plan"), PLANS),
    st.tuples(st.just("plan with a code"), PLANS),
    st.tuples(st.just("seats"), st.integers(1, 40)),
    st.tuples(st.just("add-on"), st.tuples(st.sampled_from(["audit_log", "longer_history"]), st.integers(0, 5))),
    st.tuples(st.just("undo"), st.none()),
    st.tuples(st.just("days"), st.integers(1, 20)),
    st.tuples(st.just("leave"), st.sampled_from(LEAVE_KINDS)),
    st.tuples(st.just("leave"), st.sampled_from(["cancel", "resume", "pause", "unpause"])),  # it does not end so often
    st.tuples(st.just("at Stripe"), st.sampled_from(["cancel", "resume", "pause", "coupon"])),
    st.tuples(st.just("end of the period"), st.none()),
)


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    derandomize="CHANGE_SEQUENCES" not in os.environ,
    phases=[Phase.explicit, Phase.generate],  # to shrink a sequence takes longer than to read it
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(
    start=("business", "month"),
    steps=[
        ("plan with a code", ("pro", "month")),
        ("seats", 27),
        ("at Stripe", "coupon"),
        ("add-on", ("longer_history", 1)),
        ("end of the period", None),
    ],
)
@given(start=PLANS, steps=st.lists(STEPS, min_size=2, max_size=STEPS_MAX))
def test_whatever_the_order_the_charge_is_what_was_shown(
    app: Flask, stage: Stage, start: tuple[str, str], steps: list[Step]
) -> None:
    note(f"{start}: {steps}")
    person, team_id = make_buyer(app, "Harbor Analytics")
    changer = Changer.on(stage, person, team_id, *start, wait=timedelta(days=1))
    for step in steps:
        _take(changer, step)
        changer.assert_mirrored()
        assert {one["status"] for one in changer.invoices()} == {"paid"}, "an orphan"
    assert violations() == []
    if changer.mirrored().status != "canceled":
        stage.stripe("DELETE", f"/v1/subscriptions/{changer.mirrored().stripe_id}")
        stage.deliver_all()


def _take(changer: Changer, step: Step) -> None:
    name, value = step
    match name:
        case "plan" | "plan with a code":
            more = {"promotion_code": changer.code()} if name == "plan with a code" else {}
            _change(changer, changer.ask(*value, **more))
        case "seats":
            _change_seats(changer, value)
        case "add-on":
            planned, codes = planned_of(changer.mirrored()), codes_planned_at_stripe(changer.live())
            _change(changer, changer.ask_addon(*value))
            assert planned_of(changer.mirrored()) == planned, "what is planned was forgotten"
            assert codes_planned_at_stripe(changer.live()) == codes, "the code of what is planned was forgotten"
        case "undo":
            if planned_of(changer.mirrored()) is not None and changer.live()["cancel_at"] is None:
                assert changer.undo().state == "done"
                assert planned_of(changer.mirrored()) is None
        case "days":
            changer.stage.advance(timedelta(days=value))
            changer.stage.deliver_all()
        case "end of the period":
            _end_period(changer)
        case "leave":
            _leave(changer, value)
        case "at Stripe":
            _at_stripe(changer, value)


def _change_seats(changer: Changer, seats: int) -> None:
    planned, codes = planned_of(changer.mirrored()), codes_planned_at_stripe(changer.live())
    _change(changer, changer.ask_seats(seats))
    assert codes_planned_at_stripe(changer.live()) == codes, "the code of what is planned was forgotten"
    now = planned_of(changer.mirrored())
    assert (planned is None) == (now is None), "what is planned was forgotten"
    assert planned is None or now is None or (planned[:2], planned[3]) == (now[:2], now[3])


def _at_stripe(changer: Changer, what: str) -> None:
    """What the staff do in Stripe's dashboard, where it can be done."""
    ours, live = f"/v1/subscriptions/{changer.mirrored().stripe_id}", changer.live()
    match what:
        case "cancel" if _runs(live) and live["schedule"] is None:
            changer.stage.stripe("POST", ours, cancel_at_period_end="true")
        case "resume" if _runs(live) and live["schedule"] is None and live["cancel_at"] is not None:
            changer.stage.stripe("POST", ours, cancel_at="")
        case "pause" if live["status"] == "active" and live["schedule"] is None:
            changer.stage.stripe("POST", f"{ours}/pause")  # which gives the rest of the period back
        case "coupon" if _runs(live):
            coupon = changer.stage.stripe("POST", "/v1/coupons", percent_off=30, duration="forever")["id"]
            changer.stage.stripe("POST", ours, **{"discounts[0][coupon]": coupon})
    changer.stage.deliver_all()


def _runs(live: Json) -> bool:
    return live["status"] not in ("canceled", "paused")


def _leave(changer: Changer, act: str) -> None:
    """Cancel, stay, pause or go on by the pages: what it brings is what was shown, and where nothing was shown, nothing."""
    before, answer = changer.invoices(), changer.ask_to_leave(act)
    if answer.status_code == 409:
        assert changer.invoices() == before
        return
    if "/previews/" in answer.location:
        preview, change = changer.finish(changer.shown(answer))
    else:
        change = changer.come_to(answer)
        preview = read(ChangePreview, change.preview_id)
    assert change.state == "done", (act, change.state, change.failure_code)
    _assert_charged(changer, preview, before)
    assert {
        "cancel": changer.mirrored().cancel_at is not None,
        "cancel_now": changer.mirrored().status == "canceled",
        "resume": changer.mirrored().cancel_at is None,
        "pause": changer.mirrored().status == "paused",
        "unpause": changer.mirrored().status == "active",
    }[act]


def _change(changer: Changer, answer: Any) -> None:
    """Do what was shown; what is refused leaves everything as it was."""
    before = changer.invoices()
    if answer.status_code in (409, 422):
        assert changer.invoices() == before
        return
    preview, change = changer.finish(changer.shown(answer))
    assert change.state == "done", (change.state, change.failure_code)
    _assert_charged(changer, preview, before)


def _assert_charged(changer: Changer, preview: ChangePreview, before: list[Any]) -> None:
    made = changer.invoices()[: len(changer.invoices()) - len(before)]
    if not preview.shown["at_once"]:
        assert made == []
        return
    assert [(one["amount_paid"], one["total"]) for one in made] == [_sums(preview)]


def _sums(preview: ChangePreview) -> tuple[int, int]:
    return preview.amount_due, preview.shown["total"]


def _end_period(changer: Changer) -> None:
    """One that was canceled has ended by then: nothing more can be done with it, and it stays as it is."""
    if _runs(changer.live()):
        changer.pass_period()
    if changer.mirrored().status == "canceled":
        assert changer.ask("pro").status_code == 409
