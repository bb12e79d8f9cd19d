"""A promotion code that comes with the order: looked up at Stripe, put on the page, or refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from portal.billing.gateway import Gateway, InvalidRequest, gateway
from portal.billing.models import Checkout
from portal.core.database import db
from portal.credits.models import CreditGrant
from tests.cast import Cast
from tests.stage import Stage


class Codes:
    """What Stripe knows of codes, and what pages it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known = {"LAUNCH20": True, "OLD": False}
        self.looked_up: list[str] = []
        self.pages: list[dict[str, Any]] = []
        self.refuses: InvalidRequest | None = None
        create = Gateway.create_checkout_session

        def promotion_codes(_gateway: Gateway, code: str | None = None) -> list[dict[str, Any]]:
            self.looked_up.append(code or "")
            found = self.known.get((code or "").upper())
            return [] if found is None else [{"id": f"promo_{code}", "code": code, "active": found}]

        def create_checkout_session(gateway: Gateway, params: dict[str, Any], key: str) -> dict[str, Any]:
            self.pages.append(params)
            if self.refuses is not None:
                raise self.refuses
            # The stand-in's page needs no discount for what is told here.
            return create(gateway, {name: value for name, value in params.items() if name != "discounts"}, key)

        monkeypatch.setattr(Gateway, "promotion_codes", promotion_codes)
        monkeypatch.setattr(Gateway, "create_checkout_session", create_checkout_session)


@pytest.fixture
def codes(cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Codes:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    return Codes(monkeypatch)


def order(cast: Cast, code: str, **fields: str) -> Any:
    form = {"bundle": "credits_1000", "promotion_code": code, **fields}
    return cast.owner.client.post(f"/teams/{cast.team_id}/checkout", data=form)


def test_a_code_that_works_is_on_the_page(cast: Cast, codes: Codes) -> None:
    assert order(cast, " LAUNCH20 ").status_code == 303
    [page] = codes.pages
    assert page["discounts"] == [{"promotion_code": "promo_LAUNCH20"}]
    assert "allow_promotion_codes" not in page


def test_without_one_the_page_asks_for_it(cast: Cast, codes: Codes) -> None:
    assert order(cast, "").status_code == 303
    assert codes.pages[0]["allow_promotion_codes"] is True
    assert codes.looked_up == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("NOSUCH", "There is no such promotion code"),
        ("OLD", "This promotion code has ended"),
        ("a code", "There is no such promotion code"),
        ("x" * 5_000, "There is no such promotion code"),
        ("\x00", "There is no such promotion code"),
        ("LAUNCH20&active=true", "There is no such promotion code"),
    ],
)
def test_a_code_that_does_not_work_begins_nothing(cast: Cast, codes: Codes, code: str, words: str) -> None:
    answer = order(cast, code)
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert words in page
    assert "Nothing was charged" in page
    assert f"/teams/{cast.team_id}/credits" in page
    assert codes.pages == []
    assert bundles() == []


@pytest.mark.parametrize(
    ("code", "param"),
    [
        ("promotion_code_not_redeemable", None),
        ("coupon_expired", None),
        (None, "discounts[0][promotion_code]"),
        ("resource_missing", "discounts"),
    ],
)
def test_a_code_that_does_not_fit_the_order_is_refused_by_stripe(
    cast: Cast, codes: Codes, code: str | None, param: str | None
) -> None:
    codes.refuses = InvalidRequest("This promotion code cannot be redeemed.", code, param)
    answer = order(cast, "LAUNCH20")
    assert answer.status_code == 422
    assert "This promotion code does not fit this order" in answer.get_data(as_text=True)
    assert bundles() == ["failed"]


@pytest.mark.parametrize(
    ("code", "param"),
    [("resource_missing", "line_items[0][price]"), (None, "customer"), (None, None), ("url_invalid", "success_url")],
)
def test_what_else_stripe_refuses_is_not_blamed_on_the_code(
    cast: Cast, codes: Codes, code: str | None, param: str | None
) -> None:
    codes.refuses = InvalidRequest("No such price.", code, param)
    answer = order(cast, "LAUNCH20")
    assert answer.status_code == 502
    page = answer.get_data(as_text=True)
    assert "Stripe did not open a payment page" in page
    assert "promotion code" not in page
    assert bundles() == ["failed"]


def test_stripes_answer_names_the_parameter_at_fault(cast: Cast, stage: Stage) -> None:
    with pytest.raises(InvalidRequest) as refused:
        gateway().create_price({"currency": "usd", "unit_amount": -1, "product": "prod_1"}, "price-of-a-test")
    assert refused.value.param == "unit_amount"


def test_the_same_form_with_another_code_is_another_order(cast: Cast, codes: Codes) -> None:
    token = {"order": "ord_01JD0000000000000000000003"}
    codes.known["OTHER"] = True
    answers = [order(cast, code, **token).location for code in ("LAUNCH20", "OTHER", "LAUNCH20", "")]
    assert answers[0] == answers[2]
    assert len(set(answers)) == 3


def test_a_bundle_for_nothing_is_granted_like_any_other(cast: Cast, stage: Stage) -> None:
    """From the form to the grant with nobody in between: nothing is due, no card is asked for, the credits come."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    coupon = stage.stripe("POST", "/v1/coupons", percent_off="100", duration="once")
    promotion = {"promotion[type]": "coupon", "promotion[coupon]": coupon["id"]}
    stage.stripe("POST", "/v1/promotion_codes", code="WHOLE100", **promotion)
    answer = order(cast, "whole100")
    assert answer.status_code == 303
    assert stage.pay(str(answer.location)).status_code == 303
    stage.deliver_all()
    assert bundles() == ["complete"]
    row = db.session.execute(select(Checkout).where(Checkout.purpose == "bundle")).scalar_one()
    assert (row.payment_status, row.amount_total, row.payment_intent_stripe_id) == ("no_payment_required", 0, None)
    grants = select(CreditGrant.amount).where(CreditGrant.kind == "bundle")
    assert db.session.execute(grants).scalars().all() == [1_000]
    done = cast.owner.client.get(f"/teams/{cast.team_id}/checkout/{row.id}").get_data(as_text=True)
    assert "$0.00" in done


def bundles() -> list[str]:
    db.session.rollback()
    return list(db.session.execute(select(Checkout.state).where(Checkout.purpose == "bundle")).scalars())
