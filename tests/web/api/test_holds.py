"""Holding credits over the API: kept for a use under way, spent or given back once, and explained when refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal.billing.models import Subscription
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.usage.models import UsageEvent
from tests.cast import Cast
from tests.web.api.backend import Backend, error_of


def held(backend: Backend, **fields: Any) -> dict[str, Any]:
    answer = backend.hold(**fields)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return dict(answer.get_json())


def left(backend: Backend) -> tuple[int, int]:
    found = backend.credits()
    return found["available"], found["reserved"]


def pass_time(backend: Backend, by: timedelta) -> None:
    with backend.app.app_context(), unit_of_work():
        clock.advance(by)


def uses(backend: Backend) -> list[tuple[str, str, int, int]]:
    with backend.app.app_context():
        query = select(UsageEvent.key, UsageEvent.meter, UsageEvent.quantity, UsageEvent.cost)
        return [tuple(row) for row in db.session.execute(query.where(UsageEvent.team_id == backend.team_id))]  # type: ignore[misc]


def test_credits_are_held_settled_and_the_rest_comes_back(backend: Backend) -> None:
    made = held(backend, amount=40, expires_in=600)
    assert {name: made[name] for name in ("state", "amount", "settled", "available", "expires_in", "meter")} == {
        "state": "open", "amount": 40, "settled": 0, "available": 60, "expires_in": 600, "meter": None,
    }  # fmt: skip
    assert left(backend) == (60, 40)
    assert backend.credits()["grants"][0]["held"] == 40
    settled = backend.settle(made["id"], amount=25).get_json()
    assert (settled["state"], settled["settled"], settled["available"], settled["usage"]) == ("settled", 25, 75, None)
    assert left(backend) == (75, 0)
    assert uses(backend) == []


def test_a_hold_for_a_meter_is_settled_by_what_was_used_and_recorded_as_a_use(backend: Backend) -> None:
    made = held(backend, meter="generate_campaign", quantity=10)
    assert (made["amount"], made["quantity"], made["available"], made["expires_in"]) == (50, 10, 50, 3600)
    settled = backend.settle(made["id"], quantity=7, key="campaigns-1").get_json()
    assert (settled["settled"], settled["available"]) == (35, 65)
    assert uses(backend) == [("campaigns-1", "generate_campaign", 7, 35)]
    (event,) = backend.call("GET", "/usage/events").get_json()["data"]
    assert (event["id"], event["cost"]) == (settled["usage"], 35)


def test_a_hold_for_a_member_is_recorded_as_the_members_use(backend: Backend, cast: Cast) -> None:
    member, other = cast.member.user_id, cast.admin.user_id
    fields = {"meter": "generate_campaign", "quantity": 10, "user": member}
    first = backend.hold(key="one", **fields)
    made = first.get_json()
    assert made["user"] == member
    assert backend.hold(key="one", **fields).data == first.data
    assert error_of(backend.hold(key="one", **fields | {"user": other}))["code"] == "key_reused"
    assert backend.call("GET", f"/credits/holds/{made['id']}").get_json()["user"] == member
    backend.settle(made["id"], quantity=7)
    (event,) = backend.call("GET", "/usage/events").get_json()["data"]
    assert (event["quantity"], event["user"]) == (7, member)


def test_a_hold_for_nobody_says_nothing_of_a_member(backend: Backend) -> None:
    made = held(backend, meter="generate_campaign", quantity=10)
    assert "user" not in made
    backend.settle(made["id"], quantity=7)
    assert backend.call("GET", "/usage/events").get_json()["data"][0]["user"] is None


def test_nobody_holds_for_another_teams_people(backend: Backend, cast: Cast) -> None:
    answer = backend.hold(meter="send_email", quantity=1, user=cast.outsider.user_id)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (422, "unknown_user", "user")
    assert left(backend) == (100, 0)


def test_a_release_gives_all_of_it_back(backend: Backend) -> None:
    made = held(backend, meter="send_email", quantity=10)
    released = backend.release(made["id"]).get_json()
    assert (released["state"], released["settled"], released["available"]) == ("released", 0, 100)
    assert left(backend) == (100, 0)
    assert uses(backend) == []


def test_what_is_held_is_refused_to_others_with_the_way_to_more(backend: Backend) -> None:
    held(backend, amount=99)
    for answer in (backend.use(quantity=2), backend.hold(amount=2), backend.hold(meter="send_email", quantity=2)):
        error = error_of(answer)
        assert (answer.status_code, error["code"]) == (402, "insufficient_credits")
        assert (error["balance"], error["available"], error["cost"], error["shortfall"]) == (100, 1, 2, 1)
        assert error["buy_url"].endswith(f"/pricing?team={backend.team_id}")
    assert backend.use(quantity=1).status_code == 200


def test_what_is_left_and_what_can_be_spent_are_told_apart(backend: Backend) -> None:
    """In the answer to a use, in a refusal, and in the results of many, by the same words."""
    held(backend, amount=75)
    used = backend.use(quantity=25).get_json()
    assert (used["balance"], used["available"]) == (75, 0)
    error = error_of(backend.use(quantity=1))
    assert (error["balance"], error["available"], error["shortfall"]) == (75, 0, 1)
    backend.give(10, "bundle:more")
    uses = [
        {"meter": "send_email", "quantity": quantity, "idempotency_key": f"use-{quantity}"} for quantity in (4, 7, 6)
    ]
    data = backend.post("/usage/batch", {"uses": uses}).get_json()["data"]
    told = [result["usage"] or result["error"] for result in data]
    assert [(one["balance"], one["available"]) for one in told] == [(81, 6), (81, 6), (75, 0)]
    metered = backend.use("api_calls").get_json()
    assert (metered["balance"], metered["available"]) == (None, None)


def test_a_hold_that_nobody_settles_ends(backend: Backend) -> None:
    made = held(backend, amount=40, expires_in=60)
    pass_time(backend, timedelta(seconds=60))
    assert left(backend) == (100, 0)
    read = backend.call("GET", f"/credits/holds/{made['id']}").get_json()
    assert (read["state"], read["closed_at"]) == ("expired", made["expires_at"])
    for answer in (backend.settle(made["id"], amount=1), backend.release(made["id"])):
        error = error_of(answer)
        assert (answer.status_code, error["code"], error["message"]) == (
            409, "hold_closed", "This hold is expired already, so nothing was done."
        )  # fmt: skip
    assert left(backend) == (100, 0)


def test_a_hold_is_closed_once(backend: Backend) -> None:
    made = held(backend, amount=40)
    assert backend.settle(made["id"], amount=1).status_code == 200
    for answer in (backend.settle(made["id"], amount=1), backend.release(made["id"])):
        assert (answer.status_code, error_of(answer)["code"]) == (409, "hold_closed")
    assert left(backend) == (99, 0)


def test_every_request_sent_again_is_answered_as_it_was(backend: Backend) -> None:
    first = backend.hold(meter="send_email", quantity=5, key="one")
    hold_id = first.get_json()["id"]
    second = backend.settle(hold_id, quantity=3, key="two")
    other = held(backend, amount=7)
    third = backend.release(other["id"], key="three")
    again = (
        backend.hold(meter="send_email", quantity=5, key="one"),
        backend.settle(hold_id, quantity=3, key="two"),
        backend.release(other["id"], key="three"),
    )
    for before, after in zip((first, second, third), again, strict=True):
        assert after.data == before.data
        assert (before.headers.get("Idempotent-Replayed"), after.headers["Idempotent-Replayed"]) == (None, "true")
    assert left(backend) == (97, 0)


@pytest.mark.parametrize("taken", ["hold", "settle", "release", "use"])
@pytest.mark.parametrize("asked", ["hold", "settle", "release", "use"])
def test_a_key_stands_for_one_request(backend: Backend, taken: str, asked: str) -> None:
    """Of uses and of holds alike, whatever was asked for first."""
    one, other = held(backend, amount=10)["id"], held(backend, amount=10)["id"]

    def send(act: str, hold_id: str, amount: int) -> Any:
        return {
            "hold": lambda: backend.hold(amount=amount, key="key"),
            "settle": lambda: backend.settle(hold_id, amount=amount, key="key"),
            "release": lambda: backend.release(hold_id, key="key"),
            "use": lambda: backend.use(quantity=amount, key="key"),
        }[act]()

    assert send(taken, one, 2).status_code == 200
    before = left(backend)
    answer = send(asked, other, 3)
    assert (answer.status_code, error_of(answer)["code"]) == (409, "key_reused")
    assert left(backend) == before


def test_a_refusal_leaves_the_key_free(backend: Backend) -> None:
    assert backend.hold(amount=101, key="one").status_code == 402
    backend.give(1, "bundle:more")
    made = backend.hold(amount=101, key="one")
    assert made.status_code == 200
    hold_id = made.get_json()["id"]
    assert backend.settle(hold_id, amount=102, key="two").status_code == 422
    assert backend.settle(hold_id, amount=101, key="two").status_code == 200


def test_frozen_credits_are_not_held_and_what_is_held_can_be_settled(backend: Backend) -> None:
    """The use is under way already when the plan is paused, and what was used is owed."""
    made = held(backend, meter="send_email", quantity=10)
    with backend.app.app_context(), unit_of_work() as session:
        now = clock.now()
        session.add(
            Subscription(
                id=new_id("subn"), stripe_id="sub_paused", gen=1, synced_at=now, team_id=backend.team_id, status="paused",
                plan_key="business", interval="month", currency="usd", started_at=now,
            )
        )  # fmt: skip
    answer = backend.hold(amount=1)
    assert (answer.status_code, error_of(answer)["code"]) == (403, "credits_frozen")
    assert backend.settle(made["id"], quantity=4).status_code == 200
    assert left(backend) == (96, 0)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": "7"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": 1_000_000_001}, "amount"),
        ({"amount": 1, "meter": "send_email", "quantity": 1}, "meter"),
        ({"amount": 1, "quantity": 1}, "quantity"),
        ({"meter": "send_email"}, "quantity"),
        ({"quantity": 1}, "amount"),
        ({"meter": "send_email", "quantity": 0}, "quantity"),
        ({"meter": "send_email", "quantity": 1_000_001}, "quantity"),
        ({"meter": "Send", "quantity": 1}, "meter"),
        ({"meter": "nothing", "quantity": 1}, "meter"),
        ({"meter": "api_calls", "quantity": 1}, "meter"),
        ({"amount": 1, "expires_in": 0}, "expires_in"),
        ({"amount": 1, "expires_in": 604_801}, "expires_in"),
        ({"amount": 1, "expires_in": 1.5}, "expires_in"),
        ({"amount": 1, "for": "me"}, "for"),
        ({"amount": 1, "user": new_id("user")}, "user"),
        ({"meter": "send_email", "quantity": 1, "user": "somebody"}, "user"),
        ({"meter": "send_email", "quantity": 1, "user": None}, "user"),
    ],
)
def test_what_is_no_hold_says_why(backend: Backend, fields: dict[str, Any], param: str) -> None:
    answer = backend.hold(**fields)
    assert (answer.status_code, error_of(answer)["param"]) == (422, param)
    assert left(backend) == (100, 0)


@pytest.mark.parametrize("seconds", [1, 604_800])
def test_a_hold_lasts_from_a_second_to_a_week(backend: Backend, seconds: int) -> None:
    assert held(backend, amount=1, expires_in=seconds)["expires_in"] == seconds


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"amount": 11}, "amount", "more_than_held"),
        ({"quantity": 1}, "amount", "invalid_field"),
        ({}, "amount", "invalid_field"),
        ({"amount": 1, "quantity": 1}, "amount", "invalid_field"),
        ({"amount": 0}, "amount", "invalid_field"),
    ],
)
def test_what_settles_no_hold_says_why(backend: Backend, fields: dict[str, Any], param: str, code: str) -> None:
    made = held(backend, amount=10)
    answer = backend.settle(made["id"], **fields)
    error = error_of(answer)
    assert (answer.status_code, error["param"], error["code"]) == (422, param, code)
    assert left(backend) == (90, 10)


@pytest.mark.parametrize(("fields", "code"), [({"quantity": 6}, "more_than_held"), ({"amount": 5}, "invalid_field")])
def test_a_meters_hold_is_settled_by_its_quantity(backend: Backend, fields: dict[str, Any], code: str) -> None:
    made = held(backend, meter="generate_campaign", quantity=5)
    error = error_of(backend.settle(made["id"], **fields))
    assert (error["param"], error["code"]) == ("quantity", code)
    assert left(backend) == (75, 25)


@pytest.mark.parametrize("name", ["hold_01JD3M8W6Q4Z9V0K2T5R7X1YBC", "nothing", "hold_%20"])
def test_a_hold_nobody_made(backend: Backend, name: str) -> None:
    answers = (
        backend.settle(name, amount=1),
        backend.release(name),
        backend.call("GET", f"/credits/holds/{name}"),
    )
    assert [(answer.status_code, error_of(answer)["code"]) for answer in answers] == [(404, "resource_missing")] * 3


def test_another_teams_hold_is_none(backend: Backend, other_backend: Backend) -> None:
    made = held(backend, amount=10)
    answers = (
        other_backend.settle(made["id"], amount=1),
        other_backend.release(made["id"]),
        other_backend.call("GET", f"/credits/holds/{made['id']}"),
    )
    assert [answer.status_code for answer in answers] == [404] * 3
    assert other_backend.call("GET", "/credits/holds").get_json()["data"] == []
    assert left(backend) == (90, 10)


def test_holds_as_a_list(backend: Backend) -> None:
    made = [held(backend, amount=amount, expires_in=60 * amount)["id"] for amount in (1, 2, 3, 4)]
    backend.settle(made[1], amount=2)
    backend.release(made[2])
    pass_time(backend, timedelta(seconds=60))
    first = backend.call("GET", "/credits/holds?limit=3").get_json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (made[:0:-1], True)
    rest = backend.call("GET", f"/credits/holds?starting_after={made[1]}").get_json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (made[:1], False)
    states = {
        state: [one["id"] for one in backend.call("GET", f"/credits/holds?state={state}").get_json()["data"]]
        for state in ("open", "settled", "released", "expired")
    }
    assert states == {"open": [made[3]], "settled": [made[1]], "released": [made[2]], "expired": [made[0]]}
    answer = backend.call("GET", "/credits/holds?state=gone")
    assert (answer.status_code, error_of(answer)["param"]) == (422, "state")


def test_a_key_without_the_scope_may_not(backend: Backend) -> None:
    made = held(backend, amount=10)
    stranger = backend.with_no_scope()
    answers = (
        stranger.hold(amount=1),
        stranger.settle(made["id"], amount=1),
        stranger.release(made["id"]),
        stranger.call("GET", "/credits/holds"),
        stranger.call("GET", f"/credits/holds/{made['id']}"),
    )
    assert [(answer.status_code, error_of(answer)["code"]) for answer in answers] == [(403, "missing_scope")] * 5


def test_of_many_settlements_at_once_one_is_done(backend: Backend) -> None:
    made = held(backend, meter="send_email", quantity=10)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: backend.settle(made["id"], quantity=4, key=f"key-{n % 4}"), range(16)))
    won = {answer.data for answer in answers if answer.status_code == 200}
    assert len(won) == 1
    assert {answer.status_code for answer in answers} == {200, 409}
    assert left(backend) == (96, 0)
    assert len(uses(backend)) == 1


def test_of_many_holds_with_one_key_one_is_made(backend: Backend) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: backend.hold(amount=10, key="one"), range(16)))
    assert len({answer.data for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert left(backend) == (90, 10)
