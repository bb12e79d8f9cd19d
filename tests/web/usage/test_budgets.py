"""Budgets of API keys and members: set on the page, kept to by metering, told of at their thresholds."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.audit import SYSTEM
from portal.accounts.models import ApiKey, AuditEntry
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits.queries import balance
from portal.usage.budget_settings import set_budget
from portal.usage.budgets import budgets_of, mark_refused, tell_of_budgets
from portal.usage.metered import UseRefused, metering
from portal.usage.metering import BudgetExceeded, Use, record, record_all
from tests.cast import Cast
from tests.web.api.backend import Backend, backend_of, error_of, key_id_of
from tests.web.notifications.news import entries_of
from tests.web.usage.uses import give, make_key, use, words


@pytest.fixture
def address(cast: Cast) -> str:
    return f"/teams/{cast.team_id}/usage/budgets"


def budget(cast: Cast, subject: str, limit: int, action: str = "stop", meter: str | None = None) -> None:
    with unit_of_work():
        set_budget(cast.team_id, subject, limit, action, SYSTEM, meter=meter)


def test_a_budget_is_set_replaced_and_removed_on_the_page(cast: Cast, address: str) -> None:
    key_id = make_key(cast, "Nightly jobs")
    assert "No budget yet" in words(cast.owner, address)
    form = {"subject": f"key:{key_id}", "units": "credits", "limit": "500", "action": "stop"}
    assert cast.admin.client.post(address, data=form).status_code == 303
    assert cast.owner.client.post(address, data=form | {"limit": "800", "action": "warn"}).status_code == 303
    member = {"subject": f"member:{cast.member.user_id}", "units": "credits", "limit": "20", "action": "warn"}
    assert cast.owner.client.post(address, data=member).status_code == 303
    shown = words(cast.member, address)
    assert "Nightly jobs" in shown
    assert "0 800" in shown
    assert "Set a budget" not in shown
    (first, _second) = budgets_of(cast.team_id)
    db.session.rollback()
    assert cast.owner.client.post(f"{address}/{first.id}/removal").status_code == 303
    assert cast.owner.client.post(f"{address}/{first.id}/removal").status_code == 404
    actions = db.session.execute(
        select(AuditEntry.action).where(AuditEntry.team_id == cast.team_id, AuditEntry.action.startswith("budget."))
    ).scalars()
    assert sorted(actions) == ["budget.removed", "budget.set", "budget.set", "budget.set"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"limit": "0"}, "From 1 to"),
        ({"limit": "-5"}, "From 1 to"),
        ({"limit": "1e3"}, "Not a valid integer"),
        ({"limit": "9" * 30}, "From 1 to"),
        ({"limit": ""}, "Give a whole number"),
        ({"action": "explode"}, "Not a valid choice"),
        ({"subject": "key:key_of_others"}, "Not a valid choice"),
        ({"units": "send_email"}, "Not a valid choice"),
    ],
)
def test_what_is_no_budget_is_refused_in_words(cast: Cast, address: str, change: dict[str, str], reason: str) -> None:
    form = {"subject": f"member:{cast.member.user_id}", "units": "credits", "limit": "5", "action": "stop"} | change
    answer = cast.owner.client.post(address, data=form)
    assert answer.status_code == 422
    assert reason in answer.get_data(as_text=True)
    assert budgets_of(cast.team_id) == []
    db.session.rollback()


def test_nobody_sets_a_budget_for_another_teams_people(cast: Cast, address: str) -> None:
    form = {"subject": f"member:{cast.outsider.user_id}", "units": "credits", "limit": "5", "action": "stop"}
    assert cast.owner.client.post(address, data=form).status_code == 422
    form["subject"] = f"member:{cast.member.user_id}"
    assert cast.member.client.post(address, data=form).status_code == 403
    assert cast.outsider.client.post(address, data=form).status_code == 404


def test_the_api_answers_402_when_a_budget_stops_a_use_and_the_key_stays_free(app: Flask, cast: Cast) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)
    key_id = key_id_of(cast.team_id)
    budget(cast, f"key:{key_id}", 10)
    assert backend.use(quantity=8, key="first").status_code == 200
    refused = backend.use(quantity=3, key="second")
    assert refused.status_code == 402
    error = error_of(refused)
    assert (error["type"], error["code"]) == ("budget_exceeded", "budget_exceeded")
    assert (error["cost"], error["budget"], error["used"]) == (3, 10, 8)
    assert "has 2 of 10 left for its month" in error["message"]
    assert error["buy_url"].endswith(f"/teams/{cast.team_id}/usage/budgets")
    assert backend.use(quantity=2, key="third").status_code == 200
    budget(cast, f"key:{key_id}", 100)
    assert backend.use(quantity=3, key="second").status_code == 200
    assert backend.use(quantity=8, key="first").headers["Idempotent-Replayed"] == "true"
    assert balance(cast.team_id).available == 1_000 - 13
    db.session.rollback()


def test_a_budget_of_units_stops_metered_use_and_no_other(app: Flask, cast: Cast) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)
    key = f"key:{key_id_of(cast.team_id)}"
    budget(cast, key, 10)
    budget(cast, key, 500, meter="api_calls")
    assert backend.use("api_calls", 400).status_code == 200
    refused = backend.use("api_calls", 101, key="over")
    error = error_of(refused)
    assert (refused.status_code, error["code"]) == (402, "budget_exceeded")
    assert (error["meter"], error["quantity"], error["budget"], error["used"]) == ("api_calls", 101, 500, 400)
    assert "cost" not in error
    assert "takes 101 api_calls" in error["message"]
    assert backend.use("api_calls", 100, key="over").status_code == 200
    assert backend.use("api_calls", 1).status_code == 402
    # Each counts its own.
    assert [backend.use(quantity=10).status_code, backend.use(quantity=1).status_code] == [200, 402]
    assert [(row.units, row.used, row.limit) for row in budgets_of(cast.team_id)] == [
        ("credits", 10, 10),
        ("API calls", 500, 500),
    ]
    db.session.rollback()


def test_uses_of_units_in_one_call_are_decided_in_their_order_and_a_route_asks_before(cast: Cast) -> None:
    mine = cast.member.user_id
    budget(cast, f"member:{mine}", 10, meter="api_calls")
    uses = [Use(cast.team_id, name, "api_calls", count, user_id=mine) for name, count in (("a", 6), ("b", 6), ("c", 4))]
    with unit_of_work():
        outcomes = record_all(cast.team_id, uses, lambda recorded: json.dumps(recorded.cost))
    assert [isinstance(outcome, BudgetExceeded) for outcome in outcomes] == [False, True, False]
    with pytest.raises(UseRefused), metering("api_calls", cast.team_id, user_id=mine):
        pytest.fail("the action began")
    with metering("api_calls", cast.team_id):
        pass


def test_a_budget_of_units_is_set_and_told_of_in_its_own_words(cast: Cast, address: str) -> None:
    form = {"subject": f"member:{cast.member.user_id}", "units": "api_calls", "limit": "100", "action": "stop"}
    assert cast.owner.client.post(address, data=form).status_code == 303
    use(cast.team_id, "api_calls", 80, user_id=cast.member.user_id)
    shown = words(cast.owner, address)
    assert "Member · API calls" in shown
    assert "80 of 100 API calls are used" in cast.owner.client.get(address).get_data(as_text=True)
    with unit_of_work():
        assert tell_of_budgets(cast.team_id) == 1
    assert entries_of(cast.owner.user_id)[-1].words.startswith("80 of 100 API calls of this month are used.")


def test_uses_of_one_call_are_decided_in_their_order(cast: Cast) -> None:
    give(cast.team_id, 100)
    budget(cast, f"member:{cast.member.user_id}", 10)
    mine = cast.member.user_id
    uses = [
        Use(cast.team_id, "a", "send_email", 6, user_id=mine),
        Use(cast.team_id, "b", "send_email", 6, user_id=mine),
        Use(cast.team_id, "c", "send_email", 4, user_id=mine),
        Use(cast.team_id, "d", "send_email", 1, user_id=mine),
        Use(cast.team_id, "e", "send_email", 50),
        Use(cast.team_id, "f", "api_calls", 50, user_id=mine),
    ]
    with unit_of_work():
        outcomes = record_all(cast.team_id, uses, lambda recorded: json.dumps(recorded.cost))
    assert [isinstance(outcome, BudgetExceeded) for outcome in outcomes] == [False, True, False, True, False, False]
    assert balance(cast.team_id).available == 40
    db.session.rollback()


def test_what_cannot_be_paid_takes_nothing_of_the_budget(cast: Cast) -> None:
    give(cast.team_id, 8)
    budget(cast, f"member:{cast.member.user_id}", 20)
    uses = [
        Use(cast.team_id, key, "send_email", cost, user_id=cast.member.user_id) for key, cost in (("a", 15), ("b", 8))
    ]
    with unit_of_work():
        outcomes = record_all(cast.team_id, uses, lambda recorded: recorded.id)
    assert type(outcomes[0]).__name__ == "InsufficientCredits"
    assert not isinstance(outcomes[1], Exception)


def test_a_budget_that_only_tells_stops_nothing_and_a_new_month_begins_anew(cast: Cast) -> None:
    give(cast.team_id, 1_000)
    budget(cast, f"member:{cast.member.user_id}", 10, "warn")
    budget(cast, f"member:{cast.admin.user_id}", 10, "stop")
    use(cast.team_id, "send_email", 50, user_id=cast.member.user_id)
    use(cast.team_id, "send_email", 10, user_id=cast.admin.user_id)
    with pytest.raises(BudgetExceeded):
        use(cast.team_id, "send_email", 1, user_id=cast.admin.user_id)
    with unit_of_work():
        clock.advance(timedelta(days=32))
    use(cast.team_id, "send_email", 10, user_id=cast.admin.user_id)
    rows = {row.subject_name: row.used for row in budgets_of(cast.team_id)}
    db.session.rollback()
    assert sorted(rows.values()) == [0, 10]


def test_a_use_counts_towards_the_month_in_which_it_happened(cast: Cast) -> None:
    """Reported late, it takes nothing of this month's budget, and cannot pass that of its own."""
    give(cast.team_id, 1_000)
    with unit_of_work():
        clock.advance(timedelta(days=40))
    mine = cast.member.user_id
    budget(cast, f"member:{mine}", 10)
    late = clock.now() - timedelta(days=34)
    db.session.rollback()

    def report(key: str, cost: int, at: datetime | None = None) -> bool:
        try:
            with unit_of_work():
                record(Use(cast.team_id, key, "send_email", cost, None, mine, at), lambda recorded: recorded.id)
        except BudgetExceeded:
            return False
        return True

    assert [report("a", 6, late), report("b", 6, late), report("c", 4, late), report("d", 1, late)] == [
        True, False, True, False,
    ]  # fmt: skip
    assert [report("e", 10), report("f", 1)] == [True, False]
    uses = [Use(cast.team_id, f"g{n}", "send_email", 1, None, mine, late + timedelta(seconds=n)) for n in range(3)]
    with unit_of_work():
        assert all(isinstance(one, BudgetExceeded) for one in record_all(cast.team_id, uses, lambda one: one.id))
    assert balance(cast.team_id).available == 1_000 - 20
    db.session.rollback()


def test_a_budget_stops_holds_and_counts_what_is_settled_of_them(app: Flask, cast: Cast) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)
    key_id = key_id_of(cast.team_id)
    budget(cast, f"key:{key_id}", 100)

    def used() -> int:
        (row,) = budgets_of(cast.team_id)
        db.session.rollback()
        return row.used

    refused = backend.hold(key="too-much", amount=101)
    assert (refused.status_code, error_of(refused)["code"]) == (402, "budget_exceeded")
    held = backend.hold(key="plain", amount=60)
    assert held.status_code == 200
    assert backend.hold(key="plain", amount=60).data == held.data, "the same again is no more"
    # What is held may be used yet, so nothing else may have it.
    assert backend.use(quantity=41).status_code == 402
    assert backend.use(quantity=40).status_code == 200
    assert backend.hold(amount=1).status_code == 402
    assert used() == 40
    assert "40 60 held 100" in words(cast.owner, f"/teams/{cast.team_id}/usage/budgets")
    assert backend.settle(held.get_json()["id"], amount=30).status_code == 200
    assert used() == 70
    of_meter = backend.hold(meter="analyze_lead", quantity=15)
    assert of_meter.status_code == 200
    assert backend.use(quantity=1).status_code == 402
    assert backend.settle(of_meter.get_json()["id"], quantity=10).status_code == 200
    assert used() == 90
    assert [backend.use(quantity=11).status_code, backend.use(quantity=10).status_code] == [402, 200]
    assert (
        backend.release(backend_of(app, cast.team_id, cast.owner).hold(amount=500).get_json()["id"]).status_code == 200
    )


def test_a_members_budget_stops_holds_for_the_member(app: Flask, cast: Cast) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)
    mine = {"meter": "send_email", "user": cast.member.user_id}
    budget(cast, f"member:{cast.member.user_id}", 100)
    refused = backend.hold(quantity=101, **mine)
    error = error_of(refused)
    assert (refused.status_code, error["code"], error["budget"]) == (402, "budget_exceeded", 100)
    assert "the budget of this member has 100 of 100 left" in error["message"]
    held = backend.hold(quantity=60, **mine).get_json()
    # What is held may be used yet, so nothing else may have it.
    assert backend.hold(quantity=41, **mine).status_code == 402
    assert backend.post("/usage", mine | {"quantity": 41}).status_code == 402
    assert "0 60 held 100" in words(cast.owner, f"/teams/{cast.team_id}/usage/budgets")
    assert backend.hold(meter="send_email", quantity=200, user=cast.admin.user_id).status_code == 200
    assert backend.settle(held["id"], quantity=30).status_code == 200
    (row,) = budgets_of(cast.team_id)
    db.session.rollback()
    assert (row.used, row.held) == (30, 0)
    assert [backend.hold(quantity=71, **mine).status_code, backend.hold(quantity=70, **mine).status_code] == [402, 200]


def test_a_hold_counts_towards_the_budget_of_the_key_that_has_it(app: Flask, cast: Cast) -> None:
    """Else a key whose budget is used up would let another one hold for it."""
    first, second = backend_of(app, cast.team_id, cast.owner), backend_of(app, cast.team_id, cast.owner)
    first.give(1_000)
    query = select(ApiKey.id).where(ApiKey.team_id == cast.team_id).order_by(ApiKey.id)
    keys = list(db.session.execute(query).scalars())
    db.session.rollback()
    for key_id in keys:
        budget(cast, f"key:{key_id}", 10)
    assert second.use(quantity=10, key="use").status_code == 200
    plain, of_meter = first.hold(key="plain", amount=4), first.hold(key="of-meter", meter="analyze_lead", quantity=3)
    assert second.settle(plain.get_json()["id"], key="settle-1", amount=4).status_code == 200
    assert second.settle(of_meter.get_json()["id"], key="settle-2", quantity=3).status_code == 200
    assert [row.used for row in budgets_of(cast.team_id)] == [10, 10]
    db.session.rollback()


def test_twenty_holds_at_once_do_not_pass_a_budget_together(app: Flask, cast: Cast) -> None:
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(1_000)
    key_id = key_id_of(cast.team_id)
    budget(cast, f"key:{key_id}", 30)
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda number: backend.hold(key=f"at-once-{number}", amount=3).status_code, range(20)))
    assert sorted(answers) == [200] * 10 + [402] * 10


def test_twenty_at_once_do_not_pass_a_budget_together(app: Flask, cast: Cast) -> None:
    give(cast.team_id, 1_000)
    budget(cast, f"member:{cast.member.user_id}", 30)

    def report(number: int) -> bool:
        with app.app_context():
            try:
                with unit_of_work():
                    one = Use(cast.team_id, f"at-once-{number}", "send_email", 3, user_id=cast.member.user_id)
                    record(one, lambda recorded: recorded.id)
            except BudgetExceeded:
                return False
            return True

    with ThreadPoolExecutor(5) as pool:
        paid = sum(pool.map(report, range(20)))
    assert paid == 10
    assert [row.used for row in budgets_of(cast.team_id)] == [30]
    db.session.rollback()


def test_each_threshold_of_a_budget_is_told_once_a_month(cast: Cast) -> None:
    give(cast.team_id, 10_000)
    budget(cast, f"member:{cast.member.user_id}", 100, "warn")

    def look() -> int:
        with unit_of_work():
            return tell_of_budgets(cast.team_id)

    told = []
    for quantity in (70, 5, 4, 11, 30):
        use(cast.team_id, "send_email", quantity, user_id=cast.member.user_id)
        told.append((look(), look()))
    assert told == [(0, 0), (1, 0), (0, 0), (1, 0), (1, 0)]
    titles = [entry.title for entry in entries_of(cast.owner.user_id) if entry.kind == "budgets"]
    assert len(titles) == 3
    assert any("has used its budget" in title for title in titles)
    with unit_of_work():
        clock.advance(timedelta(days=32))
    assert look() == 0
    use(cast.team_id, "send_email", 95, user_id=cast.member.user_id)
    assert look() == 1


def refused_by_api(backend: Backend, _member: str) -> None:
    assert backend.use(quantity=40).status_code == 402


def refused_in_a_batch(backend: Backend, _member: str) -> None:
    uses = [{"idempotency_key": key, "meter": "send_email", "quantity": 40} for key in ("x", "y")]
    assert backend.post("/usage/batch", {"uses": uses}).get_json()["refused"] == 2


def refused_as_a_hold(backend: Backend, _member: str) -> None:
    assert backend.hold(amount=40).status_code == 402


def refused_as_a_route(backend: Backend, member: str) -> None:
    action = metering("send_email", backend.team_id, quantity=40, user_id=member)
    with backend.app.app_context(), pytest.raises(UseRefused), action:
        pytest.fail("the action began")


def refused_after_a_route(backend: Backend, member: str) -> None:
    with backend.app.app_context(), metering("send_email", backend.team_id, user_id=member) as action:
        action.quantity = 40


@pytest.mark.parametrize(
    "refuse", [refused_by_api, refused_in_a_batch, refused_as_a_hold, refused_as_a_route, refused_after_a_route]
)
def test_a_budget_that_refuses_before_it_is_used_up_tells_so_once_a_month(
    app: Flask, cast: Cast, refuse: Callable[[Backend, str], None]
) -> None:
    """Uses of 40 against 100: it stays at 80, and refuses all there are."""
    backend = backend_of(app, cast.team_id, cast.owner)
    backend.give(10_000)
    budget(cast, f"key:{key_id_of(cast.team_id)}", 100)
    budget(cast, f"member:{cast.member.user_id}", 100)

    def use_most() -> None:
        for _time in range(2):
            assert backend.use(quantity=40).status_code == 200
            use(cast.team_id, "send_email", 40, user_id=cast.member.user_id)

    def look() -> list[str]:
        before = len(entries_of(cast.owner.user_id))
        with unit_of_work():
            tell_of_budgets(cast.team_id)
        return [entry.title for entry in entries_of(cast.owner.user_id)[before:]]

    use_most()
    assert len(look()) == 2
    for _time in range(2):
        refuse(backend, cast.member.user_id)
    (told,) = look()
    assert told.startswith("The budget of ")
    assert told.endswith(" has refused a use")
    note = entries_of(cast.owner.user_id)[-1].words
    assert note.startswith("80 of 100 credits of this month are used, and a use that is larger than what is left was")
    refuse(backend, cast.member.user_id)
    assert look() == []
    # One of them is for narrow windows.
    assert words(cast.owner, f"/teams/{cast.team_id}/usage/budgets").count("Stops has refused a use") == 2
    with unit_of_work():
        clock.advance(timedelta(days=32))
    assert look() == []
    use_most()
    assert len(look()) == 2
    refuse(backend, cast.member.user_id)
    assert len(look()) == 1


@pytest.mark.parametrize("used_before_the_look", [0, 80])
def test_a_refusal_leaves_the_thresholds_to_be_told_when_they_are_reached(
    cast: Cast, used_before_the_look: int
) -> None:
    """One use was too large for all of it. Both in one look are one message."""
    give(cast.team_id, 10_000)
    mine = cast.member.user_id
    budget(cast, f"member:{mine}", 100)

    def look() -> list[str]:
        before = len(entries_of(cast.owner.user_id))
        with unit_of_work():
            tell_of_budgets(cast.team_id)
        return [entry.title for entry in entries_of(cast.owner.user_id)[before:]]

    with unit_of_work():
        outcomes = record_all(cast.team_id, [Use(cast.team_id, "large", "send_email", 120, user_id=mine)], repr)
        mark_refused(cast.team_id, outcomes)
    if used_before_the_look:
        use(cast.team_id, "send_email", used_before_the_look, user_id=mine)
    (told,) = look()
    assert told.endswith(" has refused a use")
    assert look() == []
    later = []
    for reached in (80, 90, 100):
        used = budgets_of(cast.team_id)[0].used
        db.session.rollback()
        if reached > used:
            use(cast.team_id, "send_email", reached - used, user_id=mine)
        later += look()
    endings = [" has used 75 % of its budget", " has used 90 % of its budget", " has used its budget"]
    expected = endings[1:] if used_before_the_look else endings
    assert [title.endswith(ending) for title, ending in zip(later, expected, strict=True)] == [True] * len(expected)


def test_a_budget_that_is_marked_asks_for_no_more_marks(cast: Cast) -> None:
    give(cast.team_id, 1_000)
    mine = cast.member.user_id
    budget(cast, f"member:{mine}", 10)
    marks = []
    for key in ("a", "b"):
        with unit_of_work():
            (refused,) = record_all(cast.team_id, [Use(cast.team_id, key, "send_email", 11, user_id=mine)], repr)
        assert isinstance(refused, BudgetExceeded)
        marks.append(refused.unmarked)
    (row,) = budgets_of(cast.team_id)
    db.session.rollback()
    assert marks == [row.fact, ""]
