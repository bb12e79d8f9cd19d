"""What the page says of a change that was agreed to: a reading of our own rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from portal.billing.change_models import LEAVE_KINDS, ChangePreview, PendingChange
from portal.billing.failure_words import payment_failure
from portal.catalog.addon_queries import addon_name
from portal.catalog.queries import plan_by_key
from portal.core import clock
from portal.core.database import db

SLOW_AFTER = timedelta(seconds=60)

FAILURES = {
    "refused_by_stripe": "Stripe did not take the change. Nothing was charged. We have been told.",
    "failed_at_stripe": "Something failed at Stripe. Nothing was charged.",
    "not_confirmed": "The bank wanted the payment to be confirmed, and it was not. Nothing was charged.",
}


@dataclass(frozen=True)
class ChangeStatus:
    """`kind` is waiting, slow, action, done, planned, undone, left, failed, stale or canceled; amounts in minor units.

    `left`: a plan was canceled, kept, paused or let go on, as `of` says. `paid_back` goes to the balance; with `unpaid` an
    invoice of the change is still to be paid.
    """

    kind: str
    of: str
    plan_name: str
    interval: str
    seats: int | None
    addon_name: str
    addon_quantity: int | None
    amount_due: int
    currency: str
    next_at: datetime
    next_total: int | None
    confirm_url: str | None
    failure: str | None
    again: dict[str, str]
    paid_back: int
    unpaid: bool


def read(change: PendingChange) -> ChangeStatus:
    preview = db.session.execute(select(ChangePreview).where(ChangePreview.id == change.preview_id)).scalar_one()
    plan = plan_by_key(preview.plan_key)
    return ChangeStatus(
        kind=_kind(change, preview),
        of=preview.kind,
        plan_name=plan.name if plan else "",
        interval=preview.interval,
        seats=preview.seats,
        addon_name=addon_name(preview.addon_key) if preview.addon_key else "",
        addon_quantity=preview.addon_quantity,
        amount_due=preview.amount_due,
        currency=preview.currency,
        next_at=datetime.fromtimestamp(preview.shown["next_at"], UTC),
        next_total=preview.shown["next_total"],
        confirm_url=change.confirm_url,
        failure=_failure(change),
        again=wish_fields(preview),
        paid_back=max(-preview.shown["total"], 0),
        unpaid=change.state == "done" and change.failure_code is not None,
    )


def _kind(change: PendingChange, preview: ChangePreview) -> str:
    if change.state == "done":
        if preview.kind in LEAVE_KINDS:
            return "left"
        return {"undo": "undone"}.get(preview.kind) or ("planned" if preview.timing == "period_end" else "done")
    if change.state in ("failed", "stale", "canceled"):
        return change.state
    if change.state == "requires_action":
        return "waiting" if change.withdrawn_at else "action"
    return "slow" if clock.now() - change.created_at > SLOW_AFTER else "waiting"


def _failure(change: PendingChange) -> str | None:
    if change.state != "failed":
        return None
    return FAILURES.get(change.failure_code or "") or payment_failure(change.failure_code)


def wish_fields(preview: ChangePreview) -> dict[str, str]:
    """The fields of a form that asks for the same once more."""
    fields = {"seats": str(preview.seats)} if preview.seats is not None else {}
    if preview.kind == "seats" or preview.kind in LEAVE_KINDS:
        return fields
    if preview.kind == "addon":
        return {"addon": preview.addon_key or "", "quantity": str(preview.addon_quantity)}
    fields |= {"plan": preview.plan_key, "interval": preview.interval}
    return fields | ({"promotion_code": preview.promotion_code} if preview.promotion_code else {})
