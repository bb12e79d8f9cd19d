"""Routes in the same process: asked before the action, counted after it, and what happens when that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from io import BytesIO
from threading import Event
from typing import Any

import pytest
from flask import Flask, Response, g, request
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from portal.accounts import audit
from portal.accounts.models import AuditEntry, Membership
from portal.api.authentication import Caller
from portal.catalog.current import catalog
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import in_transaction, unit_of_work
from portal.credits.errors import InsufficientCredits
from portal.credits.models import CreditHold
from portal.usage import metered as metered_module
from portal.usage.budget_settings import set_budget
from portal.usage.metered import MeteringUnavailable, UseRefused, metered, metering, unmetered
from portal.usage.metering import BudgetExceeded, UnknownMeter
from portal.usage.models import UsageEvent
from tests.cast import Cast
from tests.web.api.backend import Backend, key_id_of
from tests.web.api.test_usage import NOTHING, booked


@pytest.fixture
def meter_set(app: Flask) -> Iterator[Callable[..., None]]:
    """Change what the catalog says of the meter; put back afterwards."""
    before = catalog()

    def change(**values: Any) -> None:
        meters = tuple(replace(one, **values) if one.key == "analyze_lead" else one for one in before.meters)
        app.extensions["catalog"] = replace(before, meters=meters)

    yield change
    app.extensions["catalog"] = before


def call(app: Flask, team_id: str, view: Callable[..., Any], body: Any = None, **headers: str) -> Response:
    """A route of the product's own with this view, called by the team with its key."""
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    caller = Caller(team_id, key_id_of(team_id))
    with app.test_request_context("/analyze", method="POST", headers=sent, **(body or {})):
        g.caller = caller
        try:
            return app.make_response(view())
        except (UseRefused, MeteringUnavailable) as error:
            return app.make_response(app.handle_user_exception(error))


def test_a_call_is_counted_after_it_is_done(backend: Backend) -> None:
    seen = []

    @metered("analyze_lead", quantity=3)
    def analyze() -> str:
        seen.append((in_transaction(), booked(backend)["available"]))
        return "done"

    assert call(backend.app, backend.team_id, analyze).status_code == 200
    assert seen == [(False, 100)]
    assert booked(backend)["available"] == 94


def test_without_the_credits_the_action_does_not_begin(backend: Backend) -> None:
    done = []

    @metered("analyze_lead", quantity=lambda: 51)
    def analyze() -> str:
        done.append(1)
        return "done"

    answer = call(backend.app, backend.team_id, analyze)
    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"], error["shortfall"]) == (402, "insufficient_credits", 2)
    assert backend.team_id in error["buy_url"]
    assert not done
    assert booked(backend) == NOTHING


@pytest.mark.parametrize("how", ["raises", "answers 500", "says so"])
@pytest.mark.parametrize(("charge_failed", "left"), [(False, 100), (True, 98)])
def test_a_failed_call_is_charged_by_the_policy(
    backend: Backend, meter_set: Callable[..., None], how: str, charge_failed: bool, left: int
) -> None:
    meter_set(charge_failed=charge_failed)

    @metered("analyze_lead")
    def analyze() -> Any:
        if how == "raises":
            raise ZeroDivisionError
        return "broken", 500

    if how == "raises":
        with pytest.raises(ZeroDivisionError):
            call(backend.app, backend.team_id, analyze)
    elif how == "answers 500":
        assert call(backend.app, backend.team_id, analyze).status_code == 500
    else:
        with metering("analyze_lead", backend.team_id) as action:
            action.fail()
    assert booked(backend)["available"] == left


def test_a_request_with_a_key_is_counted_once(backend: Backend) -> None:
    analyze = metered("analyze_lead")(lambda: "done")
    for key, left in (("order-1", 98), ("order-1", 98), ("order-2", 96)):
        assert call(backend.app, backend.team_id, analyze, Idempotency_Key=key).status_code == 200
        assert booked(backend)["available"] == left


OTHERS: dict[str, dict[str, Any]] = {
    "another body": {"json": {"lead": 2}},
    "another address": {"json": {"lead": 1}, "query_string": {"deep": "1"}},
    "a form": {"data": {"lead": "1"}},
    "another form": {"data": {"lead": "2"}},
    "a file": {"data": {"lead": "1", "file": (b"one", "a.csv")}},
    "another file": {"data": {"lead": "1", "file": (b"two", "a.csv")}},
}


def body_of(named: dict[str, Any]) -> dict[str, Any]:
    """Anew for each call, since a file is read to its end."""
    data = named.get("data", {})
    files = {name: (BytesIO(value[0]), value[1]) for name, value in data.items() if isinstance(value, tuple)}
    return named | {"data": {**data, **files}} if data else named


def test_a_key_that_was_paid_for_opens_no_other_request(backend: Backend) -> None:
    seen: list[Any] = []

    @metered("analyze_lead")
    def analyze() -> str:
        seen.append((request.get_data(), request.form.to_dict(), [file.read() for file in request.files.values()]))
        return "done"

    left = 100
    first: dict[str, Any] = {"json": {"lead": 1}}
    for named in (first, *OTHERS.values()):
        left -= 2
        for _again in range(2):
            answer = call(backend.app, backend.team_id, analyze, body_of(named), Idempotency_Key="order-1")
            assert (answer.status_code, booked(backend)["available"]) == (200, left)
        assert seen[-1] == seen[-2], "the view still finds all of the request"
    assert [files for _data, _form, files in seen[-4:]] == [[b"one"], [b"one"], [b"two"], [b"two"]]


def test_a_key_of_another_member_is_another_use(backend: Backend, cast: Cast) -> None:
    analyze = metered("analyze_lead")(lambda: "done")
    for person, left in ((cast.member, 98), (cast.admin, 96), (cast.member, 96)):
        for token in ("one", "two"):  # a page that was shown again
            with backend.app.test_request_context(
                "/analyze", method="POST", headers={"Idempotency-Key": "doc-1"}, data={"csrf_token": token}
            ):
                query = select(Membership).where(
                    Membership.user_id == person.user_id, Membership.team_id == cast.team_id
                )
                g.membership = db.session.execute(query).scalar_one()
                assert analyze() == "done"
            assert booked(backend)["available"] == left


def test_long_keys_with_the_same_beginning_are_two(backend: Backend) -> None:
    analyze = metered("analyze_lead")(lambda: "done")
    for end, left in (("a", 98), ("b", 96), ("a", 96)):
        call(backend.app, backend.team_id, analyze, Idempotency_Key="k" * 254 + end)
        assert booked(backend)["available"] == left


@pytest.mark.parametrize("of", ["key", "member"])
def test_a_budget_that_is_used_up_lets_no_action_begin(backend: Backend, cast: Cast, of: str) -> None:
    subject = f"key:{key_id_of(backend.team_id)}" if of == "key" else f"member:{cast.member.user_id}"
    with unit_of_work():
        set_budget(backend.team_id, subject, 3, "stop", audit.SYSTEM)
    whose: dict[str, Any] = {"api_key_id": subject[4:]} if of == "key" else {"user_id": cast.member.user_id}
    with metering("analyze_lead", backend.team_id, **whose):
        pass
    with pytest.raises(UseRefused) as refused, metering("analyze_lead", backend.team_id, **whose):
        pytest.fail("the action began")
    assert isinstance(refused.value.reason, BudgetExceeded)
    assert booked(backend)["available"] == 98
    with metering("analyze_lead", backend.team_id):
        pass
    assert booked(backend)["available"] == 96


def test_a_route_is_used_by_the_key_or_the_member_that_its_guard_has_found(backend: Backend, cast: Cast) -> None:
    analyze = metered("analyze_lead")(lambda: "done")
    call(backend.app, backend.team_id, analyze)
    with backend.app.test_request_context("/analyze"):
        g.membership = db.session.execute(
            select(Membership).where(Membership.user_id == cast.member.user_id)
        ).scalar_one()
        analyze()
    events = db.session.execute(select(UsageEvent.api_key_id, UsageEvent.user_id).order_by(UsageEvent.id)).all()
    db.session.rollback()
    assert [tuple(event) for event in events] == [(key_id_of(backend.team_id), None), (None, cast.member.user_id)]


def test_the_quantity_may_be_known_only_afterwards(backend: Backend) -> None:
    with metering("analyze_lead", backend.team_id) as action:
        action.quantity = 5
    assert booked(backend)["available"] == 90


@pytest.mark.parametrize("meter", ["analyze_lead", "api_calls"])
def test_an_action_that_came_to_nothing_is_not_counted(backend: Backend, meter: str) -> None:
    before = uncounted(meter)
    with metering(meter, backend.team_id) as action:
        action.quantity = 0
    assert call(backend.app, backend.team_id, metered(meter, quantity=lambda: 0)(lambda: "done")).status_code == 200
    assert booked(backend) == NOTHING
    assert uncounted(meter) == before


def test_an_action_cannot_come_to_less_than_nothing(backend: Backend) -> None:
    with pytest.raises(ValueError, match="cannot come to -1"), metering("analyze_lead", backend.team_id, quantity=-1):
        pytest.fail("the action began")
    with metering("analyze_lead", backend.team_id) as action, pytest.raises(ValueError, match="cannot come to -3"):
        action.quantity = -3
    assert booked(backend)["available"] == 98


def test_what_is_gone_meanwhile_leaves_the_action_uncounted(backend: Backend) -> None:
    before = metered_module.UNCOUNTED.labels(meter="analyze_lead", why="InsufficientCredits")._value.get()
    with metering("analyze_lead", backend.team_id, quantity=50):
        backend.use(quantity=100)
    assert booked(backend)["available"] == 0
    after = metered_module.UNCOUNTED.labels(meter="analyze_lead", why="InsufficientCredits")._value.get()
    assert after == before + 1


HELD = timedelta(minutes=10)


def open_holds(backend: Backend) -> int:
    query = select(func.count()).where(CreditHold.team_id == backend.team_id, CreditHold.state == "open")
    with backend.app.app_context():
        return db.session.execute(query).scalar_one()


def test_calls_at_the_same_moment_do_not_begin_by_the_same_credits(backend: Backend) -> None:
    """Of 100 credits each call takes 60."""
    begun, release = [], Event()

    @metered("analyze_lead", quantity=30, held_for=HELD)
    def analyze() -> str:
        begun.append(booked(backend)["available"])
        assert release.wait(20)
        return "done"

    def answer_of(_number: int) -> int:
        with backend.app.app_context():
            status = call(backend.app, backend.team_id, analyze).status_code
        if status == 402:
            release.set()
        return status

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(answer_of, range(2))) == [200, 402]
    assert begun == [40]
    assert (booked(backend)["available"], booked(backend)["events"], open_holds(backend)) == (40, 1, 0)


@pytest.mark.parametrize(("quantity", "left"), [(0, 100), (10, 80), (40, 20), (51, 100)])
def test_what_a_held_call_comes_to_is_taken_and_no_more(backend: Backend, quantity: int, left: int) -> None:
    """More than there is at its end is not taken, and stays uncounted."""
    with backend.app.app_context(), metering("analyze_lead", backend.team_id, quantity=20, held_for=HELD) as action:
        assert booked(backend)["available"] == 60
        action.quantity = quantity
    assert (booked(backend)["available"], open_holds(backend)) == (left, 0)


@pytest.mark.parametrize(("charge_failed", "left"), [(False, 100), (True, 60)])
def test_a_held_call_that_fails_gives_back_what_it_held(
    backend: Backend, meter_set: Callable[..., None], charge_failed: bool, left: int
) -> None:
    meter_set(charge_failed=charge_failed)
    held = metering("analyze_lead", backend.team_id, quantity=20, held_for=HELD)
    with backend.app.app_context(), pytest.raises(ZeroDivisionError), held:
        raise ZeroDivisionError
    assert (booked(backend)["available"], open_holds(backend)) == (left, 0)


def test_a_held_call_that_the_database_fails_gives_back_what_it_held(backend: Backend) -> None:
    """It leaves a transaction behind in which nothing can be done any more."""
    held = metering("analyze_lead", backend.team_id, quantity=20, held_for=HELD)
    with backend.app.app_context(), pytest.raises(DBAPIError), held:
        db.session.execute(text("select 1 / 0"))
    assert (booked(backend)["available"], open_holds(backend)) == (100, 0)


def test_a_held_call_that_outlasts_its_hold_is_counted_if_it_can_be(backend: Backend) -> None:
    held = metering("analyze_lead", backend.team_id, quantity=20, held_for=HELD)
    with backend.app.app_context(), held, unit_of_work():
        clock.advance(HELD)
    assert (booked(backend)["available"], booked(backend)["events"], open_holds(backend)) == (60, 1, 0)


def test_a_request_that_was_paid_for_holds_nothing_again(backend: Backend) -> None:
    analyze = metered("analyze_lead", quantity=50, held_for=HELD)(lambda: str(booked(backend)["available"]))
    for _time in range(2):
        assert call(backend.app, backend.team_id, analyze, Idempotency_Key="order-1").get_data(as_text=True) == "0"
    assert (booked(backend)["events"], open_holds(backend)) == (1, 0)


def test_a_held_call_keeps_to_the_budget_of_its_member(backend: Backend, cast: Cast) -> None:
    with backend.app.app_context():
        with unit_of_work():
            set_budget(backend.team_id, f"member:{cast.member.user_id}", 50, "stop", audit.SYSTEM)
        mine = partial(metering, "analyze_lead", backend.team_id, user_id=cast.member.user_id, held_for=HELD)
        with mine(quantity=20):
            with pytest.raises(UseRefused) as refused, mine(quantity=10):
                pytest.fail("the action began")
            assert isinstance(refused.value.reason, BudgetExceeded)
    assert booked(backend)["available"] == 60


def test_of_a_meter_that_takes_no_credits_nothing_is_held(backend: Backend) -> None:
    with backend.app.app_context(), metering("api_calls", backend.team_id, held_for=HELD):
        assert open_holds(backend) == 0
    assert booked(backend)["events"] == 1


def test_a_metered_meter_ends_with_what_is_included(backend: Backend) -> None:
    with metering("api_calls", backend.team_id, quantity=1_000):
        pass
    with pytest.raises(UseRefused), metering("api_calls", backend.team_id):
        pytest.fail("the action began")


def test_a_meter_that_is_not_in_the_catalog_is_an_error_of_the_code(backend: Backend) -> None:
    with pytest.raises(UnknownMeter), metering("send_fax", backend.team_id):
        pytest.fail("the action began")


def test_a_refusal_stands_though_no_purchase_can_be_begun(
    backend: Backend, meter_set: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is busy, say; what is known to be missing is missing all the same."""
    meter_set(when_unavailable="allow")
    monkeypatch.setattr(metered_module, "refusal_of", lambda _use: InsufficientCredits(0, 2, buys=True))
    monkeypatch.setattr(metered_module, "intend_for_refused", broken)
    answer = call(backend.app, backend.team_id, metered("analyze_lead")(lambda: pytest.fail("the action began")))
    assert answer.status_code == 402


def uncounted(meter: str = "analyze_lead") -> float:
    counter = metered_module.UNCOUNTED.labels(meter=meter, why="unavailable")
    return float(counter._value.get())


def broken(*_args: Any, **_more: Any) -> Any:
    raise OperationalError("select", None, Exception("the server is away"))


def test_while_nobody_can_be_asked_the_meter_says_whether_the_action_begins(
    backend: Backend, meter_set: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = uncounted()
    monkeypatch.setattr(metered_module, "refusal_of", broken)
    view = metered("analyze_lead")(lambda: pytest.fail("the action began"))
    refused = call(backend.app, backend.team_id, view)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "internal")
    with pytest.raises(MeteringUnavailable), metering("analyze_lead", backend.team_id):
        pytest.fail("the action began")
    meter_set(when_unavailable="allow")
    assert call(backend.app, backend.team_id, metered("analyze_lead")(lambda: "done")).status_code == 200
    # Where only the question could not be asked, it is counted as ever.
    assert (uncounted(), booked(backend)["available"]) == (before, 98)


@pytest.mark.parametrize("when_unavailable", ["refuse", "allow"])
def test_what_is_done_and_cannot_be_counted_is_not_said_to_be_undone(
    backend: Backend, meter_set: Callable[..., None], monkeypatch: pytest.MonkeyPatch, when_unavailable: str
) -> None:
    """Who is told that nothing was done does it again."""
    before = uncounted()
    meter_set(when_unavailable=when_unavailable)
    monkeypatch.setattr(metered_module, "record", broken)
    answer = call(backend.app, backend.team_id, metered("analyze_lead")(lambda: "sent"))
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "sent")
    assert (uncounted(), booked(backend)) == (before + 1, NOTHING)


def test_a_failure_that_cannot_be_counted_is_told_as_it_was(
    backend: Backend, meter_set: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = uncounted()
    meter_set(charge_failed=True)
    monkeypatch.setattr(metered_module, "record", broken)
    with pytest.raises(ZeroDivisionError), metering("analyze_lead", backend.team_id):
        raise ZeroDivisionError
    assert uncounted() == before + 1


def test_staff_may_let_uses_pass_and_the_trail_tells(backend: Backend, cast: Cast) -> None:
    with backend.app.app_context():
        with unmetered(audit.by_user(cast.owner.user_id), backend.team_id, "a test of the import"):
            with metering("analyze_lead", backend.team_id, quantity=1_000):
                pass
            with pytest.raises(UseRefused), metering("analyze_lead", cast.other_team_id):
                pytest.fail("another team's uses are counted as ever")
        with pytest.raises(UseRefused), metering("analyze_lead", backend.team_id, quantity=1_000):
            pytest.fail("it is over")
        query = select(AuditEntry).where(AuditEntry.action == "metering.bypassed")
        entry = db.session.execute(query).scalar_one()
        assert (entry.team_id, entry.actor_id, entry.detail) == (
            backend.team_id,
            cast.owner.user_id,
            {"reason": "a test of the import"},
        )
    assert booked(backend) == NOTHING
