"""A bundle that a team may buy twice a month: twice and not more, whoever presses, and again in the next month."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.billing.bundle_sale import PAGE_IS_MADE_WITHIN
from portal.billing.models import Checkout
from portal.catalog.models import Bundle
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.times import month_end
from portal.core.unit_of_work import unit_of_work
from portal.credits import purchase_rules
from portal.credits.queries import balance
from tests import switches
from tests.auto_buyers import THRESHOLD, AutoBuyer
from tests.cast import Cast, signed_in
from tests.plan_changes import now
from tests.purchases import violations
from tests.stage import Stage
from tests.trouble import call_fault, trouble
from tests.web.api.backend import backend_of, error_of

LIMIT = 2
REFUSED = "The team has bought this bundle as often as it may this month"


def set_limit(limit: int | None) -> None:
    with unit_of_work() as session:
        session.execute(update(Bundle).where(Bundle.key == "credits_1000").values(limit_per_month=limit))


@pytest.fixture
def limited(stage: Stage) -> Iterator[None]:
    set_limit(LIMIT)
    yield
    db.session.rollback()
    set_limit(None)


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits on requests would refuse first."""
    switches.without_limits(monkeypatch)


@pytest.fixture
def team(cast: Cast, stage: Stage, limited: None) -> str:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    return cast.team_id


def words_of(cast: Cast, team_id: str) -> str:
    page = cast.owner.client.get(f"/teams/{team_id}/credits").get_data(as_text=True)
    buying = page[page.index('id="buy"') : page.index("</section>", page.index('id="buy"'))]
    return " ".join(re.sub(r"<[^>]+>", " ", buying).split())


def press(cast: Cast, team_id: str, bundle: str = "credits_1000", **fields: str) -> tuple[int, str]:
    answer = cast.owner.client.post(f"/teams/{team_id}/checkout", data={"bundle": bundle, **fields})
    return answer.status_code, answer.get_data(as_text=True)


def test_it_is_bought_as_often_as_it_may_and_again_in_the_next_month(cast: Cast, stage: Stage, team: str) -> None:
    before = balance(team).available
    assert "2 of 2 left this month" in words_of(cast, team)
    stage.buy_bundle(cast.owner, team)
    stage.deliver_all()
    assert "1 of 2 left this month" in words_of(cast, team)
    stage.buy_bundle(cast.owner, team)
    stage.deliver_all()
    assert "None left until 1 " in words_of(cast, team)
    status, page = press(cast, team)
    assert (status, REFUSED in page) == (409, True)
    assert press(cast, team, "credits_500")[0] == 303, "the others have no limit"
    assert balance(team).available == before + 2_000

    stage.advance(month_end(now()) - now() + timedelta(minutes=1))
    stage.deliver_all()
    assert "2 of 2 left this month" in words_of(cast, team)
    stage.buy_bundle(cast.owner, team)
    stage.deliver_all()
    assert violations() == []


def test_a_page_that_can_be_paid_counts_until_it_ends(cast: Cast, stage: Stage, team: str) -> None:
    for _ in range(LIMIT):
        stage.begin_bundle(cast.owner, team)
    assert press(cast, team)[0] == 409
    words = words_of(cast, team)
    assert "A payment page is open" in words
    assert "The page for 1,000 credits can still be paid, and ends by itself within 24 hours. Go on with it" in words
    first = db.session.execute(select(Checkout.stripe_id).where(Checkout.purpose == "bundle").limit(1)).scalar_one()
    db.session.rollback()
    stage.stripe("POST", f"/v1/checkout/sessions/{first}/expire")
    stage.deliver_all()
    assert press(cast, team)[0] == 303
    assert press(cast, team)[0] == 409


def test_an_order_that_met_an_outage_takes_nobodys_place_and_is_no_way_around(
    cast: Cast, stage: Stage, team: str
) -> None:
    """Its row stays, and the same order sent again begins where it was, within what is left by then."""
    lost = new_id("ord")
    with trouble(stage, call_fault("drop_before", "POST /v1/checkout/sessions", times=None)):
        assert press(cast, team, order=lost)[0] == 502
    stage.advance(PAGE_IS_MADE_WITHIN + timedelta(minutes=1))
    for _ in range(LIMIT):
        assert press(cast, team)[0] == 303
    status, page = press(cast, team, order=lost)
    assert (status, REFUSED in page) == (409, True)


def test_pressing_twice_is_one_order(cast: Cast, stage: Stage, team: str) -> None:
    first, second, third = (new_id("ord") for _ in range(3))
    assert [press(cast, team, order=first)[0] for _ in range(4)] == [303] * 4
    assert press(cast, team, order=second)[0] == 303
    assert press(cast, team, order=third)[0] == 409
    assert press(cast, team, order=first)[0] == 303, "its page is still open"


def test_of_many_at_once_as_many_as_are_left_get_a_page(cast: Cast, stage: Stage, team: str) -> None:
    users = {user.id: user for user in db.session.execute(select(User)).scalars()}
    clients = [signed_in(stage.app, users[one.user_id]) for one in (cast.owner, cast.admin) for _ in range(2)]
    db.session.remove()
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = pool.map(
            lambda client: client.post(f"/teams/{team}/checkout", data={"bundle": "credits_1000"}), clients
        )
        assert Counter(answer.status_code for answer in answers) == {303: LIMIT, 409: 2}


def test_a_backend_is_told(cast: Cast, stage: Stage, team: str) -> None:
    backend = backend_of(stage.app, team, cast.owner)

    def order(number: int) -> TestResponse:
        headers = {"Authorization": f"Bearer {backend.secret}", "Idempotency-Key": f"order-{number}"}
        return backend.call("POST", "/checkout-sessions", headers=headers, json={"bundle": "credits_1000"})

    assert [order(number).status_code for number in range(LIMIT)] == [200, 200]
    refused = order(LIMIT)
    assert (refused.status_code, error_of(refused)["code"]) == (409, "bundle_limit_reached")


def test_it_is_not_bought_automatically(cast: Cast, stage: Stage) -> None:
    buyer = AutoBuyer.ready(stage, cast.owner, cast.team_id)
    try:
        set_limit(LIMIT)
        assert "credits_1000" not in [bundle.bundle_key for bundle in purchase_rules.choices(cast.team_id)]
        buyer.spend_down_to(THRESHOLD - 1)
        assert (buyer.rule().state, buyer.rule().reason, buyer.intents()) == ("stopped", "price_changed", [])
    finally:
        db.session.rollback()
        set_limit(None)
