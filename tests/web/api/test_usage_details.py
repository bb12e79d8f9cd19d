"""Uses of a member, of before, and of meters that take no credits; and the totals that are kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal.catalog.models import Meter, Plan, PlanMeter
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits.models import CreditAccount, CreditEntry
from portal.credits.verify import verify
from portal.usage.models import UsageDay, UsageEvent
from tests.cast import Cast
from tests.web.api.backend import Backend, error_of
from tests.web.api.test_usage import NOTHING, booked
from tests.web.api.test_usage_batch import one, results, send
from tests.web.usage.test_months_of_use import begin


def report(backend: Backend, key: str | None = None, **more: Any) -> Any:
    body = {"meter": "send_email", "quantity": 1} | {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in more.items()
    }
    return backend.post_usage(key, json=body)


def now(backend: Backend) -> datetime:
    with backend.app.app_context():
        return clock.now()


def days(backend: Backend) -> list[UsageDay]:
    with backend.app.app_context():
        query = select(UsageDay).where(UsageDay.team_id == backend.team_id)
        return list(db.session.execute(query.order_by(UsageDay.starts_at, UsageDay.user_id)).scalars())


def test_a_use_of_a_member_is_counted_as_theirs(backend: Backend, cast: Cast) -> None:
    person = cast.member.user_id
    answer = report(backend, quantity=3, user=person)
    assert (answer.status_code, answer.get_json()["user"]) == (200, person)
    report(backend, quantity=4, user=person)
    report(backend, quantity=5)
    assert [(day.user_id, day.quantity, day.events) for day in days(backend)] == [("", 5, 1), (person, 7, 2)]
    listed = backend.call("GET", "/usage/events").get_json()["data"]
    assert [use["user"] for use in listed] == [None, person, person]


@pytest.mark.parametrize("who", ["outsider", "nobody"])
def test_a_person_of_no_part_of_the_team_is_422(backend: Backend, cast: Cast, who: str) -> None:
    person = cast.outsider.user_id if who == "outsider" else "user_" + "0" * 26
    answer = report(backend, user=person)
    assert (answer.status_code, error_of(answer)["code"], error_of(answer)["param"]) == (422, "unknown_user", "user")
    assert booked(backend) == NOTHING


def test_the_member_and_the_moment_make_another_use(backend: Backend, cast: Cast) -> None:
    at = now(backend) - timedelta(days=1)
    first = report(backend, "a", user=cast.member.user_id, occurred_at=at)
    assert report(backend, "a", user=cast.member.user_id, occurred_at=at).data == first.data
    assert report(backend, "a", user=cast.member.user_id).status_code == 409
    assert report(backend, "a", user=cast.admin.user_id, occurred_at=at).status_code == 409
    assert report(backend, "a").status_code == 409


def test_a_late_use_counts_in_its_own_time_and_takes_what_is_there_now(backend: Backend) -> None:
    at = now(backend) - timedelta(days=20)
    answer = report(backend, quantity=3, occurred_at=at)
    assert answer.get_json()["balance"] == 97
    assert [(day.starts_at.date(), day.quantity) for day in days(backend)] == [(at.date(), 3)]
    month = backend.call("GET", "/usage").get_json()
    assert month["cost"] == 0
    day = {"since": at.strftime("%Y-%m-%dT00:00:00Z"), "until": at.strftime("%Y-%m-%dT23:59:59Z")}
    assert backend.call("GET", "/usage", query_string=day).get_json()["cost"] == 3
    with backend.app.app_context():
        entry = db.session.execute(select(CreditEntry).where(CreditEntry.kind == "spent")).scalar_one()
        event = db.session.execute(select(UsageEvent)).scalar_one()
        assert (event.occurred_at, event.recorded_at) == (at, entry.at)


@pytest.mark.parametrize(
    ("ahead", "status"),
    [
        (timedelta(days=-34, hours=-23), 200),
        (timedelta(days=-35, minutes=-1), 422),
        (timedelta(minutes=4), 200),
        (timedelta(minutes=6), 422),
        (timedelta(days=400), 422),
    ],
)
def test_how_late_and_how_early_a_use_may_be(backend: Backend, ahead: timedelta, status: int) -> None:
    answer = report(backend, occurred_at=now(backend) + ahead)
    assert answer.status_code == status
    if status == 422:
        assert (error_of(answer)["code"], error_of(answer)["param"]) == ("out_of_time", "occurred_at")
        assert booked(backend) == NOTHING
    else:
        with backend.app.app_context():
            event = db.session.execute(select(UsageEvent)).scalar_one()
            assert event.recorded_at is not None
            assert event.occurred_at <= event.recorded_at


def test_what_was_recorded_is_answered_however_old_it_is_by_then(backend: Backend) -> None:
    at = now(backend) - timedelta(days=34)
    first = report(backend, "a", occurred_at=at)
    with backend.app.app_context(), unit_of_work():
        clock.advance(timedelta(days=10))
    assert report(backend, "a", occurred_at=at).data == first.data
    assert report(backend, "b", occurred_at=at).status_code == 422


@pytest.mark.parametrize("moment", ["2026-11-18", "2026-11-18T13:02:11", 5, None, True, "1e9", "2026-13-01T00:00:00Z"])
def test_what_is_no_moment_is_422(backend: Backend, moment: Any) -> None:
    answer = backend.post_usage(json={"meter": "send_email", "quantity": 1, "occurred_at": moment})
    assert (answer.status_code, error_of(answer)["param"]) == (422, "occurred_at")


def test_a_metered_use_takes_no_credits(backend: Backend) -> None:
    answer = report(backend, meter="api_calls", quantity=400)
    body = answer.get_json()
    assert (body["cost"], body["balance"], body["included"], body["used"]) == (0, None, 1_000, 400)
    assert booked(backend) == {"events": 1, "keys": 1, "spends": 0, "available": 100}
    assert [(day.meter, day.quantity, day.cost, day.events) for day in days(backend)] == [("api_calls", 400, 0, 1)]
    shown = {meter["meter"]: meter for meter in backend.call("GET", "/usage").get_json()["meters"]}
    assert (shown["api_calls"]["quantity"], shown["api_calls"]["remaining"]) == (400, 600)
    with backend.app.app_context():
        assert not any(found.violations for found in verify())


def test_where_the_plan_sells_no_more_it_ends_with_what_is_included(backend: Backend) -> None:
    assert report(backend, meter="api_calls", quantity=999).status_code == 200
    refused = report(backend, "over", meter="api_calls", quantity=2)
    error = error_of(refused)
    assert (refused.status_code, error["code"], error["included"], error["used"]) == (
        402,
        "usage_limit_reached",
        1_000,
        999,
    )
    assert backend.team_id in error["buy_url"]
    last = report(backend, "over", meter="api_calls", quantity=1)
    assert (last.status_code, last.get_json()["used"]) == (200, 1_000)
    assert report(backend, meter="api_calls").status_code == 402


def test_the_totals_say_which_whole_days_they_are_of(backend: Backend, cast: Cast) -> None:
    """Whoever asks for each hour and adds them up would count a day twenty-four times, and must be able to see it."""
    day = now(backend).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=5)
    noon = day + timedelta(hours=12)
    with backend.app.app_context():
        begin(cast, noon, noon + timedelta(days=30), noon)
    for hour, quantity in ((11, 3), (12, 5), (13, 7), (36, 9)):
        report(backend, quantity=quantity, occurred_at=day + timedelta(hours=hour))

    def told(since: int, until: int) -> tuple[float, float, int]:
        """In hours of the day: what was counted instead of what was asked for, and what it came to."""
        span = {"since": day + timedelta(hours=since), "until": day + timedelta(hours=until)}
        query = {name: moment.isoformat() for name, moment in span.items()}
        found = backend.call("GET", "/usage", query_string=query).get_json()
        bounds = [(datetime.fromisoformat(found[name]) - day) / timedelta(hours=1) for name in ("since", "until")]
        return bounds[0], bounds[1], found["cost"]

    assert told(14, 15) == (12, 24, 12)
    # A month of use begins within the day, which is counted apart from then on.
    assert told(9, 10) == (0, 12, 3)
    assert told(9, 13) == (0, 24, 15)
    assert told(12, 13) == (12, 24, 12)
    assert told(14, 37) == (12, 48, 21)
    # Whole days are what was asked for, and so is a time in which nothing was used.
    assert told(24, 48) == (24, 48, 9)
    assert told(50, 51) == (50, 51, 0)
    assert told(50, 50) == (50, 50, 0)


def test_the_next_month_begins_anew(backend: Backend) -> None:
    assert report(backend, meter="api_calls", quantity=1_000).status_code == 200
    assert report(backend, meter="api_calls").status_code == 402
    before = now(backend)
    with backend.app.app_context(), unit_of_work():
        clock.advance(timedelta(days=31))
    assert report(backend, meter="api_calls", quantity=1_000).status_code == 200
    # What is late counts in the month it belongs to, which is full.
    assert report(backend, meter="api_calls", occurred_at=before).status_code == 402


def test_what_was_used_under_a_plan_that_has_ended_counts_against_nothing_afterwards(
    backend: Backend, cast: Cast
) -> None:
    assert report(backend, meter="api_calls", quantity=1_000).status_code == 200
    assert report(backend, meter="api_calls").status_code == 402
    with backend.app.app_context():
        at = clock.now()
        begin(cast, at - timedelta(days=10), at + timedelta(days=20), at - timedelta(days=10), ended=at)
    assert report(backend, meter="api_calls", quantity=400).status_code == 200
    shown = {meter["meter"]: meter for meter in backend.call("GET", "/usage").get_json()["meters"]}
    assert (shown["api_calls"]["quantity"], shown["api_calls"]["remaining"]) == (400, 600)


@pytest.fixture
def overage(backend: Backend) -> Iterator[None]:
    """The free plan sells more of the meter; the catalog is all tests', so it does not afterwards."""

    def set_price(cents: int | None) -> None:
        with backend.app.app_context(), unit_of_work() as session:
            query = select(PlanMeter).join(Meter).join(Plan).where(Meter.key == "api_calls", Plan.key == "free")
            session.execute(query).scalar_one().overage_per_1000_cents = cents

    set_price(100)
    yield
    set_price(None)


@pytest.mark.usefixtures("overage")
def test_where_the_plan_sells_more_there_is_no_end(backend: Backend) -> None:
    answer = report(backend, meter="api_calls", quantity=5_000)
    assert (answer.status_code, answer.get_json()["included"]) == (200, 1_000)
    assert report(backend, meter="api_calls", quantity=5_000).status_code == 200


def test_a_batch_mixes_meters_members_and_times(backend: Backend, cast: Cast) -> None:
    at = (now(backend) - timedelta(days=3)).isoformat()
    answer = send(
        backend,
        one("a", 600, "api_calls"),
        one("b", 10, user=cast.member.user_id),
        one("c", 401, "api_calls"),
        one("d", 400, "api_calls", occurred_at=at),
        one("e", 1, user=cast.outsider.user_id),
        one("f", 2, occurred_at=at),
        one("g", 1, occurred_at="2020-01-01T00:00:00Z"),
    )
    # The team is new: three days ago was another month of use, counted backwards from its making.
    assert results(answer) == ["recorded", "recorded", "refused", "recorded", "refused", "recorded", "refused"]
    codes = [result["error"]["code"] for result in answer.get_json()["data"] if "error" in result]
    assert codes == ["usage_limit_reached", "unknown_user", "out_of_time"]
    assert booked(backend) == {"events": 4, "keys": 4, "spends": 2, "available": 88}
    assert sorted((day.meter, day.user_id, day.quantity) for day in days(backend)) == sorted(
        [("api_calls", "", 600), ("send_email", cast.member.user_id, 10), ("api_calls", "", 400), ("send_email", "", 2)]
    )


def test_nobody_loses_the_lock_for_metered_uses(backend: Backend) -> None:
    """A product without credits has an account all the same: its lock is what keeps the included from being passed."""
    report(backend, meter="api_calls")
    with backend.app.app_context():
        account = db.session.execute(select(CreditAccount)).scalar_one()
        assert (account.available, account.version) == (100, 1)
