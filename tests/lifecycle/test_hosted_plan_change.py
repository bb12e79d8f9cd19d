"""A plan changed, paused and resumed in Stripe's portal by settings other than ours: our rows follow what happened."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from sqlalchemy import select

from portal.billing.models import Invoice, Subscription
from portal.core.database import db
from tests.cast import Cast
from tests.purchases import states, violations
from tests.sandbox.visiting import everything, hidden
from tests.stage import Stage

Json = dict[str, Any]


class Visit:
    """The owner's team on Business, and its customer in a portal that offers Pro as well and everything else."""

    def __init__(self, cast: Cast, stage: Stage) -> None:
        self.stage = stage
        stage.subscribe(cast.owner, cast.team_id, "business")
        stage.deliver_all()
        bought = stage.stripe("GET", "/v1/subscriptions", limit=1)["data"][0]
        self.step = f"subscriptions/{bought['id']}"
        _take_usage_away(stage, bought)
        keys = {"lookup_keys[0]": "turnpike_plan_business_month", "lookup_keys[1]": "turnpike_plan_pro_month"}
        prices = stage.stripe("GET", "/v1/prices", **keys)["data"]
        self.pro = next(price for price in prices if price["lookup_key"] == keys["lookup_keys[1]"])
        made = stage.stripe("POST", "/v1/billing_portal/configurations", **everything(*prices))
        opened = {"customer": bought["customer"], "configuration": made["id"]}
        self.address = stage.stripe("POST", "/v1/billing_portal/sessions", **opened)["url"]

    def press(self, step: str, form: Json) -> None:
        answer = requests.post(f"{self.address}/{step}", data=form, allow_redirects=False, timeout=20)
        assert answer.status_code == 303, answer.text
        self.stage.deliver_all()

    def confirm(self, step: str) -> Json:
        """Do what a page shows; returns what it said along."""
        page = requests.get(f"{self.address}/{step}", timeout=20).text
        self.press(step.partition("?")[0], hidden(page))
        return hidden(page)


def _take_usage_away(stage: Stage, bought: Json) -> None:
    """Stripe's portal changes no subscription of several parts: this one is from before its plan had an overage."""
    counted = next(item["id"] for item in bought["items"]["data"] if "quantity" not in item)
    gone = {"items[0][id]": counted, "items[0][deleted]": "true", "proration_behavior": "none"}
    stage.stripe("POST", f"/v1/subscriptions/{bought['id']}", **gone)
    stage.deliver_all()


def mirrored() -> Subscription:
    found = db.session.execute(select(Subscription)).scalar_one()
    db.session.remove()
    return found


@pytest.fixture
def visit(cast: Cast, stage: Stage) -> Visit:
    return Visit(cast, stage)


def test_a_plan_changed_at_the_end_of_its_period(visit: Visit) -> None:
    visit.confirm(f"{visit.step}/update/confirm?price={visit.pro['id']}")
    assert mirrored().plan_key == "business"
    ends = mirrored().current_period_end
    assert ends is not None
    visit.stage.advance(ends - mirrored().started_at)
    visit.stage.deliver_all()
    assert mirrored().plan_key == "pro"
    newest = select(Invoice.total).order_by(Invoice.created_at.desc(), Invoice.number.desc()).limit(1)
    assert db.session.execute(newest).scalar_one() == visit.pro["unit_amount"]


def test_a_plan_paused_and_resumed(visit: Visit) -> None:
    visit.press(f"{visit.step}/pause", {"length": "1-month"})
    assert mirrored().status == "paused"
    said = visit.confirm(f"{visit.step}/resume")
    assert mirrored().status == "active"
    newest = select(Invoice.amount_due).order_by(Invoice.created_at.desc(), Invoice.number.desc()).limit(1)
    assert str(db.session.execute(newest).scalar_one()) == said["due"]


def test_a_tax_id_that_we_do_not_keep_disturbs_nothing(visit: Visit) -> None:
    form = {"name": "Harbor", "email": "owner@example.com", "tax_id_type": "eu_vat", "tax_id": "DE123456789"}
    visit.press("customer", form)
    assert set(states()) <= {"done", "ignored"}
    assert violations() == []
