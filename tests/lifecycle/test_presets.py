"""Each preset is sold as its file says: plans are bought, rights and credits follow, each on a database of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal import create_app
from portal.billing.catalog_sync import sync_catalog
from portal.billing.entitlements import effective, limit_of
from portal.billing.gateway import gateway
from portal.billing.subscriptions import live_subscription
from portal.catalog.current import catalog
from portal.catalog.definition import FeatureValue, Plan
from portal.catalog.loader import load_catalog, preset_names
from portal.core.database import db
from portal.credits.models import CreditGrant
from portal.credits.queries import balance
from portal.settings import load_settings
from tests import services
from tests.conftest import WORKER, FreshContextClient
from tests.purchases import make_buyer, violations
from tests.stage import WEBHOOK_SECRET, Stage, serve_sandbox
from tests.web.api.backend import Backend, backend_of

PRESETS = {name: load_catalog(name) for name in preset_names()}


@pytest.fixture
def preset(request: pytest.FixtureRequest, test_plan: services.Plan) -> Iterator[Stage]:
    """A portal that sells the preset, with nobody in it yet."""
    with services.database(test_plan, f"{WORKER}_preset") as urls, serve_sandbox() as stripe_url:
        environment = services.app_environment(urls, "none") | {
            "CATALOG": request.param,
            "STRIPE_API_BASE": stripe_url,
            "HOSTED_PAGE_ORIGINS": stripe_url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        app = create_app(load_settings(environment))
        app.config["WTF_CSRF_ENABLED"] = False
        app.test_client_class = FreshContextClient
        with app.app_context():
            sync_catalog(gateway(), catalog())
            yield Stage(app, stripe_url)
            services.close_connections()


def on(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("preset", [name], indirect=True)


@pytest.mark.parametrize("preset", PRESETS, indirect=True)
def test_every_plan_is_shown_sold_and_gives_what_the_file_says(preset: Stage) -> None:
    page = preset.app.test_client().get("/pricing")
    assert page.status_code == 200
    for plan in catalog().plans:
        assert plan.name in page.get_data(as_text=True)
        person, team_id = make_buyer(preset.app, f"Team {plan.key}")
        if plan.kind == "paid":
            preset.subscribe(person, team_id, plan.key)
            preset.deliver_all()
            assert person.client.get(f"/teams/{team_id}/billing").status_code == 200
        if plan.kind != "custom":
            assert_given(team_id, plan)
    assert violations() == []


def assert_given(team_id: str, plan: Plan) -> None:
    rights = effective(team_id)
    assert rights.plan is not None
    assert (rights.plan.key, rights.access) == (plan.key, "full")
    assert rights.status == (None if plan.kind == "free" else "trialing" if plan.trial_days else "active")
    nothing = FeatureValue(enabled=False)
    for feature in rights.features:
        wanted = plan.features.get(feature.key, nothing)
        assert (feature.enabled, feature.limit) == (wanted.enabled, wanted.limit), feature.key
    assert {meter.key for meter in rights.meters} == {meter.key for meter in catalog().meters}
    if plan.kind == "paid":
        granted = list(db.session.execute(select(CreditGrant.amount).where(CreditGrant.team_id == team_id)).scalars())
        assert granted == ([plan.credits_monthly] if plan.credits_monthly else [])
    db.session.remove()


def buyer(preset: Stage, plan: str) -> tuple[Any, str, Backend]:
    person, team_id = make_buyer(preset.app, "Harbor Analytics")
    preset.subscribe(person, team_id, plan)
    preset.deliver_all()
    return person, team_id, backend_of(preset.app, team_id, person)


@on("localboxs")
def test_a_call_without_credits_is_402_until_a_topup_is_paid(preset: Stage) -> None:
    person, team_id, backend = buyer(preset, "pro")
    assert backend.use("api_call", 15_000).status_code == 200
    refused = backend.use("api_call", 1)
    assert refused.status_code == 402
    assert "/credits" in refused.get_json()["error"]["buy_url"]
    preset.buy_bundle(person, team_id, "topup_500")
    preset.deliver_all()
    assert backend.use("api_call", 500).status_code == 200
    assert backend.use("api_call", 1).status_code == 402
    charged = preset.stripe("GET", "/v1/payment_intents", limit=1)["data"][0]
    assert (charged["amount_received"], charged["currency"]) == (50, "usd")


@on("localboxs")
def test_a_month_of_free_calls_ends_and_a_topup_does_not(preset: Stage) -> None:
    person, team_id = make_buyer(preset.app, "Harbor Analytics")
    preset.drain()
    backend = backend_of(preset.app, team_id, person)
    assert backend.use("api_call", 101).status_code == 402
    assert backend.use("api_call", 60).get_json()["balance"] == 40
    preset.buy_bundle(person, team_id, "topup_500")
    preset.deliver_all()
    batch = [{"idempotency_key": f"call-{number}", "meter": "api_call", "quantity": 10} for number in range(6)]
    told = backend.call("POST", "/usage/batch", json={"uses": batch}).get_json()
    assert (told["recorded"], told["data"][-1]["usage"]["balance"]) == (6, 480)
    preset.advance(timedelta(days=32))
    preset.deliver_all()
    # What was left of the month was spent first; the next one is whole, and the top-up is as it was.
    assert balance(team_id).available == 480 + 100
    db.session.remove()
    assert backend.use("api_call", 580).status_code == 200
    assert backend.use("api_call", 1).status_code == 402
    assert violations() == []


@on("plg")
def test_tokens_are_bought_by_themselves_below_the_line_and_never_past_the_limit(preset: Stage) -> None:
    person, team_id, backend = buyer(preset, "tokens_10000")
    address = f"/teams/{team_id}/credits/auto-purchase"
    offered = re.search(r'value="(tokens_1000:[^"]*)"', person.client.get(address).get_data(as_text=True))
    assert offered
    asked = {
        "threshold": "1,000",
        "counts": "total",
        "bundle": offered[1],
        "day_count": "1",
        "day_money": "12",
        "month_count": "2",
        "month_money": "24",
        "agreed": "y",
    }
    turned_on = person.client.post(address, data=asked)
    assert turned_on.status_code == 303, turned_on.get_data(as_text=True)
    assert backend.use("generate_campaign", 1_800).status_code == 200
    preset.deliver_all()
    assert balance(team_id).available == 1_000  # not below it yet
    db.session.remove()
    assert backend.use("send_email", 1).get_json()["balance"] == 999
    preset.drain()
    preset.deliver_all()
    assert balance(team_id).available == 1_999
    db.session.remove()
    assert backend.use("generate_campaign", 300).get_json()["balance"] == 499
    preset.drain()
    preset.deliver_all()
    assert balance(team_id).available == 499, "one a day was agreed to"
    db.session.remove()
    refused = backend.use("generate_campaign", 100)
    assert refused.status_code == 402
    charged = preset.stripe("GET", "/v1/payment_intents", limit=10)["data"]
    assert [one["amount"] for one in charged if one["description"] == "Auto-purchase of 1,000 credits"] == [1_200]
    assert violations() == []


@on("plg")
def test_the_plans_tokens_go_first_and_bought_ones_stay(preset: Stage) -> None:
    person, team_id, backend = buyer(preset, "tokens_2000")
    preset.buy_bundle(person, team_id, "tokens_1000")
    preset.deliver_all()
    assert backend.use("generate_campaign", 390).get_json()["cost"] == 1_950
    query = select(CreditGrant.kind, CreditGrant.remaining).where(CreditGrant.team_id == team_id)
    assert dict(db.session.execute(query).all()) == {"subscription": 50, "bundle": 1_000}
    db.session.remove()
    assert backend.use("analyze_lead", 50).status_code == 200
    assert dict(db.session.execute(query).all()) == {"subscription": 0, "bundle": 950}
    db.session.remove()
    assert balance(team_id).available == 950


@on("pactwise")
def test_contracts_stay_readable_when_the_plan_is_over(preset: Stage) -> None:
    _person, team_id, backend = buyer(preset, "professional")
    assert limit_of(team_id, "data_retention") == 6
    subscription = live_subscription(team_id)
    assert subscription is not None
    assert (subscription.status, subscription.interval) == ("trialing", "month")
    db.session.remove()
    preset.stripe("DELETE", f"/v1/subscriptions/{subscription.stripe_id}")
    preset.deliver_all()
    found = backend.call("GET", "/entitlements").get_json()
    assert (found["plan"]["key"], found["access"], found["status"]) == ("professional", "read_only", None)
    assert found["features"]["data_retention"]["limit"] == 6


@on("pactwise")
def test_contracts_are_kept_longer_for_twenty_dollars_a_year_beside_a_plan_by_the_month(preset: Stage) -> None:
    person, team_id, backend = buyer(preset, "starter")
    preset.advance(timedelta(days=20))
    preset.deliver_all()
    asked = person.client.post(f"/teams/{team_id}/addons/previews", data={"addon": "data_retention", "quantity": "1"})
    assert asked.status_code == 303, asked.get_data(as_text=True)
    page = person.client.get(asked.location).get_data(as_text=True)
    assert "Add Longer data retention" in page
    assert "10 years" in page
    agreed = person.client.post(f"{asked.location}/agreement")
    preset.drain()
    preset.deliver_all()
    assert "Your team has Longer data retention now" in person.client.get(agreed.location).get_data(as_text=True)
    found = backend.call("GET", "/entitlements").get_json()["features"]["data_retention"]
    assert (found["limit"], found["source"]) == (10, "addon")
    items = preset.stripe("GET", "/v1/subscriptions", limit=1)["data"][0]["items"]["data"]
    assert sorted(item["price"]["recurring"]["interval"] for item in items) == ["month", "month", "year"]
    charged = preset.stripe("GET", "/v1/payment_intents", limit=1)["data"][0]["amount_received"]
    assert 1_900 < charged < 2_000  # six days of the year are over


@on("promptforge")
def test_eleven_switches_make_the_difference(preset: Stage) -> None:
    _person, _team_id, backend = buyer(preset, "enterprise")
    features = backend.call("GET", "/entitlements").get_json()["features"]
    assert len(features) == 11
    assert {feature["enabled"] for feature in features.values()} == {True}
    pilot, pro = (PRESETS["promptforge"].plan(key) for key in ("pilot", "pro"))
    assert pilot is not None
    assert pro is not None
    assert set(pilot.features) < set(pro.features) < set(features)
