"""What exports say when `/metrics` is asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from sqlalchemy import func, select

from portal.core.clock import app_now
from portal.core.database import db
from portal.core.metrics import gauge
from portal.exports.models import Export


def export_gauges() -> Iterator[Metric]:
    age = func.extract("epoch", app_now() - func.min(Export.created_at))
    query = select(func.count(), func.coalesce(func.greatest(age, 0), 0)).where(
        Export.state.in_(("waiting", "running"))
    )
    count, seconds = db.session.execute(query).one()
    yield gauge("billing_queue_depth", "Work that waits in the database.", count, queue="exports")
    yield gauge(
        "billing_queue_oldest_seconds", "For how long the oldest of it has waited.", float(seconds), queue="exports"
    )


GAUGES = (export_gauges,)
