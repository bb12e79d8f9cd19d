"""What the worker does for billing because time has passed: mails about failing payments and about cards that end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import structlog

from portal.billing.dunning import failing_invoices, teams_with_plans, tell_of_expiring_card, tell_of_failure
from portal.billing.models import Invoice
from portal.core.database import db
from portal.core.schedule import Task
from portal.core.unit_of_work import run_in_unit, unit_of_work

log = structlog.get_logger(__name__)


class SomeFailed(Exception):
    """Some teams could not be told this time; the log says why, and the schedule tries them again."""


def tell_of_failing_payments() -> int:
    with unit_of_work():
        found = failing_invoices()
    return _each([partial(_tell, invoice_id) for invoice_id in found])


def tell_of_expiring_cards() -> int:
    with unit_of_work():
        teams = teams_with_plans()
    return _each([partial(tell_of_expiring_card, team_id) for team_id in teams])


def _tell(invoice_id: str) -> None:
    invoice = db.session.get(Invoice, invoice_id, populate_existing=True)
    if invoice is not None:
        tell_of_failure(invoice)


def _each(pieces: list[Callable[[], None]]) -> int:
    """Each in a unit of its own, so that one team in trouble does not hold up the others. Raises `SomeFailed`."""
    failed = 0
    for piece in pieces:
        try:
            run_in_unit(piece)
        except Exception:  # whatever it is, it is this team's
            log.exception("team_failed")
            failed += 1
    if failed:
        raise SomeFailed(f"{failed} of {len(pieces)} teams")
    return 0


SCHEDULE = {
    "billing.failing_payments": Task(tell_of_failing_payments, timedelta(minutes=10)),
    "billing.expiring_cards": Task(tell_of_expiring_cards, timedelta(days=1), first_in=timedelta(minutes=10)),
}
