"""Applying what waits in the inbox: claim, let the handler fetch and write, settle."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.billing.gateway import OUTAGE
from portal.billing.mirror import NotYet, StaleFetch, UnknownCustomer
from portal.billing.switch import billing_is_on
from portal.core.database import db
from portal.core.stopping import stopping
from portal.core.unit_of_work import end_read
from portal.webhooks.claim import Claimed, LeaseLost, applied_twin, claim, fail, park, pass_over, wait
from portal.webhooks.handlers import handler_of
from portal.webhooks.hold import release_held

log = structlog.get_logger(__name__)

# Each stale fetch means that somebody else has just written something newer, so few tries are many.
FETCH_TRIES = 5
OUTAGES = (*OUTAGE, OperationalError, PoolTimeout)


def drain(at_most: int | None = None) -> int:
    """Apply events until none is due, `at_most` were, or this process is to end; returns how many were tried.

    While billing is switched off nothing is applied; on again, what was held meanwhile is let go first.
    """
    if not billing_is_on():
        return 0
    release_held()
    tried = 0
    while tried != at_most and not stopping() and (event := claim()) is not None:
        process(event)
        tried += 1
    return tried


def process(event: Claimed) -> None:
    """Apply one claimed event. Never raises for what the event brings: it is retried, parked or dead instead."""
    structlog.contextvars.bind_contextvars(event_id=event.event_id, event_type=event.type)
    try:
        _apply_or_settle(event)
    except LeaseLost:
        # Another worker has it now, and what this one did was rolled back.
        log.warning("lease_lost")
    finally:
        structlog.contextvars.unbind_contextvars("event_id", "event_type")


def _apply_or_settle(event: Claimed) -> None:
    try:
        _apply(event)
    except LeaseLost:
        raise
    except NotYet as reason:
        _recover()
        park(event, str(reason), ours=not isinstance(reason, UnknownCustomer))
    except OUTAGES as error:
        _recover()
        log.warning("event_waits", reason=type(error).__name__)
        wait(event, error)
    except Exception as error:
        _recover()
        log.warning("event_failed", attempt=event.attempts, exc_info=error)
        fail(event, error)


def _apply(event: Claimed) -> None:
    if (twin := applied_twin(event)) is not None:
        return pass_over(event, twin)
    handler = handler_of(event.type)
    assert handler is not None, f"nobody applies {event.type}"
    for left in reversed(range(FETCH_TRIES)):
        end_read()
        try:
            return handler(event)
        except StaleFetch:
            if not left:
                raise
    return None


def _recover() -> None:
    """Whatever the handler was reading is over; the next unit starts clean."""
    db.session.rollback()
