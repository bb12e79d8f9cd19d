"""The catalog on its way to the database and to Stripe: once, again, cut off, at the same time, after changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from portal import create_app
from portal.billing.catalog_diff import diff_catalog
from portal.billing.catalog_sync import CatalogGateway, Report, sync_catalog
from portal.billing.gateway import Gateway, InFlight, InvalidRequest, Unavailable
from portal.billing.meter_terms import MeterTerms
from portal.catalog.addon_queries import addon_features, addon_for_stripe_price, addons_beside
from portal.catalog.definition import Catalog, Coupon, Included, PromotionCode
from portal.catalog.loader import load_catalog
from portal.catalog.metered_queries import metered_for_stripe_price, metered_prices_of
from portal.catalog.models import Price
from portal.catalog.queries import (
    bundles,
    current_plans,
    features_of,
    free_plan,
    included_of,
    meter_by_name,
    plan_by_key,
    plan_for_stripe_price,
    plan_prices_on_sale,
    portal_options,
    price_for,
)
from portal.catalog.sync import Changes, sync_database
from portal.core.database import db
from portal.core.unit_of_work import end_read, unit_of_work
from portal.settings import load_settings
from tests import services
from tests.conftest import WORKER, empty_tables, owner_engine
from tests.services import Plan as Servers
from tests.stage import serve_sandbox

DEFAULT = load_catalog("default")
PRICES = len(DEFAULT.prices())
PRODUCTS = 3 * 2 + 4 + 2 + 1

pytestmark = pytest.mark.lifecycle


CATALOG_TABLES = (
    "prices", "plan_features", "plan_meters", "plan_access", "addon_plans", "addon_features", "plans", "addons", "bundles",
    "features", "meters",
)  # fmt: skip


@pytest.fixture(scope="module")
def shop(test_plan: Servers) -> Iterator[Flask]:
    """A portal with a database of its own, since these stories change what is sold."""
    with services.database(test_plan, f"{WORKER}_catalog") as urls:
        app = create_app(load_settings(services.app_environment(urls, "none")))
        yield app
        with app.app_context():
            services.close_connections()
        owner_engine(urls.owner).dispose()


@pytest.fixture
def stripe_url() -> Iterator[str]:
    with serve_sandbox() as url:
        yield url


@pytest.fixture
def app(shop: Flask) -> Iterator[Flask]:
    """The portal with nothing in its catalog yet."""
    empty_tables(shop, *CATALOG_TABLES)
    with shop.app_context():
        yield shop
        db.session.remove()


@pytest.fixture
def gateway(app: Flask, stripe_url: str) -> Iterator[Gateway]:
    """To a Stripe where nothing is yet."""
    with gateway_to(app, stripe_url) as gateway:
        yield gateway


@contextmanager
def gateway_to(app: Flask, url: str) -> Iterator[Gateway]:
    """A gateway that lets go of its connections at the end: an open one would hold up the stand-in's."""
    gateway = Gateway(replace(app.config["SETTINGS"], stripe_api_base=url), seconds=20, retries=0)
    yield gateway
    connections = gateway._client._requestor._client
    assert connections is not None
    connections.close()


def changed_plan(key: str, catalog: Catalog = DEFAULT, **values: Any) -> Catalog:
    plans = tuple(replace(plan, **values) if plan.key == key else plan for plan in catalog.plans)
    return replace(catalog, plans=plans)


def without_plan(key: str) -> Catalog:
    addons = tuple(replace(one, plans=tuple(plan for plan in one.plans if plan != key)) for one in DEFAULT.addons)
    return replace(DEFAULT, plans=tuple(plan for plan in DEFAULT.plans if plan.key != key), addons=addons)


def write(catalog: Catalog) -> Changes:
    with unit_of_work():
        return sync_database(catalog)


def on_sale(gateway: CatalogGateway) -> dict[str, dict[str, Any]]:
    """What Stripe has under the catalog's lookup keys."""
    return {
        price["lookup_key"]: price for price in gateway.find_prices([price.lookup_key for price in DEFAULT.prices()])
    }


def all_at_stripe(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    return list(gateway._read(getattr(gateway._v1, kind).list, {"limit": 100})["data"])


def rows() -> list[Price]:
    return list(db.session.execute(select(Price).execution_options(populate_existing=True)).scalars())


def _amount(price: dict[str, Any]) -> int:
    """Of a metered price, what 1,000 units of the last tier cost."""
    if price["unit_amount"] is not None:
        return int(price["unit_amount"])
    return int(Decimal(price["tiers"][-1]["unit_amount_decimal"]) * 1000)


def both_agree(gateway: Gateway) -> None:
    """Every active row stands for the price that Stripe has under its lookup key, with the same amount."""
    active = {row.lookup_key: (row.stripe_price_id, row.unit_amount_cents) for row in rows() if row.active}
    end_read()
    assert active == {key: (price["id"], _amount(price)) for key, price in on_sale(gateway).items()}
    assert len(active) == PRICES


class TestFirstRun:
    def test_brings_everything_there_and_the_second_changes_nothing(self, gateway: Gateway) -> None:
        first = sync_catalog(gateway, DEFAULT)
        assert (len(first.created), first.adopted) == (PRICES, [])
        events = len(all_at_stripe(gateway, "events"))
        both_agree(gateway)
        end_read()
        assert sync_catalog(gateway, DEFAULT) == Report(Changes(), [], [])
        assert len(all_at_stripe(gateway, "events")) == events
        assert len(all_at_stripe(gateway, "products")) == PRODUCTS

    def test_says_what_each_price_is(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        found = on_sale(gateway)
        yearly, seat = found["turnpike_plan_pro_year"], found["turnpike_seat_pro_month"]
        assert (yearly["unit_amount"], yearly["recurring"]["interval"]) == (99_000, "year")
        assert yearly["product"] == "turnpike_plan_pro"
        assert yearly["metadata"] == {"plan": "pro", "purpose": "plan", "source": "turnpike"}
        assert (seat["unit_amount"], seat["product"]) == (1_200, "turnpike_seat_pro")
        bundle = found["turnpike_bundle_credits_500"]
        assert (bundle["unit_amount"], bundle["recurring"], bundle["metadata"]["bundle"]) == (
            1_000,
            None,
            "credits_500",
        )

    def test_leaves_free_and_custom_plans_at_home(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        products = {product["id"] for product in all_at_stripe(gateway, "products")}
        assert not {"turnpike_plan_free", "turnpike_plan_enterprise"} & products
        assert {plan.key for plan in current_plans() if plan.stripe_product_id} == {"starter", "pro", "business"}


class TestChanges:
    def test_a_new_amount_is_a_new_price_and_the_old_one_stays(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        old = price_for("pro", "month")
        end_read()
        report = sync_catalog(gateway, changed_plan("pro", monthly_cents=10_900))
        assert report.created == ["turnpike_plan_pro_month"]
        new = price_for("pro", "month")
        assert old is not None
        assert new is not None
        assert (new.unit_amount_cents, new.trial_days) == (10_900, 14)
        kept = plan_for_stripe_price(old.stripe_price_id or "")
        assert kept is not None
        assert (kept.plan_key, kept.unit_amount_cents, kept.active) == ("pro", 9_900, False)
        end_read()
        both_agree(gateway)

    def test_and_the_way_back_is_a_third(self, gateway: Gateway) -> None:
        for cents in (9_900, 10_900, 9_900):
            sync_catalog(gateway, changed_plan("pro", monthly_cents=cents))
        mine = [row for row in rows() if row.lookup_key == "turnpike_plan_pro_month"]
        assert sorted((row.unit_amount_cents, row.active) for row in mine) == [
            (9_900, False),
            (9_900, True),
            (10_900, False),
        ]
        end_read()
        both_agree(gateway)

    def test_a_change_that_stripe_never_heard_of_is_harmless(self, gateway: Gateway) -> None:
        """29 → 35 in the database alone and back again: the price that a retired row stands for is not taken twice."""
        sync_catalog(gateway, DEFAULT)
        write(changed_plan("pro", monthly_cents=10_900))
        write(DEFAULT)
        report = sync_catalog(gateway, DEFAULT)
        assert report.created == ["turnpike_plan_pro_month"]
        both_agree(gateway)

    def test_a_plan_that_left_is_archived_and_may_come_back(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        changes = sync_catalog(gateway, without_plan("starter")).database
        assert "plan starter" in changes.archived
        gone = plan_by_key("starter")
        assert gone is not None
        assert gone.archived_at is not None
        assert price_for("starter", "month") is None
        assert "starter" not in {plan.key for plan in current_plans()}
        end_read()
        sync_catalog(gateway, DEFAULT)
        assert price_for("starter", "month") is not None
        end_read()
        both_agree(gateway)

    def test_a_new_name_reaches_the_product_and_makes_no_price(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        report = sync_catalog(gateway, changed_plan("pro", name="Professional"))
        assert (report.created, report.database.changed) == ([], ["plan pro"])
        names = {product["id"]: product["name"] for product in all_at_stripe(gateway, "products")}
        assert names["turnpike_plan_pro"] == "Professional"
        assert names["turnpike_seat_pro"] == "Professional, further seat"

    @pytest.mark.usefixtures("app")
    def test_another_plan_becomes_the_free_one(self) -> None:
        write(DEFAULT)
        nothing: dict[str, Any] = dict.fromkeys(
            ("monthly_cents", "yearly_cents", "seat_monthly_cents", "seat_yearly_cents"), 0
        )
        swapped = changed_plan("starter", kind="free", trial_days=0, **nothing)
        swapped = changed_plan("free", swapped, kind="paid", monthly_cents=500, yearly_cents=None)
        write(swapped)
        found = free_plan()
        assert found is not None
        assert found.key == "starter"

    @pytest.mark.usefixtures("app")
    def test_contents_of_a_plan_follow_the_file(self) -> None:
        write(DEFAULT)
        pro = DEFAULT.plan("pro")
        assert pro is not None
        fewer = {key: value for key, value in pro.features.items() if key != "bundles"}
        assert write(changed_plan("pro", features=fewer, meters={})).changed == ["contents of plan pro"]
        assert "bundles" not in features_of("pro")
        assert included_of("pro") == {}
        assert write(changed_plan("pro", features=fewer, meters={})) == Changes()

    def test_add_ons_follow_the_file_and_who_has_one_that_left_keeps_it(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        made = on_sale(gateway)["turnpike_addon_audit_log_month"]
        assert (made["unit_amount"], made["product"]) == (1_900, "turnpike_addon_audit_log")
        assert made["metadata"] == {"addon": "audit_log", "purpose": "addon", "source": "turnpike"}
        assert [one.addon_key for one in addons_beside("pro", "month")] == ["audit_log", "longer_history"]
        assert [one.interval for one in addons_beside("pro", "month")] == ["month", "year"]
        assert [one.interval for one in addons_beside("pro", "year")] == ["year", "year"]
        assert [one.addon_key for one in addons_beside("business", "month")] == ["longer_history"]
        end_read()
        audit, history = DEFAULT.addons
        more = replace(audit, plans=("starter", "pro"), features=history.features)
        assert write(replace(DEFAULT, addons=(more,))) == Changes(
            changed=["contents of addon audit_log"],
            archived=["addon longer_history", "price turnpike_addon_longer_history_year"],
        )
        assert [one.addon_key for one in addons_beside("starter", "month")] == ["audit_log"]
        assert [(feature.key, limit) for feature, limit in addon_features("audit_log")] == [("usage_history", 365)]
        assert [(feature.key, limit) for feature, limit in addon_features("longer_history")] == [("usage_history", 365)]
        end_read()
        kept = addon_for_stripe_price(on_sale(gateway)["turnpike_addon_longer_history_year"]["id"])
        assert kept is not None
        assert (kept.addon_key, kept.unit_amount_cents) == ("longer_history", 6_000)
        end_read()
        assert write(DEFAULT).changed == ["addon longer_history", "contents of addon audit_log"]


class TestMeters:
    """What plans include of a meter, and what more of it costs, is at Stripe as it is in the file."""

    def test_a_plan_with_an_overage_has_a_metered_price_in_tiers(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        (meter,) = gateway.active_meters()
        assert (meter["event_name"], meter["display_name"]) == ("turnpike_api_calls", "API calls")
        assert meter["default_aggregation"] == {"formula": "sum"}
        assert meter["customer_mapping"] == {"type": "by_id", "event_payload_key": "stripe_customer_id"}
        prices = {
            key: (
                price["product"],
                price["recurring"]["interval"],
                price["recurring"]["meter"],
                [(tier["up_to"], tier["unit_amount_decimal"]) for tier in price["tiers"]],
            )
            for key, price in on_sale(gateway).items()
            if price["recurring"] and price["recurring"]["usage_type"] == "metered"
        }
        product = "turnpike_meter_api_calls"
        assert prices == {
            f"turnpike_metered_{plan}_api_calls": (
                product, "month", meter["id"], [(included, "0"), (None, unit)],
            )
            for plan, included, unit in (("starter", 20_000, "0.15"), ("pro", 100_000, "0.1"), ("business", 500_000, "0.08"))
        }  # fmt: skip
        (pro,) = metered_prices_of("pro")
        assert (pro.included, pro.overage_per_1000_cents, pro.meter_name) == (100_000, 100, "API calls")
        end_read()

    def test_nothing_included_is_one_tier(self, gateway: Gateway) -> None:
        sync_catalog(gateway, changed_plan("pro", meters={"api_calls": Included(0, 7)}))
        made = on_sale(gateway)["turnpike_metered_pro_api_calls"]
        assert [(tier["up_to"], tier["unit_amount_decimal"]) for tier in made["tiers"]] == [(None, "0.007")]
        assert sync_catalog(gateway, changed_plan("pro", meters={"api_calls": Included(0, 7)})).created == []

    def test_other_terms_are_another_price_and_the_old_one_stays_for_who_has_it(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        before = on_sale(gateway)["turnpike_metered_pro_api_calls"]["id"]
        more = changed_plan("pro", meters={"api_calls": Included(150_000, 100)})
        assert sync_catalog(gateway, more).created == ["turnpike_metered_pro_api_calls"]
        both_agree(gateway)
        kept = metered_for_stripe_price(before)
        assert kept is not None
        assert (kept.plan_key, kept.included) == ("pro", 100_000)
        assert [price.included for price in metered_prices_of("pro")] == [150_000]
        end_read()
        none = changed_plan("pro", meters={"api_calls": Included(150_000)})
        assert sync_catalog(gateway, none).database.archived == ["price turnpike_metered_pro_api_calls"]
        assert metered_prices_of("pro") == []
        end_read()

    def test_a_meter_that_got_another_name_is_renamed(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        renamed = tuple(replace(one, name="Calls") if one.key == "api_calls" else one for one in DEFAULT.meters)
        assert sync_catalog(gateway, replace(DEFAULT, meters=renamed)).created == []
        assert [meter["display_name"] for meter in gateway.active_meters()] == ["Calls"]
        assert gateway.ensure_product("turnpike_meter_api_calls", "Calls", {})["name"] == "Calls"

    def test_a_meter_of_ours_that_counts_in_another_way_is_not_used(self, gateway: Gateway) -> None:
        counting = {"display_name": "API calls", "event_name": "turnpike_api_calls"}
        gateway._v1.billing.meters.create(counting | {"default_aggregation": {"formula": "count"}})  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="counts in another way"):
            sync_catalog(gateway, DEFAULT)
        problems = diff_catalog(gateway, DEFAULT).problems
        assert any("counts in another way" in problem for problem in problems)

    def test_the_difference_is_told_before_it_is_made(self, gateway: Gateway) -> None:
        told = diff_catalog(gateway, DEFAULT).stripe
        assert "make meter turnpike_api_calls" in told
        assert "make price turnpike_metered_pro_api_calls" in told
        sync_catalog(gateway, DEFAULT)
        assert [words for words in diff_catalog(gateway, DEFAULT).stripe if "meter" in words] == []


class TestTroubles:
    """Whatever goes wrong, the next run ends with exactly the prices there should be."""

    @pytest.mark.parametrize("lost_after", [0, 1, 7, PRICES - 1])
    @pytest.mark.parametrize("effect", [True, False], ids=["answer lost", "never arrived"])
    def test_a_call_without_an_answer(self, gateway: Gateway, lost_after: int, *, effect: bool) -> None:
        with pytest.raises(Unavailable):
            sync_catalog(Losing(gateway, lost_after, Unavailable("no answer"), effect=effect), DEFAULT)
        report = sync_catalog(gateway, DEFAULT)
        assert len(report.adopted) == int(effect)
        both_agree(gateway)
        assert len(all_at_stripe(gateway, "prices")) == PRICES

    @pytest.mark.parametrize("effect", [True, False], ids=["after the call", "before the call"])
    def test_a_process_that_is_killed(self, gateway: Gateway, *, effect: bool) -> None:
        with pytest.raises(KeyboardInterrupt):
            sync_catalog(Losing(gateway, 3, KeyboardInterrupt(), effect=effect), DEFAULT)
        sync_catalog(gateway, DEFAULT)
        both_agree(gateway)
        assert len(all_at_stripe(gateway, "prices")) == PRICES

    def test_a_failure_that_stripe_has_stored_is_not_asked_for_again(self, gateway: Gateway) -> None:
        """Stripe answers a key that met a 500 with that 500 for a day."""
        keys: list[str] = []
        for _ in range(2):
            losing = Losing(gateway, 0, Unavailable("stored"), effect=False)
            with pytest.raises(Unavailable):
                sync_catalog(losing, DEFAULT)
            keys += losing.keys
        assert len(set(keys)) == 2

    def test_a_killed_run_is_repeated_under_the_same_key(self, gateway: Gateway) -> None:
        killed = Losing(gateway, 0, KeyboardInterrupt(), effect=False)
        with pytest.raises(KeyboardInterrupt):
            sync_catalog(killed, DEFAULT)
        again = Losing(gateway, PRICES, KeyboardInterrupt(), effect=False)
        sync_catalog(again, DEFAULT)
        assert again.keys[0] == killed.keys[0]

    def test_another_stripe_account(self, app: Flask, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        before = {row.id: row.stripe_price_id for row in rows()}
        end_read()
        with serve_sandbox() as url, gateway_to(app, url) as other:
            assert len(sync_catalog(other, DEFAULT).created) == PRICES
            both_agree(other)
            end_read()
            assert sync_catalog(other, DEFAULT) == Report(Changes(), [], [])
        after = {row.id: (row.stripe_price_id, row.active) for row in rows()}
        assert all(after[row_id] == (stripe_id, False) for row_id, stripe_id in before.items())

    def test_a_price_that_was_archived_at_stripe(self, gateway: Gateway) -> None:
        sync_catalog(gateway, DEFAULT)
        price = price_for("pro", "month")
        end_read()
        assert price is not None
        gateway._change(gateway._v1.prices.update, "by-hand", price.stripe_price_id, {"active": False})
        assert sync_catalog(gateway, DEFAULT).created == ["turnpike_plan_pro_month"]
        both_agree(gateway)

    def test_a_price_that_stripe_had_before_us_is_taken(self, gateway: Gateway) -> None:
        theirs = gateway.create_price(
            {
                "product_data": {"name": "Pro"},
                "currency": "usd",
                "unit_amount": 9_900,
                "recurring": {"interval": "month"},
                "lookup_key": "pro-monthly",
            },
            "theirs",
        )
        report = sync_catalog(gateway, changed_plan("pro", lookup_keys={"month": "pro-monthly"}))
        assert report.adopted == ["pro-monthly"]
        found = plan_for_stripe_price(theirs["id"])
        assert found is not None
        assert found.plan_key == "pro"

    @pytest.mark.parametrize("wrong", [{"unit_amount": 1}, {"recurring": {"interval": "year"}}, {"currency": "eur"}])
    def test_one_of_other_terms_is_not(self, gateway: Gateway, wrong: dict[str, Any]) -> None:
        terms = {"currency": "usd", "unit_amount": 9_900, "recurring": {"interval": "month"}} | wrong
        gateway.create_price(
            {"product_data": {"name": "Pro"}, "lookup_key": "turnpike_plan_pro_month", **terms}, "theirs"
        )
        assert len(sync_catalog(gateway, DEFAULT).created) == PRICES
        both_agree(gateway)


class TestAtTheSameTime:
    @pytest.mark.parametrize("start", [lambda _: None, lambda gateway: sync_catalog(gateway, DEFAULT)])
    def test_runs_do_no_harm(self, app: Flask, gateway: Gateway, start: Callable[[Gateway], object]) -> None:
        start(gateway)
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(lambda _: _run(app, gateway, changed_plan("pro", monthly_cents=10_900)), range(4)))
        assert None in outcomes
        assert all(outcome is None or isinstance(outcome, InFlight) for outcome in outcomes), outcomes
        sync_catalog(gateway, changed_plan("pro", monthly_cents=10_900))
        both_agree(gateway)
        assert len(rows()) == PRICES + (start(gateway) is not None)


def _run(app: Flask, gateway: Gateway, catalog: Catalog) -> Exception | None:
    with app.app_context():
        try:
            sync_catalog(gateway, catalog)
        except InFlight as error:
            return error
        finally:
            db.session.remove()
    return None


class Losing:
    """A gateway that raises `error` at one price, after `lost_after` good ones, with or without the call's effect."""

    def __init__(self, inner: Gateway, lost_after: int, error: BaseException, *, effect: bool) -> None:
        self.inner, self.left, self.error, self.effect = inner, lost_after, error, effect
        self.keys: list[str] = []

    def find_prices(self, lookup_keys: list[str]) -> list[dict[str, Any]]:
        return self.inner.find_prices(lookup_keys)

    def ensure_product(self, product_id: str, name: str, metadata: dict[str, str]) -> dict[str, Any]:
        return self.inner.ensure_product(product_id, name, metadata)

    def ensure_meter(self, meter: MeterTerms) -> dict[str, Any]:
        return self.inner.ensure_meter(meter)

    def create_price(self, params: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
        self.keys.append(idempotency_key)
        self.left -= 1
        if self.left >= 0 or self.effect:
            made = self.inner.create_price(params, idempotency_key)
        if self.left < 0:
            raise self.error
        return made


class TestPriceRows:
    @pytest.mark.usefixtures("app")
    @pytest.mark.parametrize(
        "change",
        [
            "unit_amount_cents = 1",
            "currency = 'eur'",
            "interval = 'month'",
            "lookup_key = 'x'",
            "stripe_price_id = 'x'",
        ],
    )
    def test_what_a_price_says_is_fixed(self, change: str) -> None:
        write(DEFAULT)
        statement = "update prices set {} where lookup_key = 'turnpike_plan_pro_year'"
        with unit_of_work() as session:
            session.execute(text(statement.format("stripe_price_id = 'price_1', attempts = 1, active = false")))
        with pytest.raises(IntegrityError, match="is fixed"), unit_of_work() as session:
            session.execute(text(statement.format(change)))

    @pytest.mark.usefixtures("app")
    def test_there_is_one_active_price_of_a_kind(self) -> None:
        write(DEFAULT)
        first = next(row for row in rows() if row.purpose == "plan")
        with pytest.raises(IntegrityError, match="uq_prices_one_of_plan"), unit_of_work() as session:
            session.add(
                Price(
                    purpose="plan",
                    plan_id=first.plan_id,
                    interval=first.interval,
                    unit_amount_cents=1,
                    currency="usd",
                    lookup_key="another",
                )
            )


class TestQueries:
    @pytest.mark.usefixtures("app")
    def test_unknown_and_odd_names_find_nothing(self) -> None:
        write(DEFAULT)
        for name in ("", "nothing", "\x00", "pro\x00", "é" * 5_000):
            assert plan_by_key(name) is None
            assert meter_by_name(name) is None
            assert price_for(name, "month") is None
            assert price_for("pro", name) is None
            assert features_of(name) == {}
            assert included_of(name) == {}
            assert plan_for_stripe_price(name) is None

    def test_only_what_stripe_knows_is_on_sale(self, gateway: Gateway) -> None:
        write(DEFAULT)
        assert plan_prices_on_sale() == []
        end_read()
        sync_catalog(gateway, DEFAULT)
        assert len(plan_prices_on_sale()) == 6

    @pytest.mark.usefixtures("app")
    def test_what_the_default_catalog_answers(self) -> None:
        write(DEFAULT)
        assert [plan.key for plan in current_plans()] == ["free", "starter", "pro", "business", "enterprise"]
        assert [(bundle.credits, price.unit_amount_cents) for bundle, price in bundles()] == [
            (500, 1_000),
            (1_000, 1_800),
            (5_000, 8_000),
            (10_000, 15_000),
        ]
        meter = meter_by_name("generate_campaign")
        assert meter is not None
        assert (meter.mode, meter.cost_credits) == ("credits", 5)
        seat = price_for("pro", "year", "seat")
        assert seat is not None
        assert (seat.unit_amount_cents, seat.purpose) == (14_400, "seat")
        assert price_for("free", "month") is None
        assert price_for("enterprise", "month") is None
        included = included_of("starter")["api_calls"]
        assert (included.included, included.overage_per_1000_cents) == (20_000, 150)
        history = features_of("pro")["usage_history"]
        assert (history.enabled, history.limit_value, history.text) == (True, 365, "12 months")
        assert features_of("enterprise")["usage_history"].limit_value is None
        assert portal_options().name == "Fernway"


class TestCommands:
    def test_sync(self, app: Flask, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("portal.cli.catalog.gateway", lambda: gateway)
        run = app.test_cli_runner()
        first = run.invoke(args=["catalog", "sync"])
        assert first.exit_code == 0, first.output
        assert "made at Stripe: turnpike_plan_pro_month" in first.output
        second = run.invoke(args=["catalog", "sync"])
        assert second.output == "Database and Stripe are up to date.\n"

    def test_sync_of_the_database_alone(self, app: Flask) -> None:
        run = app.test_cli_runner()
        assert "added: plan pro" in run.invoke(args=["catalog", "sync", "--database-only"]).output
        assert run.invoke(args=["catalog", "sync", "--database-only"]).output == "The database is up to date.\n"
        assert {row.stripe_price_id for row in rows()} == {None}

    def test_diff_tells_what_a_sync_would_do_and_does_nothing(
        self, app: Flask, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("portal.cli.catalog.gateway", lambda: gateway)
        run = app.test_cli_runner()
        first = run.invoke(args=["catalog", "diff"])
        assert first.exit_code == 1
        for line in ("database: added: plan pro", "Stripe: make price turnpike_plan_pro_month",
                     "Stripe: make product turnpike_plan_pro"):  # fmt: skip
            assert line in first.output.splitlines()
        assert rows() == []
        end_read()
        assert all_at_stripe(gateway, "products") == all_at_stripe(gateway, "prices") == []

        run.invoke(args=["catalog", "sync"])
        same = run.invoke(args=["catalog", "diff"])
        assert (same.exit_code, same.output) == (0, "Database and Stripe are up to date.\n")

    def test_diff_names_what_changed_and_what_only_stripe_has(
        self, app: Flask, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("portal.cli.catalog.gateway", lambda: gateway)
        run = app.test_cli_runner()
        assert run.invoke(args=["catalog", "sync"]).exit_code == 0
        old = on_sale(gateway)["turnpike_plan_pro_month"]["id"]
        dearer = changed_plan("pro", monthly_cents=10_900, name="Pro 2")
        monkeypatch.setattr("portal.cli.catalog.catalog", lambda: dearer)
        told = run.invoke(args=["catalog", "diff"]).output.splitlines()
        assert told == [
            "database: added: price turnpike_plan_pro_month",
            "database: changed: plan pro",
            "database: archived: price turnpike_plan_pro_month",
            "Stripe: rename product turnpike_plan_pro to Pro 2",
            "Stripe: rename product turnpike_seat_pro to Pro 2, further seat",
            "Stripe: make price turnpike_plan_pro_month",
            f"at Stripe only, for those who have it: price {old} (turnpike_plan_pro_month)",
        ]
        sync_catalog(gateway, dearer)
        after = run.invoke(args=["catalog", "diff"])
        assert after.exit_code == 0, after.output
        assert after.output == f"at Stripe only, for those who have it: price {old}\n"

    def test_coupons_and_codes_follow_the_file_at_stripe(
        self, app: Flask, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Made, made anew when the discount changes, and switched off when the last of them has left the file."""
        monkeypatch.setattr("portal.cli.catalog.gateway", lambda: gateway)
        run = app.test_cli_runner()

        def sync(coupons: tuple[Coupon, ...], codes: tuple[PromotionCode, ...]) -> dict[str, Any]:
            file = replace(DEFAULT, coupons=coupons, promotion_codes=codes)
            monkeypatch.setattr("portal.cli.catalog.catalog", lambda: file)
            assert run.invoke(args=["catalog", "sync"]).exit_code == 0
            after = run.invoke(args=["catalog", "diff"])
            assert after.exit_code == 0, after.output
            coupons_made = {coupon["id"]: coupon["percent_off"] for coupon in gateway.coupons()}
            return {
                code["code"]: coupons_made[code["promotion"]["coupon"]]
                for code in gateway.promotion_codes()
                if code["active"]
            }

        offer = Coupon("offer", "An offer", 20, None, "once", None, ("plan:pro",))
        code = PromotionCode("OFFER", "offer", 5, None, first_time_only=True, minimum_cents=100)
        assert sync((offer,), (code,)) == {"OFFER": 20}
        assert sync((replace(offer, percent_off=30),), (code,)) == {"OFFER": 30}
        assert sync((), ()) == {}
        assert sync((offer,), (code,)) == {"OFFER": 20}

    def test_sync_without_stripe_says_so(self, app: Flask) -> None:
        done = app.test_cli_runner().invoke(args=["catalog", "sync"])
        assert done.exit_code == 1
        assert "run this again to go on" in done.output

    def test_check(self, app: Flask, tmp_path: Path) -> None:
        run = app.test_cli_runner()
        good = run.invoke(args=["catalog", "check"])
        assert (good.exit_code, good.output.splitlines()[0]) == (0, "default.toml: Fernway, in USD")
        assert "$99.00 a month, $990.00 a year, 14 days of trial, 5,000 credits a month" in good.output
        path = tmp_path / "mine.toml"
        path.write_text("[portal]\nname = 1\n[billing]\ncurrency = 'zzz'\n")
        bad = run.invoke(args=["catalog", "check", str(path)])
        assert bad.exit_code == 1
        assert "mine.toml: portal.name: must be a text" in bad.output
        assert "mine.toml: billing.currency" in bad.output
