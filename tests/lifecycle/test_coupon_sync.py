"""Coupons and promotion codes on their way to Stripe: once, again, and after every change that a file can have."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from portal.billing.coupon_sync import coupon_id, plan_coupons, sync_coupons
from portal.billing.gateway import InvalidRequest
from portal.catalog.definition import Catalog, Coupon, PromotionCode
from portal.catalog.loader import load_catalog
from portal.core import clock

LAUNCH = Coupon("launch", "Launch offer", 20, None, "once", None, ("plan:pro", "bundle:credits_1000"))
FIVE = Coupon("five", "Five off", None, 500, "repeating", 3, ())
CODE = PromotionCode("LAUNCH20", "launch", 100, None, first_time_only=True, minimum_cents=None)
FIVER = PromotionCode("FIVER", "five", None, None, first_time_only=False, minimum_cents=1_000)
FILE = replace(load_catalog("default"), coupons=(LAUNCH, FIVE), promotion_codes=(CODE, FIVER))


class Account:
    """What a Stripe account does with coupons and codes: ids are unique, and so are the names of active codes."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.made: dict[str, dict[str, Any]] = {}
        self.codes: list[dict[str, Any]] = []

    def _once(self, idempotency_key: str) -> None:
        """Stripe would answer a key that was used before with what it answered then."""
        assert idempotency_key not in self.keys
        self.keys.add(idempotency_key)

    def coupons(self) -> list[dict[str, Any]]:
        return deepcopy(list(self.made.values()))

    def create_coupon(self, params: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
        self._once(idempotency_key)
        assert {"percent_off", "amount_off"} & params.keys()
        if params["id"] in self.made:
            raise InvalidRequest("Coupon already exists.", "resource_already_exists")
        self.made[params["id"]] = dict(params)
        return params

    def rename_coupon(self, coupon_id: str, name: str, idempotency_key: str) -> dict[str, Any]:
        self._once(idempotency_key)
        self.made[coupon_id]["name"] = name
        return self.made[coupon_id]

    def promotion_codes(self) -> list[dict[str, Any]]:
        return deepcopy(self.codes)

    def create_promotion_code(self, params: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
        self._once(idempotency_key)
        if params["code"].upper() in {code["code"].upper() for code in self.codes if code["active"]}:
            raise InvalidRequest("An active promotion code with this code already exists.")
        assert params["promotion"]["coupon"] in self.made
        made = {
            "id": f"promo_{len(self.codes) + 1}", "active": True, "times_redeemed": 0, "max_redemptions": None,
            "expires_at": None, **params,
        }  # fmt: skip
        made["restrictions"] = {"minimum_amount": None, "minimum_amount_currency": None, **params["restrictions"]}
        self.codes.append(made)
        return made

    def switch_promotion_code(self, promotion_code_id: str, *, active: bool, idempotency_key: str) -> dict[str, Any]:
        self._once(idempotency_key)
        [code] = [code for code in self.codes if code["id"] == promotion_code_id]
        code["active"] = active
        return code

    def active(self) -> dict[str, str]:
        """The coupon of each code that works."""
        return {code["code"]: code["promotion"]["coupon"] for code in self.codes if code["active"]}


@pytest.fixture
def account(app: Flask) -> Account:
    """A Stripe that has what the file says."""
    account = Account()
    sync_coupons(account, FILE)
    return account


def with_coupon(**changes: Any) -> Catalog:
    return replace(FILE, coupons=(replace(LAUNCH, **changes), FIVE))


def with_code(**changes: Any) -> Catalog:
    return replace(FILE, promotion_codes=(replace(CODE, **changes), FIVER))


def words(account: Account, catalog: Catalog) -> list[str]:
    """What a run would do; then it is run, and a second one finds nothing to do."""
    told = [step.words for step in plan_coupons(account, catalog).steps]
    assert [step.words for step in sync_coupons(account, catalog).steps] == told
    assert plan_coupons(account, catalog).steps == []
    return told


def test_the_first_run_makes_all_and_the_second_nothing(account: Account) -> None:
    launch, five = coupon_id(LAUNCH, FILE), coupon_id(FIVE, FILE)
    assert account.active() == {"LAUNCH20": launch, "FIVER": five}
    assert account.made[launch]["percent_off"] == 20
    assert account.made[launch]["applies_to"] == {"products": ["turnpike_bundle_credits_1000", "turnpike_plan_pro"]}
    assert (account.made[five]["amount_off"], account.made[five]["currency"]) == (500, "usd")
    assert account.made[five]["duration_in_months"] == 3
    assert plan_coupons(account, FILE).steps == []


@pytest.mark.parametrize(
    "change",
    [{"percent_off": 30}, {"duration": "forever"}, {"applies_to": ()}, {"percent_off": None, "amount_off_cents": 5}],
)
def test_other_terms_are_another_coupon_and_the_code_moves_to_it(account: Account, change: dict[str, Any]) -> None:
    catalog = with_coupon(**change)
    told = words(account, catalog)
    assert [line.split(" (")[0] for line in told] == [
        "make coupon launch", "switch off promotion code LAUNCH20", "make promotion code LAUNCH20",
    ]  # fmt: skip
    old, new = coupon_id(LAUNCH, FILE), coupon_id(catalog.coupons[0], catalog)
    assert account.active()["LAUNCH20"] == new != old
    assert account.made[old]["percent_off"] == 20, "who has the old one keeps it"
    assert plan_coupons(account, catalog).left == [f"coupon {old}"]


def test_another_name_is_the_same_coupon(account: Account) -> None:
    assert words(account, with_coupon(name="Opening offer")) == ["rename coupon launch to Opening offer"]
    assert account.made[coupon_id(LAUNCH, FILE)]["name"] == "Opening offer"


def test_an_earlier_name_can_come_back_and_so_can_a_coupon_that_was_deleted(account: Account) -> None:
    """Each run asks under keys of its own: an old answer would say that it is done, and nothing would be."""
    for name in ("Opening offer", LAUNCH.name, "Opening offer"):
        assert words(account, with_coupon(name=name)) == [f"rename coupon launch to {name}"]
    del account.made[coupon_id(LAUNCH, FILE)]
    assert words(account, FILE)[0].startswith("make coupon launch")
    assert coupon_id(LAUNCH, FILE) in account.made


@pytest.mark.parametrize(
    "change",
    [
        {"max_redemptions": 5},
        {"expires_at": datetime(2090, 1, 1, tzinfo=UTC)},
        {"first_time_only": False},
        {"minimum_cents": 1},
    ],
)
def test_other_terms_of_a_code_make_it_anew(account: Account, change: dict[str, Any]) -> None:
    assert len(words(account, with_code(**change))) == 2
    assert [code["active"] for code in account.codes if code["code"] == "LAUNCH20"] == [False, True]


def test_a_code_that_left_the_file_is_switched_off_and_may_come_back(account: Account) -> None:
    without = replace(FILE, promotion_codes=(FIVER,))
    assert words(account, without) == ["switch off promotion code LAUNCH20 (promo_1)"]
    assert words(account, FILE) == ["switch on promotion code LAUNCH20 (promo_1)"]
    assert len(account.codes) == 2


def test_a_code_that_is_used_up_or_over_is_not_made_again(account: Account) -> None:
    account.codes[0] |= {"active": False, "times_redeemed": 100}
    assert words(account, FILE) == []
    soon = with_code(expires_at=clock.now() + timedelta(minutes=1))
    sync_coupons(account, soon)
    account.codes[-1] |= {"active": False, "expires_at": int(clock.now().timestamp()) - 1}
    past = with_code(expires_at=datetime.fromtimestamp(account.codes[-1]["expires_at"], UTC))
    assert words(account, past) == []


def test_a_code_whose_end_is_past_is_refused_in_words(account: Account) -> None:
    plan = sync_coupons(account, with_code(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert plan.problems == ["promotion code LAUNCH20: it would end before it begins; change expires_at"]


def test_a_code_of_somebody_else_is_left_alone_and_told(account: Account) -> None:
    account.codes[0]["metadata"] = {}
    account.codes[0]["code"] = "launch20"
    plan = sync_coupons(account, FILE)
    assert plan.steps == []
    assert plan.problems == ["promotion code LAUNCH20: Stripe has one that was not made here; switch it off"]
    assert account.codes[0]["active"]
    gone = sync_coupons(account, replace(FILE, promotion_codes=(FIVER,)))
    assert gone.steps == []
