"""A product whose calls are metered, from its trial to its end: what is included is free, more is charged at the renewal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal import create_app
from portal.billing import metered_items
from portal.billing.catalog_sync import sync_catalog
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.gateway import Gateway, InvalidRequest, gateway
from portal.billing.jobs import check_subscriptions
from portal.billing.models import Invoice, SubscriptionItem
from portal.billing.subscriptions import live_subscription
from portal.catalog.current import catalog
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.core.times import day_words
from portal.core.unit_of_work import unit_of_work
from portal.settings import load_settings
from portal.usage import thresholds
from portal.usage.overage import Overage, overages
from tests import services
from tests.cast import Person
from tests.conftest import WORKER, FreshContextClient
from tests.metered import METER, again, answers_lost, at_stripe, let_drafts_wait, report, reports
from tests.purchases import make_buyer
from tests.stage import WEBHOOK_SECRET, Stage, serve_sandbox
from tests.web.api.backend import Backend, backend_of
from tests.web.usage.uses import words

pytestmark = pytest.mark.lifecycle

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TRIAL = timedelta(days=14)


@pytest.fixture
def stage(test_plan: services.Plan) -> Iterator[Stage]:
    """Pactwise, nobody in it yet; an invoice with use stays a draft for an hour, as at Stripe."""
    with services.database(test_plan, f"{WORKER}_preset") as urls, serve_sandbox() as stripe_url:
        environment = services.app_environment(urls, "none") | {
            "CATALOG": "pactwise",
            "STRIPE_API_BASE": stripe_url,
            "HOSTED_PAGE_ORIGINS": stripe_url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        app = create_app(load_settings(environment))
        app.config["WTF_CSRF_ENABLED"] = False
        app.test_client_class = FreshContextClient
        with app.app_context():
            sync_catalog(gateway(), catalog())
            made = Stage(app, stripe_url)
            let_drafts_wait(made, 3600)
            yield made
            services.close_connections()


def buyer(stage: Stage, plan: str, interval: str = "month") -> tuple[Person, str, Backend]:
    person, team_id = make_buyer(stage.app, "Harbor Legal")
    stage.subscribe(person, team_id, plan, interval)
    stage.deliver_all()
    return person, team_id, backend_of(stage.app, team_id, person)


def use(backend: Backend, quantity: int) -> None:
    answer = backend.use(METER, quantity)
    assert answer.status_code == 200, answer.get_data(as_text=True)


def pass_by(stage: Stage, by: timedelta) -> None:
    """Time goes by, with what Stripe tells and what the worker does: what was used is reported before, and after."""
    again(stage)
    stage.advance(by)
    stage.deliver_all()
    report()
    stage.advance(HOUR + timedelta(minutes=1))
    stage.deliver_all()


def end(stage: Stage, person: Person, team_id: str, when: str) -> str:
    """Cancel the plan, `now` or at its `period_end`; returns the page that was agreed to."""
    asked = person.client.post(f"/teams/{team_id}/plan/cancellation", data={"when": when})
    assert asked.status_code == 303, asked.get_data(as_text=True)
    agreed_to = person.client.get(asked.location).get_data(as_text=True)
    person.client.post(f"{asked.location}/agreement")
    stage.drain()
    stage.deliver_all()
    return str(agreed_to)


def invoices(stage: Stage) -> list[dict[str, Any]]:
    return list(stage.stripe("GET", "/v1/invoices", limit=100)["data"])


def the_overage(team_id: str) -> Overage:
    (found,) = overages(team_id)
    db.session.remove()
    return found


def subscription_of(stage: Stage) -> dict[str, Any]:
    return dict(stage.stripe("GET", "/v1/subscriptions", limit=1)["data"][0])


def would_be(stage: Stage) -> int:
    return int(stage.stripe("POST", "/v1/invoices/create_preview", subscription=subscription_of(stage)["id"])["total"])


def test_from_the_trial_over_an_overage_and_an_upgrade_to_the_end(stage: Stage) -> None:
    person, team_id, backend = buyer(stage, "starter")
    # The trial: 14 days, in which nothing is charged, however much is used; and nothing is refused.
    use(backend, 12_000)
    report()
    tried = the_overage(team_id)
    assert (tried.used, tried.over, tried.cents, tried.trial) == (12_000, 2_000, 0, True)
    assert told_of_included() == []
    assert "included are used" not in used_page(person, team_id), "in a trial nothing is charged on top"
    pass_by(stage, TRIAL)
    assert [invoice["total"] for invoice in invoices(stage)] == [4_900, 0]

    # A month with 12,345 calls: the 2,345 beyond what is included cost $1 for 1,000.
    use(backend, 10_000)
    assert the_overage(team_id).cents == 0
    stage.advance(10 * DAY)
    use(backend, 2_345)
    so_far = the_overage(team_id)
    assert (so_far.used, so_far.over, so_far.cents) == (12_345, 2_345, 235)
    report()
    page = person.client.get(f"/teams/{team_id}/invoices/next").get_data(as_text=True)
    assert "API calls: 10,000 of 10,000 included" in page
    assert "API calls beyond what is included: 2,345 at $1.00 USD for 1,000" in page
    told = " ".join(page.split())
    assert "12,345 used, 10,000 are included, 2,345 beyond that at $1.00 USD for 1,000" in told
    shown = would_be(stage)
    pass_by(stage, 21 * DAY)
    renewal = invoices(stage)[0]
    assert (renewal["status"], renewal["total"], shown) == ("paid", 4_900 + 235, 5_135)
    assert at_stripe(stage, team_id, days=60) == 24_345
    (row, *_) = person.client.get(f"/teams/{team_id}/invoices").get_data(as_text=True).split("Starter")
    assert "Tier" not in row

    # The next one: 15,000 calls, then an upgrade. The 5,000 are charged with it, and 100,000 are included from there.
    use(backend, 15_000)
    again(stage)
    stage.advance(timedelta(minutes=1))
    asked = person.client.post(f"/teams/{team_id}/plan/previews", data={"plan": "professional", "interval": "month"})
    assert asked.status_code == 303, asked.get_data(as_text=True)
    contract = person.client.get(asked.location).get_data(as_text=True)
    assert "API calls beyond what is included: 5,000 at $1.00 USD for 1,000" in contract
    assert "Tier" not in contract
    stage.advance(timedelta(seconds=5))  # what is used in the second of the preview still counts with the old plan
    use(backend, 30)
    agreed = person.client.post(f"{asked.location}/agreement")
    stage.drain()
    stage.deliver_all()
    assert "Professional" in person.client.get(agreed.location).get_data(as_text=True)
    upgrade = invoices(stage)[0]
    assert upgrade["status"] == "paid"
    assert 500 in [line["amount"] for line in upgrade["lines"]["data"]]
    items = {item["price"]["lookup_key"] for item in subscription_of(stage)["items"]["data"]}
    assert items == {"turnpike_plan_professional_month", "turnpike_metered_professional_api_calls"}
    stage.advance(DAY)
    use(backend, 101_000)
    after = the_overage(team_id)
    assert (after.used, after.over, after.cents) == (101_030, 1_030, 103), "with the 30 after the preview"
    pass_by(stage, 30 * DAY)
    assert (invoices(stage)[0]["status"], invoices(stage)[0]["total"]) == ("paid", 14_900 + 103)

    # The end of the plan bills what was used until then.
    use(backend, 102_000)
    stage.stripe("POST", f"/v1/subscriptions/{subscription_of(stage)['id']}", cancel_at_period_end="true")
    stage.deliver_all()
    pass_by(stage, 31 * DAY)
    last = invoices(stage)[0]
    assert (last["status"], last["total"]) == ("paid", 200)
    assert live_subscription(team_id) is None
    db.session.remove()
    assert overages(team_id) == []
    assert {one.state for one in reports(team_id)} == {"delivered"}
    assert not any(one.after_close for one in reports(team_id))


def test_beside_a_plan_by_the_year_more_is_charged_each_month(stage: Stage) -> None:
    person, team_id, backend = buyer(stage, "starter", "year")
    pass_by(stage, TRIAL)
    assert invoices(stage)[0]["total"] == 39_200
    yearly = subscription_of(stage)
    ends = {item["price"]["recurring"]["interval"]: item["current_period_end"] for item in yearly["items"]["data"]}
    assert ends["year"] - ends["month"] > 300 * 86_400
    use(backend, 13_000)
    assert the_overage(team_id).cents == 300
    pass_by(stage, 31 * DAY)
    monthly = invoices(stage)[0]
    assert (monthly["status"], monthly["total"]) == ("paid", 300)
    page = person.client.get(f"/teams/{team_id}/billing").get_data(as_text=True)
    assert "Tier" not in page
    assert the_overage(team_id).cents == 0
    # The plan is changed when its year is over, not when the month of its calls is.
    asked = person.client.post(f"/teams/{team_id}/plan/previews", data={"plan": "starter", "interval": "month"})
    assert asked.status_code == 303, asked.get_data(as_text=True)
    agreed = person.client.post(f"{asked.location}/agreement")
    stage.drain()
    stage.deliver_all()
    assert agreed.status_code == 303
    subscription = live_subscription(team_id)
    assert subscription is not None
    assert subscription.scheduled_at is not None
    assert int(subscription.scheduled_at.timestamp()) == ends["year"]
    db.session.remove()


def test_who_cancels_a_plan_by_the_year_keeps_all_that_was_paid_for(stage: Stage) -> None:
    """And not only the month of what is counted beside it, which ends first."""
    person, team_id, backend = buyer(stage, "starter", "year")
    pass_by(stage, TRIAL)
    ends = max(item["current_period_end"] for item in subscription_of(stage)["items"]["data"])
    end(stage, person, team_id, "period_end")
    assert subscription_of(stage)["cancel_at"] == ends
    subscription = live_subscription(team_id)
    assert subscription is not None
    assert subscription.cancel_at is not None
    assert int(subscription.cancel_at.timestamp()) == ends
    db.session.remove()
    use(backend, 13_000)
    pass_by(stage, 31 * DAY)
    assert (invoices(stage)[0]["total"], subscription_of(stage)["status"]) == (300, "active")
    pass_by(stage, 335 * DAY)
    assert live_subscription(team_id) is None
    assert [one["total"] for one in invoices(stage)].count(39_200) == 1
    db.session.remove()


def test_a_month_of_which_the_renewal_is_owed_bills_what_was_used_when_it_is_ended(stage: Stage) -> None:
    person, team_id, backend = buyer(stage, "starter")
    pass_by(stage, TRIAL)
    card = "pm_card_chargeCustomerFail"
    customer = subscription_of(stage)["customer"]
    method = stage.stripe("POST", f"/v1/payment_methods/{card}/attach", customer=customer)["id"]
    stage.stripe("POST", f"/v1/customers/{customer}", **{"invoice_settings[default_payment_method]": method})
    stage.deliver_all()
    pass_by(stage, 31 * DAY)
    assert subscription_of(stage)["status"] == "past_due"
    use(backend, 15_000)
    again(stage)
    stage.advance(HOUR)
    assert "API calls beyond what is included: 5,000 at $1.00 USD for 1,000" in end(stage, person, team_id, "now")
    last = invoices(stage)[0]
    assert (last["total"], last["amount_due"]) == (500, 500)
    assert live_subscription(team_id) is None
    db.session.remove()


def test_the_next_invoice_beside_a_plan_by_the_year_has_the_day_on_which_it_comes(stage: Stage) -> None:
    person, team_id, backend = buyer(stage, "starter", "year")
    pass_by(stage, TRIAL)
    items = subscription_of(stage)["items"]["data"]
    ends = {item["price"]["recurring"]["interval"]: item["current_period_end"] for item in items}
    month, year = (day_words(datetime.fromtimestamp(ends[one], UTC), "UTC") for one in ("month", "year"))
    use(backend, 13_000)
    report()
    coming = person.client.get(f"/teams/{team_id}/invoices/next", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert "API calls beyond what is included: 3,000" in coming
    assert month in coming
    assert year not in coming
    (card,) = re.findall(r'<section[^>]*id="plan-card".*?</section>', _overview(person, team_id), re.DOTALL)
    days = dict(re.findall(r"<dt>([^<]*)</dt>\s*<dd>\s*<time[^>]*>([^<]*)</time>", card))
    assert (days["Next invoice"], days["Renews"]) == (month, year)
    pass_by(stage, 31 * DAY)
    monthly = invoices(stage)[0]
    assert (monthly["created"], monthly["total"]) == (ends["month"], 300)


def _overview(person: Person, team_id: str) -> str:
    return person.client.get(f"/teams/{team_id}/billing").get_data(as_text=True)


def test_a_planned_downgrade_bills_the_last_period_at_the_old_price(stage: Stage) -> None:
    person, team_id, backend = buyer(stage, "professional")
    pass_by(stage, TRIAL)
    asked = person.client.post(f"/teams/{team_id}/plan/previews", data={"plan": "starter", "interval": "month"})
    person.client.post(f"{asked.location}/agreement")
    stage.drain()
    stage.deliver_all()
    stage.advance(20 * DAY)
    use(backend, 103_000)
    report()
    pass_by(stage, 11 * DAY)
    renewal = invoices(stage)[0]
    assert (renewal["status"], renewal["total"]) == ("paid", 4_900 + 300)
    use(backend, 11_000)
    assert the_overage(team_id).cents == 100


class TestItems:
    """Subscriptions have what their plan counts, when that was agreed to."""

    def test_one_that_was_sold_without_it_gets_it_and_pays_nothing_for_the_past(self, stage: Stage) -> None:
        _person, _team_id, backend = buyer(stage, "starter")
        pass_by(stage, TRIAL)
        use(backend, 20_000)
        report()
        stage.advance(HOUR)  # what is used in the very second of the change would count with it
        _take_item_away(stage)
        (missing,) = metered_items.missing()
        assert metered_items.add(gateway(), [missing]) == 1
        stage.deliver_all()
        assert metered_items.missing() == []
        assert metered_items.add(gateway(), [missing]) == 1, "asked for again it is the same"
        stage.advance(HOUR)
        use(backend, 11_000)
        pass_by(stage, 31 * DAY)
        assert invoices(stage)[0]["total"] == 4_900 + 100

    def test_who_subscribed_before_there_was_an_overage_is_left_alone(self, stage: Stage) -> None:
        _person, _team_id, _backend = buyer(stage, "starter")
        _take_item_away(stage)
        with_terms = "update prices set created_at = app_now() + interval '1 day' where meter_id is not null"
        db.session.connection().exec_driver_sql(with_terms)
        db.session.commit()
        assert metered_items.missing() == []
        runner = stage.app.test_cli_runner()
        told = runner.invoke(args=["catalog", "meter-existing", "starter"]).output.strip()
        assert told == subscription_of(stage)["id"]
        done = runner.invoke(args=["catalog", "meter-existing", "starter", "--yes"])
        assert "1 of 1" in done.output
        stage.deliver_all()
        assert "Nobody" in runner.invoke(args=["catalog", "meter-existing", "starter"]).output

    def test_the_nightly_look_finds_nothing_to_mend(self, stage: Stage) -> None:
        _person, team_id, _backend = buyer(stage, "professional", "year")
        assert check_subscriptions() == 0
        query = select(SubscriptionItem.quantity).where(SubscriptionItem.team_id == team_id)
        assert list(db.session.execute(query).scalars()) == [1, 1]
        db.session.remove()


def _take_item_away(stage: Stage) -> None:
    live = subscription_of(stage)
    item = next(one for one in live["items"]["data"] if "quantity" not in one)
    gone = {"items[0][id]": item["id"], "items[0][deleted]": "true", "proration_behavior": "none"}
    stage.stripe("POST", f"/v1/subscriptions/{live['id']}", **gone)
    stage.deliver_all()


def test_who_ends_at_once_with_the_rest_given_back_pays_what_was_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, team_id, backend = buyer(stage, "starter")
    pass_by(stage, TRIAL)
    use(backend, 15_000)
    again(stage)
    stage.advance(DAY)
    monkeypatch.setitem(stage.app.extensions, "catalog", replace(catalog(), cancel_now="prorate"))
    assert "API calls beyond what is included: 5,000 at $1.00 USD for 1,000" in end(stage, person, team_id, "now")
    used, back = invoices(stage)[:2]
    assert (used["total"], used["amount_due"]) == (500, 0)
    assert back["total"] < -4_000
    preview = db.session.execute(select(ChangePreview).order_by(ChangePreview.id.desc())).scalars().first()
    db.session.remove()
    assert preview is not None
    assert (preview.shown["total"], preview.amount_due) == (used["total"] + back["total"], 0)


def test_what_was_used_a_moment_ago_is_on_the_last_invoice_of_a_plan_that_is_ended_at_once(stage: Stage) -> None:
    """Also what was used since the preview, which says that it comes on top: nobody leaves with what the schedule has not
    reported yet.
    """
    person, team_id, backend = buyer(stage, "starter")
    pass_by(stage, TRIAL)
    use(backend, 15_000)
    again(stage)
    stage.advance(timedelta(minutes=1))
    use(backend, 20_000)
    asked = person.client.post(f"/teams/{team_id}/plan/cancellation", data={"when": "now"})
    page = person.client.get(asked.location).get_data(as_text=True)
    assert "API calls beyond what is included: 25,000 at $1.00 USD for 1,000" in page
    assert "What is used until you agree comes on top" in page
    use(backend, 10_000)
    agreed = person.client.post(f"{asked.location}/agreement")
    stage.drain()
    stage.deliver_all()
    assert live_subscription(team_id) is None
    assert invoices(stage)[0]["total"] == 3_500
    assert "Charged $35.00" in words(person, agreed.location)
    assert not db.session.execute(select(Alarm).where(Alarm.kind == "charge_differs")).all()
    db.session.remove()
    assert at_stripe(stage, team_id) == 45_000
    assert not any(one.after_close for one in reports(team_id))


def test_a_plan_is_not_ended_at_once_before_stripe_has_what_was_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, team_id, backend = buyer(stage, "starter")
    pass_by(stage, TRIAL)
    use(backend, 15_000)
    with answers_lost(monkeypatch, effect=True):
        end(stage, person, team_id, "now")
        assert live_subscription(team_id) is not None
        db.session.remove()
    stage.advance(timedelta(minutes=1))
    stage.drain()
    stage.deliver_all()
    assert live_subscription(team_id) is None
    assert (invoices(stage)[0]["total"], at_stripe(stage, team_id)) == (500, 15_000)
    db.session.remove()


def test_a_report_that_stripe_does_not_take_keeps_nobody_from_leaving(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ending at once is given up after an hour, and the plan can be canceled for the end of its period."""
    person, team_id, backend = buyer(stage, "starter")
    pass_by(stage, TRIAL)
    use(backend, 15_000)

    def refuse(_self: Gateway, _params: dict[str, Any], _key: str) -> None:
        raise InvalidRequest("There is no such meter.", "archived_meter")

    monkeypatch.setattr(Gateway, "report_usage", refuse)
    end(stage, person, team_id, "now")
    stage.advance(HOUR + timedelta(minutes=1))
    stage.drain()
    assert read_change(team_id).state == "stale"
    end(stage, person, team_id, "period_end")
    assert subscription_of(stage)["cancel_at"] is not None
    db.session.remove()


def read_change(team_id: str) -> PendingChange:
    query = select(PendingChange).where(PendingChange.team_id == team_id).order_by(PendingChange.created_at.desc())
    found = db.session.execute(query.limit(1), execution_options={"populate_existing": True}).scalar_one()
    db.session.remove()
    return found


def used_page(person: Person, team_id: str, query: str = "", of: str = "") -> str:
    return words(person, f"/teams/{team_id}/usage{of}?{query}")


def told_of_included() -> list[tuple[int, int]]:
    """What the worker tells now: the units that count, of those that are included."""
    with unit_of_work():
        found = thresholds.reached(10)
    for one in found:
        with unit_of_work():
            assert thresholds.tell_of_included(one) == 1
    return [(one.quantity, one.included) for one in found]


def told_by_api(backend: Backend, since: str, until: str) -> tuple[int, int | None, int | None]:
    """What the API tells of a time: what was used, what is included, and what is left of that."""
    found = backend.call("GET", "/usage", query_string={"since": since, "until": until}).get_json()["meters"]
    (meter,) = (one for one in found if one["meter"] == METER)
    return meter["quantity"], meter["included"], meter["remaining"]


def test_pages_and_notices_count_as_the_bill_does_after_a_change_of_plan(stage: Stage) -> None:
    """And a past month is judged by the plan that it had."""
    person, team_id, backend = buyer(stage, "starter")
    pass_by(stage, TRIAL)
    use(backend, 80_000)
    assert told_of_included() == [(80_000, 10_000)]
    assert "80,000 of 10,000 included" in used_page(person, team_id)
    again(stage)
    stage.advance(HOUR)
    asked = person.client.post(f"/teams/{team_id}/plan/previews", data={"plan": "professional", "interval": "month"})
    stage.advance(timedelta(seconds=5))
    person.client.post(f"{asked.location}/agreement")
    stage.drain()
    stage.deliver_all()
    page = used_page(person, team_id)
    assert "0 of 100,000 included" in page
    assert "80,000 before it were billed with it" in page
    assert told_of_included() == []
    assert the_overage(team_id).used == 0
    explained = used_page(person, team_id, "meter=api_calls", of="/explain")
    assert re.search(r"Billed with the change of plan .* -80,000 Counts against 100,000 included 0", explained)

    stage.advance(DAY)
    use(backend, 76_000)
    assert told_of_included() == [(76_000, 100_000)], "75 % of the new plan is told, though that of the old one was"
    assert told_of_included() == []
    assert "76,000 of 100,000 included" in used_page(person, team_id)
    told = {meter["meter"]: meter for meter in backend.call("GET", "/usage").get_json()["meters"]}[METER]
    assert (told["quantity"], told["included"], told["remaining"]) == (156_000, 100_000, 24_000)
    month = backend.call("GET", "/usage").get_json()
    stage.advance(5 * DAY)
    until = datetime.fromisoformat(month["since"]) + 3 * DAY
    assert told_by_api(backend, month["since"], until.isoformat()) == (156_000, 100_000, 24_000)
    use(backend, 1_000)
    assert told_by_api(backend, month["since"], until.isoformat()) == (156_000, 100_000, 23_000), "what is left now"
    asked = person.client.post(f"/teams/{team_id}/plan/previews", data={"plan": "starter", "interval": "month"})
    person.client.post(f"{asked.location}/agreement")
    stage.drain()
    stage.deliver_all()
    pass_by(stage, 31 * DAY)
    assert "77,000 of 100,000 included" in used_page(person, team_id, "period=last")
    assert told_by_api(backend, month["since"], month["until"]) == (157_000, 100_000, 23_000), "by the plan it had"
    assert "0 of 10,000 included" in used_page(person, team_id)


def test_what_was_charged_on_top_leads_to_the_days_it_was_used_on(stage: Stage) -> None:
    """So far, and on the invoice, whose line begins and ends within a day."""
    person, team_id, backend = buyer(stage, "starter")
    pass_by(stage, TRIAL)
    use(backend, 10_000)
    stage.advance(10 * DAY)
    use(backend, 2_345)
    counted = re.compile(r"All API calls \d+ 12,345 0")
    for page in ("usage", "invoices/next"):
        assert all(counted.search(days) for days in explained(person, f"/teams/{team_id}/{page}")), page
    pass_by(stage, 21 * DAY)
    use(backend, 500)
    renewal = db.session.execute(select(Invoice.id).order_by(Invoice.created_at.desc())).scalars().first()
    db.session.remove()
    of_lines = explained(person, f"/teams/{team_id}/invoices/{renewal}")
    assert len(of_lines) == 2
    assert all(counted.search(days) for days in of_lines)


def explained(person: Person, address: str) -> list[str]:
    """The pages that the page's figures of use are explained by, as words."""
    page = person.client.get(address).get_data(as_text=True)
    found = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]*/usage/explain[^"]*)"', page)]
    assert found, address
    return [words(person, link) for link in found if "meter=" in link]
