"""Our checkout is no place to try stolen cards: few pages a minute, few unpaid ones an hour, and an alarm."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from portal.accounts.models import Membership
from portal.billing import card_testing
from portal.billing.card_testing import OPEN_OR_DECLINED_MAX, note_decline
from portal.billing.gateway import Gateway, Unavailable
from portal.billing.models import CardDecline, Checkout
from portal.core.alarms import Alarm
from portal.core.authz import Role
from portal.core.database import db
from portal.core.limits import forget_counts
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast, Person
from tests.stage import DECLINED, VISA, Stage

PLAN = {"plan": "business", "interval": "month"}


def press(person: Person, team_id: str) -> int:
    forget_counts()  # as if a minute had passed
    return person.client.post(f"/teams/{team_id}/checkout", data=PLAN).status_code


def alarms() -> list[tuple[str, str]]:
    return [(row.kind, row.subject) for row in db.session.execute(select(Alarm.kind, Alarm.subject))]


def test_s64_a_person_begins_five_checkouts_a_minute(cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_testing, "OPEN_OR_DECLINED_MAX", 1_000)
    presses = [cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data=PLAN) for _ in range(7)]
    assert [answer.status_code for answer in presses] == [303] * 5 + [429] * 2
    assert 0 < int(presses[-1].headers["Retry-After"]) <= 61
    assert "Nothing was changed or charged" in presses[-1].get_data(as_text=True)


def test_s64_the_minute_is_the_teams_too(cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_testing, "OPEN_OR_DECLINED_MAX", 1_000)
    people = [cast.owner, cast.admin, cast.billing] * 2
    statuses = [person.client.post(f"/teams/{cast.team_id}/checkout", data=PLAN).status_code for person in people]
    assert statuses == [303] * 5 + [429]


def test_s64_five_unpaid_checkouts_an_hour_then_words_and_an_alarm(cast: Cast, stage: Stage) -> None:
    assert [press(cast.owner, cast.team_id) for _ in range(OPEN_OR_DECLINED_MAX)] == [303] * OPEN_OR_DECLINED_MAX
    answer = cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data=PLAN)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "3600"
    words = answer.get_data(as_text=True)
    assert "Too many checkouts were begun and not paid" in words
    assert "Nothing was charged" in words
    assert press(cast.admin, cast.team_id) == 429, "a colleague has no tries of their own"
    assert alarms() == [("card_testing", cast.team_id)]
    rows = db.session.execute(select(func.count(Checkout.id))).scalar_one()
    assert rows == OPEN_OR_DECLINED_MAX

    stage.advance(timedelta(hours=1, seconds=1))
    assert press(cast.owner, cast.team_id) == 303


def test_s64_a_person_has_no_more_tries_in_another_team(cast: Cast, stage: Stage) -> None:
    with unit_of_work() as session:
        session.add(Membership(user_id=cast.owner.user_id, team_id=cast.other_team_id, role=Role.ADMIN))
    assert [press(cast.owner, cast.team_id) for _ in range(OPEN_OR_DECLINED_MAX)] == [303] * OPEN_OR_DECLINED_MAX
    assert press(cast.owner, cast.other_team_id) == 429
    assert press(cast.outsider, cast.other_team_id) == 303


def test_s64_declined_cards_count_once_each_and_raise_the_alarm(cast: Cast, stage: Stage) -> None:
    for number in range(OPEN_OR_DECLINED_MAX):
        assert alarms() == []
        for _ in range(3):
            with unit_of_work():
                note_decline(cast.team_id, f"ch_{number}", "chk_of_nobody")
    assert db.session.execute(select(func.count(CardDecline.attempt_id))).scalar_one() == OPEN_OR_DECLINED_MAX
    assert alarms() == [("card_testing", cast.team_id)]
    assert press(cast.owner, cast.team_id) == 429
    assert press(cast.outsider, cast.other_team_id) == 303
    stage.advance(timedelta(hours=1, seconds=1))
    assert press(cast.owner, cast.team_id) == 303


def test_s64_a_paid_checkout_is_no_try(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    for _ in range(OPEN_OR_DECLINED_MAX + 2):
        forget_counts()
        stage.buy_bundle(cast.owner, cast.team_id)
        stage.deliver_all()
    assert alarms() == []


def declined_tries() -> int:
    found = db.session.execute(select(func.count(CardDecline.attempt_id))).scalar_one()
    db.session.remove()
    return found


def test_s64_every_declined_card_of_a_page_counts_however_late_we_look(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    page = stage.begin_bundle(cast.owner, cast.team_id)
    for _ in range(3):
        assert stage.pay(page, DECLINED).status_code == 402
    stage.deliver_all()
    assert declined_tries() == 3
    assert alarms() == []
    assert stage.pay(page, VISA).status_code == 303, "a person in trouble with a card has a few tries"
    stage.deliver_all()
    assert declined_tries() == 3


def test_s64_too_many_declined_cards_close_the_pages(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    page, other = (stage.begin_bundle(cast.owner, cast.team_id) for _ in range(2))
    for number in range(OPEN_OR_DECLINED_MAX):
        assert stage.pay(page, DECLINED).status_code == 402, number
    stage.deliver_all()
    assert alarms() == [("card_testing", cast.team_id)]
    db.session.remove()
    for address in (page, other):
        assert stage.pay(address, VISA).status_code not in (303, 402), "it takes no card any more"
    stage.deliver_all()
    states = select(Checkout.state).where(Checkout.purpose == "bundle")
    assert list(db.session.execute(states).scalars()) == ["expired", "expired"]


def test_checkouts_that_stripe_made_no_page_for_lock_nobody_out(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()

    def no_answer(*_args: object) -> None:
        raise Unavailable("no answer")

    bundle = {"bundle": "credits_1000"}
    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "create_checkout_session", no_answer)
        for _ in range(OPEN_OR_DECLINED_MAX):
            forget_counts()
            assert cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data=bundle).status_code == 502
    stage.advance(timedelta(minutes=1, seconds=1))
    forget_counts()
    assert cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data=bundle).status_code == 303
    assert alarms() == []
