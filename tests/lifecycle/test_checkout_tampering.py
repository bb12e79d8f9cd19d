"""Forms and addresses made by hand: the server alone says what is bought, by whom, at what price and whether it was paid."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from portal.billing.models import Checkout
from portal.core.database import db
from portal.core.limits import forget_counts
from portal.credits.models import CreditGrant
from tests.cast import Cast
from tests.stage import Stage


@pytest.fixture
def team(cast: Cast, stage: Stage) -> str:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    return cast.team_id


def page_of(stage: Stage, address: str) -> dict[str, Any]:
    page_id = address.rsplit("/", 1)[1]
    page = stage.stripe("GET", f"/v1/checkout/sessions/{page_id}")
    page["lines"] = stage.stripe("GET", f"/v1/checkout/sessions/{page_id}", **{"expand[]": "line_items"})["line_items"]
    return page


def test_s5_ids_of_stripe_in_the_form_are_not_looked_at(cast: Cast, stage: Stage, team: str) -> None:
    stage.subscribe(cast.outsider, cast.other_team_id, "pro")
    stage.deliver_all()
    theirs = stage.stripe("GET", "/v1/customers", limit=100)["data"][0]["id"]
    stolen = {
        "customer": theirs,
        "subscription": "sub_B",
        "payment_method": "pm_B",
        "client_reference_id": cast.other_team_id,
        "metadata[team_id]": cast.other_team_id,
    }
    page = page_of(stage, stage.begin_bundle(cast.owner, team, **stolen))
    assert page["customer"] != theirs
    assert page["client_reference_id"] == page["metadata"]["team_id"] == team
    assert page["mode"] == "payment"
    assert page["subscription"] is None


def test_s6_coming_back_grants_nothing_and_another_teams_page_does_not_exist(
    cast: Cast, stage: Stage, team: str
) -> None:
    address = stage.begin_bundle(cast.owner, team)
    row = db.session.execute(select(Checkout).where(Checkout.purpose == "bundle")).scalar_one()
    page_id = address.rsplit("/", 1)[1]
    for way in (f"{row.id}", f"{row.id}?session_id={page_id}&payment_status=paid", f"{row.id}/status?seen=done"):
        assert cast.owner.client.get(f"/teams/{team}/checkout/{way}").status_code == 200
        assert cast.outsider.client.get(f"/teams/{team}/checkout/{way}").status_code == 404
        assert cast.outsider.client.get(f"/teams/{cast.other_team_id}/checkout/{way}").status_code == 404
    assert cast.owner.client.get(f"/teams/{team}/checkout/{page_id}").status_code == 404
    assert bundles_granted() == 0


def test_s6_an_event_about_a_page_made_elsewhere_grants_nothing(cast: Cast, stage: Stage, team: str) -> None:
    """It carries the metadata of a checkout of ours, and it is even paid."""
    address = stage.begin_bundle(cast.owner, team)
    ours = page_of(stage, address)
    metadata = {f"metadata[{name}]": value for name, value in ours["metadata"].items()}
    price = ours["lines"]["data"][0]["price"]["id"]
    other = stage.stripe(
        "POST", "/v1/checkout/sessions", mode="payment", success_url="https://example.com/",
        **{"line_items[0][price]": price, "line_items[0][quantity]": "1", "client_reference_id": team}, **metadata,
    )  # fmt: skip
    assert stage.pay(other["url"]).status_code == 303
    stage.deliver_all()
    assert bundles_granted() == 0
    stage.pay(address)
    stage.deliver_all()
    assert bundles_granted() == 1


def test_s14_amounts_and_prices_in_the_form_change_nothing(cast: Cast, stage: Stage, team: str) -> None:
    forged = {
        "price": "price_1", "price_id": "price_1", "amount": "1", "unit_amount": "1", "currency": "jpy",
        "credits": "1000000", "quantity": "99", "discounts[0][coupon]": "FREE", "mode": "setup",
        "success_url": "https://evil.example", "line_items[0][price]": "price_1",
    }  # fmt: skip
    page = page_of(stage, stage.begin_bundle(cast.owner, team, **forged))
    [line] = page["lines"]["data"]
    assert (page["amount_total"], page["currency"], line["quantity"]) == (1_800, "usd", 1)
    assert page["success_url"].startswith(f"{stage.app.config['SETTINGS'].base_url}/teams/{team}/checkout/chk_")
    row = db.session.execute(select(Checkout).where(Checkout.purpose == "bundle")).scalar_one()
    assert (row.credits, row.amount_cents, row.currency) == (1_000, 1_800, "usd")


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"bundle": ""},
        {"bundle": "credits_1"},
        {"bundle": "credits_1000\x00"},
        {"bundle": "business"},
        {"plan": "credits_1000", "interval": "month"},
        {"plan": "business", "interval": "week"},
        {"plan": "free", "interval": "month"},
        {"plan": "enterprise", "interval": "month"},
        {"plan": "business", "interval": "month", "bundle": "credits_1000"},
        {"price": "price_1"},
    ],
)
def test_s14_what_is_not_sold_is_422(cast: Cast, form: dict[str, str]) -> None:
    answer = cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data=form)
    assert answer.status_code == 422
    assert "Nothing was changed or charged" in answer.get_data(as_text=True)
    assert db.session.execute(select(func.count(Checkout.id))).scalar_one() == 0


@pytest.mark.parametrize(
    "token", ["", "x", "ord_1", "ord_01JD0000000000000000000000:evil", "'; drop table checkouts", "ord_" + "0" * 400]
)
def test_an_order_token_of_another_shape_is_as_good_as_none(cast: Cast, stage: Stage, team: str, token: str) -> None:
    forget_counts()
    assert stage.begin_bundle(cast.owner, team, order=token) != stage.begin_bundle(cast.owner, team, order=token)


def test_another_teams_token_finds_nothing_of_theirs(cast: Cast, stage: Stage, team: str) -> None:
    stage.subscribe(cast.outsider, cast.other_team_id, "business")
    stage.deliver_all()
    token = "ord_01JD0000000000000000000009"
    theirs = stage.begin_bundle(cast.outsider, cast.other_team_id, order=token)
    ours = stage.begin_bundle(cast.owner, team, order=token)
    assert page_of(stage, ours)["client_reference_id"] == team
    assert ours != theirs


def bundles_granted() -> int:
    db.session.rollback()
    return db.session.execute(select(func.count(CreditGrant.id)).where(CreditGrant.kind == "bundle")).scalar_one()
