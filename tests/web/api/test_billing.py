"""Reading the plan, the rights and the invoices: of the key's team, as the mirror has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from portal.accounts.models import Team
from portal.billing.models import Customer, Invoice, Subscription
from portal.catalog.queries import price_for
from portal.core import clock
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from tests.web.api.backend import Backend, error_of

START = datetime(2026, 11, 4, 9, 30, tzinfo=UTC)
END = datetime(2026, 12, 4, 9, 30, tzinfo=UTC)


def subscribe(backend: Backend, plan: str = "business", **values: Any) -> None:
    """A subscription as the mirror has it, paid by the month."""
    with backend.app.app_context(), unit_of_work() as session:
        price = price_for(plan, "month")
        assert price is not None
        row = {
            "id": new_id("subn"), "stripe_id": new_id("sub"), "gen": 1, "synced_at": clock.now(),
            "team_id": backend.team_id, "status": "active", "plan_key": plan, "price_id": price.price_id,
            "interval": "month", "unit_amount": price.unit_amount_cents, "currency": "usd", "started_at": START,
            "current_period_start": START, "current_period_end": END,
        }  # fmt: skip
        session.add(Subscription(**(row | values)))


def bill(backend: Backend, number: int, **values: Any) -> str:
    """An invoice of the team's as the mirror has it; returns its id."""
    with backend.app.app_context(), unit_of_work() as session:
        row = {
            "id": new_id("inv"), "stripe_id": new_id("in"), "gen": 1, "synced_at": clock.now(),
            "team_id": backend.team_id, "number": f"HARBOR-{number:04}", "status": "paid", "currency": "usd",
            "total": 100 * number, "amount_due": 100 * number, "amount_paid": 100 * number, "description": "Business",
            "lines": [], "created_at": START + timedelta(days=number),
        }  # fmt: skip
        session.add(Invoice(**(row | values)))
        return str((row | values)["id"])


def read(backend: Backend, path: str, **more: Any) -> dict[str, Any]:
    answer = backend.call("GET", path, **more)
    assert answer.status_code == 200
    return dict(answer.get_json())


def test_a_team_without_a_plan_has_the_free_one(backend: Backend) -> None:
    found = read(backend, "/billing")
    assert found["plan"] == {"object": "plan", "key": "free", "name": "Free"}
    assert found["subscription"] is None
    assert found["invoices"] == []
    assert found["credits"]["available"] == 100


def test_the_billing_of_a_subscribed_team(backend: Backend) -> None:
    subscribe(backend, cancel_at=END)
    for number in range(1, 8):
        bill(backend, number)
    bill(backend, 9, status="draft")
    found = read(backend, "/billing")
    assert found["plan"]["key"] == "business"
    assert {name: found["subscription"][name] for name in ("status", "interval", "currency", "cancel_at")} == {
        "status": "active",
        "interval": "month",
        "currency": "usd",
        "cancel_at": "2026-12-04T09:30:00.000Z",
    }
    assert found["subscription"]["current_period_end"] == "2026-12-04T09:30:00.000Z"
    assert [invoice["total"] for invoice in found["invoices"]] == [700, 600, 500, 400, 300]


def test_the_month_of_use_is_the_subscriptions(backend: Backend) -> None:
    now = clock.now()
    subscribe(backend, current_period_start=now - timedelta(days=3), current_period_end=now + timedelta(days=28))
    backend.use(quantity=4)
    backend.use("analyze_lead", 2)
    used = read(backend, "/billing")["usage"]
    assert used == read(backend, "/usage")
    assert used["cost"] == 8
    meters = {meter["meter"]: meter for meter in used["meters"]}
    assert (meters["send_email"]["quantity"], meters["analyze_lead"]["cost"]) == (4, 4)
    assert (meters["generate_campaign"]["quantity"], meters["generate_campaign"]["included"]) == (0, None)
    assert meters["api_calls"]["included"] == meters["api_calls"]["remaining"] > 1_000


@pytest.mark.parametrize(
    ("status", "plan"),
    [
        ("active", "business"),
        ("trialing", "business"),
        ("past_due", "business"),
        ("unpaid", "free"),
        ("paused", "free"),
    ],
)
def test_the_plan_in_force_gives_the_rights(backend: Backend, status: str, plan: str) -> None:
    subscribe(backend, status=status)
    found = read(backend, "/entitlements")
    assert (found["plan"]["key"], found["status"]) == (plan, status)
    assert found["features"]["roles"]["enabled"] is (plan == "business")


def test_the_free_plan_has_its_limits(backend: Backend) -> None:
    found = read(backend, "/entitlements")
    assert (found["plan"]["key"], found["status"], found["credits_monthly"], found["seats_included"]) == (
        "free", None, 100, 1,
    )  # fmt: skip
    history = found["features"]["usage_history"]
    assert history == {
        "name": "Usage history", "kind": "limit", "enabled": True, "limit": 30, "unit": "days", "text": "30 days",
        "source": "plan", "ends_at": None,
    }  # fmt: skip
    assert found["features"]["single_sign_on"]["enabled"] is False
    assert found["meters"]["send_email"] == {
        "name": "E-mails sent", "mode": "credits", "cost_credits": 1, "included": None, "more_allowed": True,
    }  # fmt: skip
    assert (found["meters"]["api_calls"]["included"], found["meters"]["api_calls"]["more_allowed"]) == (1000, False)


def test_a_duplicate_gives_nothing(backend: Backend) -> None:
    subscribe(backend, duplicate=True)
    assert read(backend, "/entitlements")["plan"]["key"] == "free"


def test_unchanged_rights_are_not_sent_again(backend: Backend) -> None:
    headers = {"Authorization": f"Bearer {backend.secret}"}
    first = backend.call("GET", "/entitlements")
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = backend.call("GET", "/entitlements", headers=headers | {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    subscribe(backend)
    changed = backend.call("GET", "/entitlements", headers=headers | {"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_s04_a_team_reads_its_own_only(backend: Backend, other_backend: Backend) -> None:
    subscribe(backend)
    bill(backend, 1)
    backend.use()
    assert read(other_backend, "/billing")["plan"]["key"] == "free"
    assert read(other_backend, "/entitlements")["plan"]["key"] == "free"
    assert read(other_backend, "/invoices")["data"] == []
    assert read(other_backend, "/usage/events")["data"] == []
    assert read(other_backend, "/usage")["cost"] == 0


def test_invoices_come_newest_first_without_drafts(backend: Backend) -> None:
    for number in range(1, 4):
        bill(backend, number)
    bill(backend, 5, status="draft")
    found = read(backend, "/invoices")
    assert (found["object"], found["url"], found["has_more"]) == ("list", "/api/v1/invoices", False)
    assert [invoice["number"] for invoice in found["data"]] == ["HARBOR-0003", "HARBOR-0002", "HARBOR-0001"]


def test_a_customer_row_is_not_needed_to_read(backend: Backend) -> None:
    with backend.app.app_context(), unit_of_work() as session:
        assert session.query(Customer).count() == 0
        session.execute(update(Team).values(created_at=datetime(2026, 1, 31, 12, tzinfo=UTC)))
    found = read(backend, "/usage")
    assert found["since"].endswith("T12:00:00.000Z")


def test_a_plan_outside_the_catalog_gives_the_free_rights(backend: Backend) -> None:
    """Somebody made the subscription by hand in Stripe's dashboard."""
    subscribe(backend, plan_key=None, price_id=None)
    assert read(backend, "/entitlements")["plan"]["key"] == "free"
    assert read(backend, "/billing")["subscription"]["plan"] is None


def test_each_call_wants_its_scope(app: Flask, backend: Backend) -> None:
    for path in ("/billing", "/entitlements", "/usage", "/usage/events", "/invoices", "/credits"):
        limited = backend.with_no_scope()
        answer = limited.call("GET", path)
        assert (answer.status_code, error_of(answer)["code"]) == (403, "missing_scope")
