"""At most one payable checkout page a team, whatever Stripe, the network and impatient people do in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select, text

from portal.billing.gateway import Gateway, Unavailable
from portal.billing.models import Checkout, Subscription
from portal.core.alarms import Alarm
from portal.core.database import db
from tests.cast import Cast
from tests.stage import Stage


def press(cast: Cast, plan: str = "business") -> Any:
    return cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data={"plan": plan, "interval": "month"})


@contextmanager
def stripe_is_away(monkeypatch: pytest.MonkeyPatch, call: str) -> Iterator[None]:
    def away(*_args: Any, **_values: Any) -> None:
        raise Unavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Gateway, call, away)
        yield


def test_pressing_again_and_again_after_paying_never_opens_a_second_page(cast: Cast, stage: Stage) -> None:
    """The payment is done, and the news of it is late."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    for _ in range(3):
        answer = press(cast, "pro")
        assert answer.status_code == 409
        assert "paid just now" in answer.get_data(as_text=True)
    stage.deliver_all()
    assert [row.plan_key for row in db.session.execute(select(Subscription)).scalars()] == ["business"]


def test_a_page_that_could_not_be_closed_is_closed_by_the_next_checkout(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stage.begin_checkout(cast.owner, cast.team_id, "business")
    with stripe_is_away(monkeypatch, "expire_checkout_session"):
        assert press(cast, "pro").status_code == 502
        assert press(cast, "pro").status_code == 502
    second = stage.begin_checkout(cast.owner, cast.team_id, "pro")
    assert stage.pay(first).status_code >= 400
    assert stage.pay(second).status_code == 303
    stage.deliver_all()
    assert db.session.execute(select(Subscription.plan_key)).scalars().all() == ["pro"]
    assert db.session.execute(select(Alarm.kind)).scalars().all() == []


def test_a_page_that_stripe_never_answered_for_stands_in_nobodys_way(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address was never known, so nobody was sent there."""
    with stripe_is_away(monkeypatch, "create_checkout_session"):
        assert press(cast).status_code == 502
        assert press(cast).status_code == 502
    assert stage.pay(stage.begin_checkout(cast.owner, cast.team_id, "business")).status_code == 303
    stage.deliver_all()
    states = db.session.execute(select(Checkout.state).order_by(Checkout.created_at, Checkout.id)).scalars().all()
    assert states == ["replaced", "replaced", "complete"]


def test_starting_a_checkout_does_not_wait_for_rows_that_name_the_team(cast: Cast, stage: Stage) -> None:
    """Else it and a worker that applies the team's payment would wait for each other."""
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    with db.engine.connect() as worker, worker.begin():
        worker.execute(text("select 1 from teams where id = :team for key share"), {"team": cast.team_id})
        assert press(cast).status_code == 303


def test_nobody_is_sent_to_a_page_whose_origin_is_not_configured(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Gateway.create_checkout_session

    def elsewhere(self: Gateway, params: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
        return create(self, params, idempotency_key) | {"url": "https://checkout.stripe.com@evil.example/c/pay"}

    monkeypatch.setattr(Gateway, "create_checkout_session", elsewhere)
    answer = press(cast)
    assert (answer.status_code, answer.location) == (502, None)


def test_the_plan_beside_the_teams_name_is_the_new_one_once_it_is_there(cast: Cast, stage: Stage) -> None:
    checkout_id = stage.subscribe(cast.owner, cast.team_id, "business")
    page = f"/teams/{cast.team_id}/checkout/{checkout_id}"
    before = cast.owner.client.get(page).get_data(as_text=True)
    assert "Free \u00b7 Test" in before
    assert before.count('id="team-switcher"') == 1
    stage.deliver_all()
    fragment = cast.owner.client.get(f"{page}/status?seen=waiting").get_data(as_text=True)
    assert fragment.count('id="team-switcher"') == fragment.count("hx-swap-oob") == 1
    assert "Business \u00b7 Test" in fragment
