"""What the worker does for billing: changes of plans and seats that somebody agreed to, invoices that somebody asked to be
charged, and because time has passed, mails about failing payments and about cards that end, and a look whether Stripe
and we agree.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import structlog
from sqlalchemy import delete, select

from portal.billing import change_work, metered_items, pay_work, subscription_check
from portal.billing.billing_details import emails_to_send, send_email
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.dunning import failing_invoices, teams_with_ending_cards, tell_of_expiring_card, tell_of_failure
from portal.billing.gateway import OUTAGE, Failed, gateway
from portal.billing.invoice_news import tell_of_news
from portal.billing.models import Invoice
from portal.billing.purchases import Purchase
from portal.billing.switch import billing_is_on
from portal.billing.sync import SubscriptionState, mirror_subscription_state
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.jobs import ROUND
from portal.core.schedule import SomeFailed, Task, each_in_a_unit
from portal.core.unit_of_work import unit_of_work
from portal.credits.settlement import settle
from portal.credits.subscription_grants import grant_for_invoices
from portal.usage.last_report import report_all

log = structlog.get_logger(__name__)

FORGOTTEN_AFTER = timedelta(days=1)


def drain_changes() -> int:
    """While billing is switched off nothing is charged; what was agreed to by then is stale when it is on again."""
    return change_work.drain(gateway, _apply, report_all, ROUND) if billing_is_on() else 0


def _apply(state: SubscriptionState) -> None:
    grant_for_invoices(*mirror_subscription_state(state))


def drain_payments() -> int:
    """While billing is switched off nothing is charged; what was asked for by then is too late when it is on again."""
    return pay_work.drain(gateway, _settle, ROUND) if billing_is_on() else 0


def _settle(purchase: Purchase) -> None:
    for invoice in settle(purchase).invoices:
        tell_of_news(invoice)


def forget_previews() -> int:
    """Previews that nobody agreed to."""
    agreed = select(PendingChange.preview_id)
    old = delete(ChangePreview).where(ChangePreview.created_at < app_now() - FORGOTTEN_AFTER)
    with unit_of_work() as session:
        found = session.execute(old.where(ChangePreview.id.not_in(agreed)).returning(ChangePreview.id)).all()
    return len(found)


def tell_of_failing_payments() -> int:
    with unit_of_work():
        found = failing_invoices()
    return each_in_a_unit([partial(_tell, invoice_id) for invoice_id in found])


def tell_of_expiring_cards() -> int:
    with unit_of_work():
        teams = teams_with_ending_cards()
    return each_in_a_unit([partial(tell_of_expiring_card, team_id) for team_id in teams])


def check_subscriptions() -> int:
    """While billing is switched off nothing of Stripe's is applied."""
    return subscription_check.check(gateway(), _apply) if billing_is_on() else 0


def add_metered_items() -> int:
    """To subscriptions that were sold with them and do not have them."""
    if not billing_is_on():
        return 0
    return metered_items.add(gateway(), metered_items.missing())


def send_billing_emails() -> int:
    """Those that Stripe does not have yet, because it was away when they were chosen; returns how many teams were looked at.

    Raises `SomeFailed` when all were tried and some failed, and at once what says that Stripe answers nobody: each further
    team would wait as long, and this worker with it.
    """
    with unit_of_work():
        teams = emails_to_send()
    failed = sum(not _sent(team_id) for team_id in teams)
    if failed:
        raise SomeFailed(f"{failed} of {len(teams)} failed")
    return len(teams)


def _sent(team_id: str) -> bool:
    try:
        send_email(gateway(), team_id)
    except Exception as error:
        db.session.rollback()
        if isinstance(error, OUTAGE) and not isinstance(error, Failed):
            raise
        log.exception("billing_email_not_sent", team_id=team_id)  # whatever else it is, it is this team's
        return False
    return True


def _tell(invoice_id: str) -> None:
    invoice = db.session.get(Invoice, invoice_id, populate_existing=True)
    if invoice is not None:
        tell_of_failure(invoice)


DRAINS = (drain_changes, drain_payments)
SCHEDULE = {
    "billing.old_previews": Task(forget_previews, timedelta(hours=1)),
    "billing.emails": Task(send_billing_emails, timedelta(minutes=5)),
    "billing.failing_payments": Task(tell_of_failing_payments, timedelta(minutes=10)),
    "billing.expiring_cards": Task(tell_of_expiring_cards, timedelta(days=1), first_in=timedelta(minutes=10)),
    "billing.metered_items": Task(add_metered_items, timedelta(days=1), first_in=timedelta(minutes=30)),
    "billing.subscriptions": Task(check_subscriptions, timedelta(days=1), first_in=timedelta(hours=1)),
}
