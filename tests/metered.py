"""What stories of metered use share: reporting it by hand, what Stripe has counted, and answers that get lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import select

from portal.billing.gateway import Gateway, Unavailable
from portal.billing.models import Customer
from portal.catalog.models import Meter
from portal.core import clock
from portal.core.database import db
from portal.usage import jobs
from portal.usage.report_models import MeterReport
from tests.stage import API_KEY, Stage

METER = "api_calls"
HALF_AN_HOUR = timedelta(minutes=30)


def report() -> None:
    """What the worker does each ten minutes."""
    jobs.freeze_reports()
    jobs.drain_reports()
    db.session.remove()


def again(stage: Stage) -> None:
    """Report once more, when that is due."""
    stage.advance(HALF_AN_HOUR)
    report()


def reports(team_id: str) -> list[MeterReport]:
    query = select(MeterReport).where(MeterReport.team_id == team_id).order_by(MeterReport.starts_at, MeterReport.part)
    found = list(db.session.execute(query, execution_options={"populate_existing": True}).scalars())
    db.session.remove()
    return found


def at_stripe(stage: Stage, team_id: str, days: int = 34) -> int:
    """Stripe's sum of the team's events, from so many days ago until tomorrow."""
    customer = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == team_id)).scalar_one()
    meter = db.session.execute(select(Meter.stripe_meter_id).where(Meter.key == METER)).scalar_one()
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    db.session.remove()
    found = stage.stripe(
        "GET",
        f"/v1/billing/meters/{meter}/event_summaries",
        customer=customer,
        start_time=int((midnight - timedelta(days=days)).timestamp()),
        end_time=int((midnight + timedelta(days=1)).timestamp()),
    )["data"]
    return sum(int(one["aggregated_value"]) for one in found)


def let_drafts_wait(stage: Stage, seconds: int) -> None:
    """For how long the invoices of use stay drafts at Stripe."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    url = f"{stage.stripe_url}/_sandbox/draft_time"
    requests.post(url, json={"seconds": seconds}, headers=headers, timeout=20).raise_for_status()


@contextmanager
def answers_lost(
    monkeypatch: pytest.MonkeyPatch, *, effect: bool, lost: Callable[[int], bool] = lambda _: True
) -> Iterator[list[str]]:
    """No answer comes to reports whose number is `lost`, with or without the call's effect; yields the identifiers sent."""
    sent: list[str] = []
    original = Gateway.report_usage

    def losing(self: Gateway, params: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
        sent.append(params["identifier"])
        gone = lost(len(sent))
        if gone and not effect:
            raise Unavailable("no answer")
        answer = original(self, params, idempotency_key)
        if gone:
            raise Unavailable("no answer")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "report_usage", losing)
        yield sent
