"""Asking for an open invoice to be charged, now. The worker does it (`pay_work.py`), once for each time it was asked for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Interval, cast, func, literal, select, update

from portal.accounts import audit
from portal.accounts.models import Team
from portal.billing import card_testing
from portal.billing.checkout_order import Buyer
from portal.billing.invoice_models import PaymentTry
from portal.billing.leased_work import OPEN_STATES
from portal.billing.models import Invoice
from portal.core import jobs
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import after_commit

# Stripe still takes money for one that was written off.
PAYABLE = ("open", "uncollectible")


class PayRefused(Exception):
    """The invoice is not charged; `reason` is `paid`, `closed`, or `too_many` (refused in the last hour)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def ask(team: Team, user_id: str, invoice: Invoice, order_key: str | None) -> PaymentTry:
    """Save, in the current unit, that the invoice is to be charged; the same order again, or one beside it, is the same
    try. Raises `PayRefused`.

    One that waits for the bank's answer is given up for a new order: the card may be another one by now. At Stripe both
    are the same intent, so that it is charged once whatever the bank is answered.
    """
    # A weak lock: a full one would wait for everybody who writes a row that names the team, and they for us.
    db.session.execute(select(Team.id).where(Team.id == team.id).with_for_update(key_share=True))
    known = _known(invoice.id, order_key)
    if known is not None and not (known.state == "requires_action" and known.order_key != order_key):
        return known
    _refuse(team.id, user_id, invoice)
    _give_up_waiting(invoice.id)
    try_id = new_id("try")
    row = PaymentTry(
        id=try_id,
        team_id=team.id,
        user_id=user_id,
        invoice_id=invoice.id,
        amount=left_to_pay(invoice),
        currency=invoice.currency,
        order_key=order_key,
        idempotency_key=f"pay-{try_id}",
        state="pending",
    )
    db.session.add(row)
    db.session.flush()
    what = {"invoice": invoice.number, "amount_cents": row.amount, "currency": row.currency}
    audit.record(audit.by_user(user_id), "invoice.payment_asked", team_id=team.id, target=try_id, **what)
    after_commit(jobs.hint_soon)
    return row


def left_to_pay(invoice: Invoice) -> int:
    """What is still asked for, in the minor unit."""
    return invoice.amount_due - invoice.amount_paid if invoice.status in PAYABLE else 0


def _known(invoice_id: str, order_key: str | None) -> PaymentTry | None:
    """The try that this very order has begun, else the one of the invoice that is still open."""
    mine = PaymentTry.invoice_id == invoice_id
    wanted: ColumnElement[bool] = PaymentTry.state.in_(OPEN_STATES)
    if order_key is not None:
        wanted |= PaymentTry.order_key == order_key
    query = (
        select(PaymentTry).where(mine, wanted).order_by(func.coalesce(PaymentTry.order_key == order_key, False).desc())
    )
    return db.session.execute(query.limit(1), execution_options={"populate_existing": True}).scalar_one_or_none()


def _give_up_waiting(invoice_id: str) -> None:
    waits = (PaymentTry.invoice_id == invoice_id) & (PaymentTry.state == "requires_action")
    values = {"state": "failed", "failure_code": "replaced", "confirm_url": None, "finished_at": app_now()}
    over = update(PaymentTry).where(waits).values(**values, lease_until=None, lease_token=None, lease_holder=None)
    db.session.execute(over, execution_options={"synchronize_session": False})


def _refuse(team_id: str, user_id: str, invoice: Invoice) -> None:
    db.session.refresh(invoice)
    if invoice.status == "paid":
        raise PayRefused("paid")
    if left_to_pay(invoice) <= 0:
        raise PayRefused("closed")
    if card_testing.declines(team_id, Buyer(user_id=user_id)) + _refused_elsewhere(team_id, user_id) >= MAX_REFUSED:
        raise PayRefused("too_many")


MAX_REFUSED = card_testing.OPEN_OR_DECLINED_MAX


def _refused_elsewhere(team_id: str, user_id: str) -> int:
    """Tries of this person in other teams; those of this team are among its declines."""
    mine = (PaymentTry.user_id == user_id) & (PaymentTry.team_id != team_id) & (PaymentTry.state == "failed")
    query = select(func.count(PaymentTry.id)).where(mine, PaymentTry.created_at > _an_hour_ago())
    return db.session.execute(query).scalar_one()


def _an_hour_ago() -> ColumnElement[datetime]:
    return app_now() - cast(literal(card_testing.WINDOW), Interval)


def wake_tries(invoice_id: str) -> None:
    """Something has happened to an invoice: look whether a try that waits for the bank's answer has come to an end."""
    waits = (PaymentTry.invoice_id == invoice_id) & (PaymentTry.state == "requires_action")
    woken = update(PaymentTry).where(waits).values(run_at=app_now()).returning(PaymentTry.id)
    if db.session.execute(woken, execution_options={"synchronize_session": False}).scalar() is not None:
        after_commit(jobs.hint_soon)
