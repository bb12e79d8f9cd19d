"""What the worker does for usage: reports what metered meters have counted to Stripe, and looks whether Stripe has it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from portal.billing.gateway import gateway
from portal.billing.switch import billing_is_on
from portal.core.jobs import ROUND
from portal.core.schedule import Task
from portal.core.unit_of_work import run_in_unit
from portal.usage import meter_check, meter_reports, meter_sending

BATCHES_MAX = 50


def freeze_reports() -> int:
    """In units of a few hundred, so that one is short and the next begins from what the last one wrote."""
    written = 0
    for _ in range(BATCHES_MAX):
        batch = run_in_unit(partial(meter_reports.freeze, meter_reports.BATCH))
        written += batch
        if batch < meter_reports.BATCH:
            break
    return written


def drain_reports() -> int:
    """While billing is switched off Stripe is told nothing; what was used meanwhile is reported when it is on again."""
    return meter_sending.drain(gateway, ROUND) if billing_is_on() else 0


def check_meters() -> int:
    return meter_check.check(gateway()) if billing_is_on() else 0


DRAINS = (drain_reports,)
SCHEDULE = {
    "usage.meter_reports": Task(freeze_reports, timedelta(minutes=10)),
    "usage.meter_check": Task(check_meters, timedelta(days=1), first_in=timedelta(hours=1)),
}
