"""Letting go of what was held while billing was switched off, oldest first."""

from __future__ import annotations

import structlog
from sqlalchemy import func, select, update

from portal.core.statements import Statement
from portal.core.unit_of_work import read_alone, unit_of_work
from portal.webhooks.models import StripeEvent

log = structlog.get_logger(__name__)

BATCH = 1000
# There is hardly ever one, and every round of the worker asks.
HELD = Statement("select from stripe_events where state = 'held' limit 1")


def release_held() -> int:
    """Make held events wait like all others; returns how many there were.

    Their turn is told by `run_at`, which is when they came, so all of them are let go before any later one is applied.
    For the worker, in each of its rounds: what a web process still holds that was not yet restarted is found too.
    """
    released = 0
    while read_alone(HELD) and (batch := _release_batch()):
        released += batch
    if released:
        log.info("held_events_released", events=released)
    return released


def _release_batch() -> int:
    with unit_of_work() as session:
        oldest = (
            select(StripeEvent.id)
            .where(StripeEvent.state == "held")
            .order_by(StripeEvent.run_at, StripeEvent.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        released = session.execute(
            update(StripeEvent)
            .where(StripeEvent.id.in_(oldest.scalar_subquery()))
            .values(state="pending", released_at=func.now())
            .execution_options(synchronize_session=False)
            .returning(StripeEvent.id)
        ).all()
    return len(released)
