"""What is on its way to Stripe's meters, when `/metrics` is asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from sqlalchemy import func, select

from portal.core.database import db
from portal.core.metrics import gauge
from portal.usage.meter_check import open_drifts
from portal.usage.report_models import OPEN_STATES, MeterReport


def meter_gauges() -> Iterator[Metric]:
    counts = {
        name: int(db.session.execute(select(func.count()).where(MeterReport.state.in_(states))).scalar_one())
        for name, states in (("open", OPEN_STATES), ("refused", ("refused",)))
    }
    yield gauge("billing_meter_backlog", "Reports of use that Stripe has not confirmed yet.", counts["open"])
    yield gauge("billing_meter_refused", "Reports of use that Stripe will never take.", counts["refused"])
    words = "Teams and meters of which Stripe counts something else than we reported; must be 0."
    yield gauge("billing_meter_drift", words, open_drifts())


GAUGES = (meter_gauges,)
