"""Stripe and we agree in the end, whatever was lost: events are fetched by the hour, subscriptions and seats looked at nightly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select

from portal.accounts.models import Membership
from portal.billing import gateway as gateway_module
from portal.billing.entitlements import effective
from portal.billing.gateway import Unavailable
from portal.billing.gateway_counters import measured as counted
from portal.billing.jobs import check_subscriptions
from portal.billing.models import Subscription
from portal.billing.subscriptions import live_subscription
from portal.core.alarms import Alarm
from portal.core.authz import Role
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits.queries import balance
from portal.webhooks.handlers import HANDLERS
from portal.webhooks.jobs import fetch_missed
from portal.webhooks.models import StripeEvent
from tests.cast import Cast, make_user
from tests.plan_changes import Changer
from tests.purchases import BUSINESS_CREDITS, make_buyer, nothing_waits, paid_grants, violations
from tests.stage import Stage
from tests.trouble import call_fault, trouble

HOUR = timedelta(hours=1)


def alarms(kind: str) -> list[tuple[str, dict[str, Any], bool]]:
    rows = db.session.execute(select(Alarm).where(Alarm.kind == kind).order_by(Alarm.id)).scalars()
    found = [(row.subject, row.detail, row.resolved_at is None) for row in rows]
    db.session.remove()
    return found


@contextmanager
def calls_to_stripe(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of Stripe within."""
    made: list[str] = []

    def measured(operation: str) -> Any:
        made.append(operation.rsplit(".", maxsplit=1)[-1])
        return counted(operation)

    with monkeypatch.context() as patch:
        patch.setattr(gateway_module, "measured", measured)
        yield made


def hear_of_something(stage: Stage) -> None:
    """An event that came: from the next second on we know that we should hear."""
    someone, team_id = make_buyer(stage.app, "Early birds")
    stage.subscribe(someone, team_id, "business")
    stage.deliver_all()
    stage.advance(timedelta(seconds=2))


def test_events_that_never_came_are_fetched_within_the_hour_and_applied(stage: Stage, cast: Cast) -> None:
    hear_of_something(stage)
    stage.subscribe(cast.owner, cast.team_id, "business")
    lost = [event for event in stage.new_events() if event["type"] in HANDLERS]
    stage.drain()
    assert live_subscription(cast.team_id) is None
    stage.advance(HOUR)
    stage.drain()
    subscription = live_subscription(cast.team_id)
    assert subscription is not None
    assert (subscription.plan_key, subscription.status) == ("business", "active")
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]
    assert balance(cast.team_id).available == BUSINESS_CREDITS
    assert nothing_waits()
    assert violations() == []
    assert [(subject, detail["events"]) for subject, detail, _ in alarms("missed_events")] == [("inbox", len(lost))]
    assert [stage.deliver(event) for event in lost] == [200] * len(lost)
    stage.drain()
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]


def test_whoever_hears_everything_fetches_nothing(stage: Stage) -> None:
    hear_of_something(stage)
    before = db.session.execute(select(StripeEvent.event_id)).scalars().all()
    db.session.remove()
    stage.advance(HOUR)
    assert fetch_missed() == 0
    assert db.session.execute(select(StripeEvent.event_id)).scalars().all() == before
    assert alarms("missed_events") == []


def test_an_outage_of_both_is_caught_up_with_when_stripe_answers_again(stage: Stage, cast: Cast) -> None:
    hear_of_something(stage)
    assert fetch_missed() == 0
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.new_events()
    for _ in range(3):
        stage.advance(timedelta(days=3))
        with (
            trouble(stage, call_fault("drop_before", "GET /v1/events", times=None)),
            pytest.raises(Unavailable),
        ):
            fetch_missed()
    assert fetch_missed() > 0
    stage.drain()
    assert effective(cast.team_id).plan is not None
    assert paid_grants(cast.team_id) == [BUSINESS_CREDITS]


def test_what_is_under_way_is_left_to_come(stage: Stage, cast: Cast) -> None:
    hear_of_something(stage)
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.advance(timedelta(minutes=5))
    assert fetch_missed() == 0
    stage.advance(timedelta(minutes=6))
    assert fetch_missed() > 0


def test_what_came_in_the_thin_form_is_known(stage: Stage, cast: Cast) -> None:
    hear_of_something(stage)
    stage.subscribe(cast.owner, cast.team_id, "business")
    for event in stage.new_events():
        thin = {
            "id": f"evt_test_{event['id'][4:]}",
            "object": "v2.core.event",
            "type": f"v1.{event['type']}",
            "created": "2026-11-26T12:00:00.000Z",
            "livemode": False,
            "snapshot_event": event["id"],
            "related_object": {"id": event["data"]["object"]["id"], "type": event["data"]["object"]["object"]},
        }
        assert stage.deliver(thin) == 200
    stage.drain()
    stage.advance(HOUR)
    assert fetch_missed() == 0


def at_stripe(changer: Changer, **fields: Any) -> None:
    changer.stage.stripe("POST", f"/v1/subscriptions/{changer.mirrored().stripe_id}", **fields)


def forget_it(changer: Changer) -> None:
    """Our row is gone, as from a backup of the hour before."""
    with unit_of_work() as session:
        session.execute(delete(Subscription).where(Subscription.team_id == changer.team_id))
    db.session.remove()


# What happens at Stripe, or to us, without an event that tells of it.
UNHEARD: dict[str, Callable[[Changer], object]] = {
    "nothing": lambda _: None,
    "it ends": lambda c: c.stage.stripe("DELETE", f"/v1/subscriptions/{c.mirrored().stripe_id}"),
    "it is to end": lambda c: at_stripe(c, cancel_at_period_end="true"),
    "it is paused": lambda c: c.stage.stripe("POST", f"/v1/subscriptions/{c.mirrored().stripe_id}/pause"),
    "our row is lost": forget_it,
}


@pytest.mark.parametrize("what", UNHEARD)
def test_a_row_that_says_otherwise_is_mended_overnight(
    stage: Stage, cast: Cast, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changer = Changer.on(stage, cast.owner, cast.team_id, "business", wait=timedelta())
    UNHEARD[what](changer)
    stage.new_events()
    mended = 0 if what == "nothing" else 1
    with calls_to_stripe(monkeypatch) as made:
        assert check_subscriptions() == mended
    assert made[0] == "list"
    assert bool(made[1:]) == bool(mended)
    changer.assert_mirrored()
    assert check_subscriptions() == 0


def test_a_day_of_many_members_is_one_look_and_fewer_seats_than_members_are_one_alarm(
    stage: Stage, cast: Cast, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    changer = Changer.on(stage, cast.owner, cast.team_id, "pro", wait=timedelta(days=25))
    changer.change_seats(13)
    for _round in range(3):
        many = _hire(cast.team_id, 9)  # four there were
        _dismiss(many[4:])
        _hire(cast.team_id, 5)
        if _round < 2:
            _dismiss(many[:4])
            _dismiss(_hired(cast))
    with calls_to_stripe(monkeypatch) as made:
        assert check_subscriptions() == 0
    assert made == ["list"]
    assert alarms("more_members_than_seats") == []

    seats = next(item for item in changer.live()["items"]["data"] if item.get("quantity") == 3)
    at_stripe(changer, **{"items[0][id]": seats["id"], "items[0][deleted]": "true"})
    stage.new_events()
    before = changer.invoices()
    assert [check_subscriptions(), check_subscriptions()] == [1, 0]
    assert changer.invoices() == before
    changer.assert_mirrored()
    wanted = [(cast.team_id, {"members": 13, "seats": 10}, True)]
    assert alarms("more_members_than_seats") == wanted
    _dismiss(_hired(cast))
    check_subscriptions()
    assert [is_open for *_, is_open in alarms("more_members_than_seats")] == [False]


def _hire(team_id: str, number: int) -> list[str]:
    with unit_of_work() as session:
        made = [Membership(team_id=team_id, user_id=make_user().id, role=Role.MEMBER) for _ in range(number)]
        session.add_all(made)
        session.flush()
        ids = [one.id for one in made]
    db.session.remove()
    return ids


def _hired(cast: Cast) -> list[str]:
    """All members but those whom every test has."""
    of_the_cast = [person.user_id for person in (cast.owner, cast.admin, cast.billing, cast.member)]
    query = select(Membership.id).where(Membership.team_id == cast.team_id, Membership.user_id.not_in(of_the_cast))
    found = list(db.session.execute(query).scalars())
    db.session.remove()
    return found


def _dismiss(membership_ids: list[str]) -> None:
    with unit_of_work() as session:
        session.execute(delete(Membership).where(Membership.id.in_(membership_ids)))
    db.session.remove()
