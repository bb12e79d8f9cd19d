"""An invoice of many lines: its body brings only the first, and what a plan's month costs may stand behind them."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.billing.models import Customer, Invoice
from portal.catalog.queries import price_for
from portal.core.database import db
from portal.credits.queries import balance
from tests.cast import Cast
from tests.stage import Stage


def test_a_plan_whose_line_stands_behind_others_is_granted(
    cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a month of many changed seats. The stand-in, in a thread of this process, sends one line at first."""
    monkeypatch.setattr("portal.sandbox.resources.invoice_lines.EMBEDDED_MAX", 1)
    stage.begin_checkout(cast.owner, cast.team_id, "business")  # makes the team's customer
    customer = db.session.execute(select(Customer.stripe_id)).scalar_one()
    seat, plan = price_for("business", "month", "seat"), price_for("business", "month")
    assert seat is not None
    assert plan is not None
    order = {"mode": "subscription", "customer": customer, "success_url": "http://127.0.0.1:8000/done"}
    lines = {"line_items[0][price]": seat.stripe_price_id, "line_items[1][price]": plan.stripe_price_id}
    counts = {"line_items[0][quantity]": 3, "line_items[1][quantity]": 1}
    page = stage.stripe("POST", "/v1/checkout/sessions", **order, **lines, **counts)
    assert stage.pay(page["url"]).status_code == 303
    stage.deliver_all()
    assert len(db.session.execute(select(Invoice.lines)).scalar_one()) == 2
    assert balance(cast.team_id).available == 20_000
