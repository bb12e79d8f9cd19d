"""What metered meters count is reported to Stripe: once, all of it, whatever happens on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest
from flask import Flask
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from portal.billing.models import Customer
from portal.billing.subscriptions import live_subscription
from portal.catalog.models import Meter
from portal.core import alarms, clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.usage import jobs, meter_reports
from portal.usage.gauges import meter_gauges
from portal.usage.models import UsageDay
from portal.usage.overage import overages
from portal.usage.report_dates import date_of
from portal.usage.report_models import MeterDrift, MeterReport
from tests.cast import Cast
from tests.metered import METER, again, answers_lost, at_stripe, let_drafts_wait, report, reports
from tests.plan_changes import Changer
from tests.stage import Stage
from tests.web.api.backend import Backend, backend_of

pytestmark = pytest.mark.lifecycle


@pytest.fixture
def backend(app: Flask, cast: Cast, stage: Stage) -> Iterator[Backend]:
    """The backend of a team on Business, of which half a million calls a month are included."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    yield backend_of(app, cast.team_id, cast.owner)
    let_drafts_wait(stage, 0)


def use(backend: Backend, quantity: int) -> None:
    answer = backend.use(METER, quantity)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def kinds() -> set[str]:
    found = set(alarms.open_by_kind())
    db.session.remove()
    return found


def states(team_id: str) -> list[tuple[int, int, str]]:
    return [(one.part, one.quantity, one.state) for one in reports(team_id)]


def test_each_use_is_reported_once_and_stripe_counts_it(backend: Backend, stage: Stage) -> None:
    use(backend, 3)
    use(backend, 4)
    report()
    assert states(backend.team_id) == [(1, 7, "delivered")]
    report()
    use(backend, 5)
    report()
    assert states(backend.team_id) == [(1, 7, "delivered")], "not again before half an hour is over"
    again(stage)
    assert [quantity for _, quantity, _ in states(backend.team_id)] == [7, 5]
    assert at_stripe(stage, backend.team_id) == 12
    again(stage)
    assert at_stripe(stage, backend.team_id) == 12


def test_a_team_without_a_customer_waits_for_one(app: Flask, cast: Cast, stage: Stage) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    use(backend, 9)
    report()
    assert reports(cast.team_id) == []
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    report()
    assert at_stripe(stage, cast.team_id) == 9


def test_what_was_used_before_there_was_a_plan_has_not_come_too_late(app: Flask, cast: Cast, stage: Stage) -> None:
    """No invoice was ever to have it, so nobody is called because it is on none."""
    backend = backend_of(app, cast.team_id, cast.owner)
    use(backend, 9)
    stage.advance(timedelta(days=1))
    use(backend, 4)
    stage.advance(timedelta(minutes=1))
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    report()
    began = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"][0]["start_date"]
    told = [(one.quantity, one.after_close, one.dated_at.timestamp() < began) for one in reports(cast.team_id)]
    assert told == [(9, False, True), (4, False, True)]
    assert "usage_after_close" not in kinds()


def test_what_an_earlier_plan_was_to_bill_has_come_too_late_with_the_next_one_too(
    backend: Backend, cast: Cast, stage: Stage
) -> None:
    use(backend, 510_000)
    stage.advance(timedelta(minutes=1))  # Stripe counts whole seconds
    ours = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"][0]
    stage.stripe("DELETE", f"/v1/subscriptions/{ours['id']}")
    stage.deliver_all()
    stage.advance(timedelta(minutes=1))
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    report()
    assert [one.after_close for one in reports(cast.team_id)] == [True]
    assert "usage_after_close" in kinds()


def test_what_was_used_on_days_before_the_plan_is_not_billed_while_we_have_not_heard_of_it(
    app: Flask, cast: Cast, stage: Stage
) -> None:
    """Stripe has begun the paid period, and its news is still on its way."""
    backend = backend_of(app, cast.team_id, cast.owner)
    use(backend, 1_000)
    stage.advance(timedelta(days=1))
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.advance(timedelta(minutes=1))
    assert live_subscription(cast.team_id) is None
    report()
    stage.deliver_all()
    use(backend, 500_000)
    again(stage)
    (subscription,) = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"]
    before = [one.dated_at.timestamp() < subscription["start_date"] for one in reports(cast.team_id)]
    assert before == [True, False]
    assert stage.stripe("POST", "/v1/invoices/create_preview", subscription=subscription["id"])["total"] == 29_900


@pytest.mark.parametrize("effect", [True, False], ids=["answer lost", "never arrived"])
def test_a_report_without_an_answer_is_sent_again_under_the_same_identifier(
    backend: Backend, stage: Stage, monkeypatch: pytest.MonkeyPatch, *, effect: bool
) -> None:
    use(backend, 21)
    with answers_lost(monkeypatch, effect=effect) as sent:
        report()
    assert [state for *_, state in states(backend.team_id)] == ["unknown"]
    with answers_lost(monkeypatch, effect=effect, lost=lambda _: False) as sent_again:
        again(stage)
    assert set(sent) == set(sent_again) == {reports(backend.team_id)[0].identifier}
    assert states(backend.team_id) == [(1, 21, "delivered")]
    assert at_stripe(stage, backend.team_id) == 21


@pytest.mark.parametrize("effect", [True, False], ids=["answer lost", "never arrived"])
def test_after_a_day_stripes_sum_says_whether_it_has_come(
    backend: Backend, stage: Stage, monkeypatch: pytest.MonkeyPatch, *, effect: bool
) -> None:
    use(backend, 21)
    with answers_lost(monkeypatch, effect=effect):
        report()
    stage.advance(timedelta(hours=25))
    with answers_lost(monkeypatch, effect=effect, lost=lambda _: False) as sent:
        report()
    assert len(sent) == (0 if effect else 1)
    assert states(backend.team_id) == [(1, 21, "delivered")]
    assert at_stripe(stage, backend.team_id) == 21


def test_where_the_sum_says_neither_nothing_is_sent_and_a_person_is_called(
    backend: Backend, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(backend, 21)
    with answers_lost(monkeypatch, effect=False):
        report()
    (waiting,) = reports(backend.team_id)
    stage.stripe(
        "POST",
        "/v1/billing/meter_events",
        **{
            "event_name": f"turnpike_{METER}",
            "payload[stripe_customer_id]": _customer(backend),
            "payload[value]": 5,
            "timestamp": int(waiting.dated_at.timestamp()),
        },
    )
    stage.advance(timedelta(hours=25))
    with answers_lost(monkeypatch, effect=True, lost=lambda _: False) as sent:
        report()
    assert sent == []
    assert states(backend.team_id) == [(1, 21, "unknown")]
    assert "usage_unclear" in kinds()


def _customer(backend: Backend) -> str:
    found = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == backend.team_id)).scalar_one()
    db.session.remove()
    return str(found)


def test_what_stripe_will_never_take_is_kept_with_its_reason(backend: Backend, stage: Stage) -> None:
    use(backend, 2)
    jobs.freeze_reports()
    customer = _customer(backend)
    stage.stripe("DELETE", f"/v1/customers/{customer}")
    jobs.drain_reports()
    (refused,) = reports(backend.team_id)
    assert refused.state == "refused"
    assert "No such customer" in (refused.error or "")
    assert "usage_refused" in kinds()
    again(stage)
    assert states(backend.team_id) == [(1, 2, "refused")]


def test_a_report_that_lies_too_far_back_is_refused(backend: Backend, stage: Stage) -> None:
    use(backend, 2)
    jobs.freeze_reports()
    stage.advance(timedelta(days=36))
    jobs.drain_reports()
    assert [(one.state, one.error) for one in reports(backend.team_id)] == [
        ("refused", "the use lies more than 35 days back")
    ]
    assert "usage_refused" in kinds()


def test_while_the_meter_is_off_at_stripe_reports_wait_and_a_person_is_called(backend: Backend, stage: Stage) -> None:
    meter = db.session.execute(select(Meter.stripe_meter_id).where(Meter.key == METER)).scalar_one()
    db.session.remove()
    stage.stripe("POST", f"/v1/billing/meters/{meter}/deactivate")
    try:
        use(backend, 8)
        report()
        assert [state for *_, state in states(backend.team_id)] == ["pending"]
        assert "stuck_meter_report" in kinds()
    finally:
        stage.stripe("POST", f"/v1/billing/meters/{meter}/reactivate")
    stage.advance(timedelta(hours=1))
    report()
    assert at_stripe(stage, backend.team_id) == 8


def test_two_workers_that_write_at_the_same_time_write_one(backend: Backend) -> None:
    use(backend, 6)
    with unit_of_work() as session:
        owed = session.execute(
            meter_reports.OWED, {"within": timedelta(days=34), "again": timedelta(), "batch": 10}
        ).all()
    jobs.freeze_reports()
    with unit_of_work():
        for row in owed:
            meter_reports._write(row, date_of(row.starts_at, clock.now(), None), {})
    assert states(backend.team_id) == [(1, 6, "pending")]


@pytest.mark.parametrize("change", ["quantity = 1", "identifier = 'x'", "dated_at = now()", "state = 'pending'"])
def test_the_database_lets_nobody_change_a_report(backend: Backend, change: str) -> None:
    use(backend, 6)
    report()
    with pytest.raises(DBAPIError, match="never changes"), unit_of_work() as session:
        session.execute(text(f"update meter_reports set delivered_at = null, {change}"))  # noqa: S608  our own words
    db.session.remove()


class TestPeriods:
    """The invoice of a period has what was used in it."""

    def test_the_last_hour_of_a_period_comes_onto_its_invoice(self, backend: Backend, stage: Stage) -> None:
        let_drafts_wait(stage, 3600)
        ours = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"][0]
        end = ours["items"]["data"][0]["current_period_end"]
        _until(stage, end - 600)
        use(backend, 500_000 + 10_000)
        _until(stage, end + 60)
        stage.deliver_all()
        assert stage.stripe("GET", "/v1/invoices", limit=1)["data"][0]["status"] == "draft"
        use(backend, 77)
        again(stage)
        assert Counter(one.after_close for one in reports(backend.team_id)) == {False: 2}
        stage.advance(timedelta(hours=1))
        stage.deliver_all()
        invoice = stage.stripe("GET", "/v1/invoices", limit=1)["data"][0]
        assert (invoice["status"], invoice["total"]) == ("paid", 29_900 + 800)
        assert at_stripe(stage, backend.team_id) == 510_077

    def test_what_comes_after_the_invoice_is_counted_and_not_charged(self, backend: Backend, stage: Stage) -> None:
        ours = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"][0]
        end = ours["items"]["data"][0]["current_period_end"]
        used_at = end - 600
        _until(stage, used_at)
        use(backend, 510_000)
        _until(stage, end + 60)
        stage.deliver_all()
        report()
        (late,) = reports(backend.team_id)
        # A day may end between the use and the end of the period, which has the hour at which this test runs.
        last = min(end, (used_at // 86400 + 1) * 86400) - 1
        assert (late.state, late.after_close, int(late.dated_at.timestamp())) == ("delivered", True, last)
        assert "usage_after_close" in kinds()
        assert stage.stripe("GET", "/v1/invoices", limit=1)["data"][0]["total"] == 29_900
        stage.advance(timedelta(days=31))
        stage.deliver_all()
        assert stage.stripe("GET", "/v1/invoices", limit=1)["data"][0]["total"] == 29_900


def _until(stage: Stage, instant: int) -> None:
    now = stage.sandbox("clock")["now"]
    stage.advance(timedelta(seconds=instant - now))


def test_ten_thousand_uses_with_crashes_and_duplicates_come_to_stripes_sum(
    backend: Backend, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are sent twice, answers of Stripe get lost on both ways, workers die between any two steps."""
    random = Random(7)
    wanted = sent = 0
    while sent < 10_000:
        items = [
            {"idempotency_key": f"use-{sent + n}", "meter": METER, "quantity": random.randint(1, 9)} for n in range(500)
        ]
        for _ in range(random.choice((1, 2, 3))):
            _post(backend, items)
        wanted += sum(int(str(item["quantity"])) for item in items)
        sent += len(items)
        _report_badly(monkeypatch, random)
        stage.advance(timedelta(minutes=random.choice((5, 30, 400))))
    for _ in range(6):
        again(stage)
    stage.advance(timedelta(hours=26))
    report()
    counted = db.session.execute(
        select(func.sum(UsageDay.quantity)).where(UsageDay.team_id == backend.team_id, UsageDay.meter == METER)
    ).scalar_one()
    db.session.remove()
    assert {one.state for one in reports(backend.team_id)} == {"delivered"}
    assert sum(one.quantity for one in reports(backend.team_id)) == counted == wanted
    assert at_stripe(stage, backend.team_id) == wanted


def _post(backend: Backend, items: list[dict[str, object]]) -> None:
    headers = {"Authorization": f"Bearer {backend.secret}"}
    answer = backend.call("POST", "/usage/batch", headers=headers, json={"uses": items})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.get_json()["refused"] == 0


class _KilledError(BaseException):
    """A worker that is gone: nothing of it is caught, and its open unit is rolled back."""


def _report_badly(monkeypatch: pytest.MonkeyPatch, random: Random) -> None:
    """One round of a worker in trouble: it dies at one of its failpoints, or Stripe's answers do not come."""
    places = ("claimed", "sending", "sent", "asked", "nowhere")
    place, effect = random.choice(places), random.random() < 0.5

    def failpoint(name: str) -> None:
        if name == f"meter_reports.{place}":
            raise _KilledError

    with (
        monkeypatch.context() as patch,
        answers_lost(monkeypatch, effect=effect, lost=lambda _: random.random() < 0.4),
    ):
        patch.setattr("portal.usage.meter_sending.failpoint", failpoint)
        try:
            report()
        except _KilledError:
            db.session.rollback()
            db.session.remove()
    # Its connection is closed, and with it goes what it had leased.
    with unit_of_work() as session:
        session.execute(update(MeterReport).where(MeterReport.lease_token.is_not(None)).values(lease_until=None))
    db.session.remove()


def test_the_end_of_the_period_is_told_from_the_last_days_with_a_range(backend: Backend, stage: Stage) -> None:
    for calls in (10_000, 30_000, 50_000, 30_000, 10_000, 50_000, 30_000, 30_000):
        use(backend, calls)
        stage.advance(timedelta(days=1))
    use(backend, 5)
    (found,) = overages(backend.team_id)
    db.session.remove()
    assert (found.used, found.over, found.cents) == (240_005, 0, 0)
    assert found.ahead is not None
    assert found.ahead.sample_days == 7
    assert found.ahead.used < 500_000 < found.ahead.low < found.ahead.total < found.ahead.high
    price = found.price
    cents = [price.overage_cents(units) for units in (found.ahead.low, found.ahead.total, found.ahead.high)]
    assert [found.cents_low, found.cents_likely, found.cents_high] == cents
    assert 0 < found.cents_low < found.cents_likely < found.cents_high
    # 32,857 a day for the days that are left, and 500,000 of them are included at no charge.
    assert abs(found.ahead.total - (240_005 + 230_000 * found.ahead.days_left / 7)) < 50_000


def test_after_a_pause_the_overage_is_still_what_stripe_would_bill(app: Flask, cast: Cast, stage: Stage) -> None:
    """The plan was changed long ago; a pause within the period is no change of plan, and settles nothing."""
    changer = Changer.on(stage, cast.owner, cast.team_id, "pro", wait=timedelta(days=1))
    changer.change("business")
    for _ in range(2):
        stage.advance(timedelta(days=31))
        stage.deliver_all()
    backend = backend_of(app, cast.team_id, cast.owner)
    use(backend, 550_000)
    report()
    stage.advance(timedelta(hours=1))
    changer.leave("pause")
    stage.advance(timedelta(hours=1))
    changer.leave("unpause")
    use(backend, 1_000)
    again(stage)
    (found,) = overages(cast.team_id)
    db.session.remove()
    (subscription,) = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"]
    billed = stage.stripe("POST", "/v1/invoices/create_preview", subscription=subscription["id"])["total"]
    assert (found.used, 29_900 + found.cents) == (551_000, billed)


class TestComparison:
    """Stripe's sums against ours, once a day."""

    def test_where_both_agree_there_is_nothing_to_tell(self, backend: Backend, stage: Stage) -> None:
        use(backend, 40)
        report()
        stage.advance(timedelta(days=1))
        assert jobs.check_meters() == 0
        assert _drifts() == []

    def test_what_somebody_else_has_reported_is_a_drift_until_it_is_gone(self, backend: Backend, stage: Stage) -> None:
        use(backend, 40)
        report()
        foreign = {
            "event_name": f"turnpike_{METER}",
            "payload[stripe_customer_id]": _customer(backend),
            "payload[value]": 2,
            "identifier": "foreign",
        }
        stage.stripe("POST", "/v1/billing/meter_events", **foreign)
        stage.advance(timedelta(hours=12))
        stage.advance(timedelta(hours=12))
        assert jobs.check_meters() == 1
        assert jobs.check_meters() == 1
        assert [(drift.reported, int(drift.at_stripe), drift.gone_at) for drift in _drifts()] == [(40, 42, None)]
        assert "meter_drift" in kinds()
        stage.advance(timedelta(days=36))
        assert jobs.check_meters() == 0
        assert [drift.gone_at is not None for drift in _drifts()] == [True]
        assert "meter_drift" not in kinds()

    def test_a_report_whose_answer_is_awaited_is_none(
        self, backend: Backend, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(backend, 40)
        with answers_lost(monkeypatch, effect=True):
            report()
        stage.advance(timedelta(days=1))
        assert jobs.check_meters() == 0

    def test_the_figures_are_among_the_metrics(self, backend: Backend) -> None:
        use(backend, 1)
        jobs.freeze_reports()
        db.session.remove()
        found = {metric.name: metric.samples[0].value for metric in meter_gauges()}
        assert found == {"billing_meter_backlog": 1, "billing_meter_refused": 0, "billing_meter_drift": 0}


def _drifts() -> list[MeterDrift]:
    found = list(db.session.execute(select(MeterDrift), execution_options={"populate_existing": True}).scalars())
    db.session.remove()
    return found
