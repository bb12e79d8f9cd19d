"""Mails about plans that were canceled, kept, paused, let go on, or have ended, wherever that was done: here, in Stripe's
portal or by the staff in Stripe's dashboard. What tells is the step from one state of our mirror to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from portal.billing.billing_mail import tell
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.leased_work import OPEN_STATES
from portal.billing.leave_words import consequences, day_of, name_of
from portal.billing.models import LIVE_STATUSES, Subscription
from portal.core.addresses import own_address
from portal.core.database import db
from portal.notifications import messages

# Of a plan that ended because it was not paid, dunning tells.
TOLD_OTHERWISE = "payment_failed"


@dataclass(frozen=True)
class Course:
    """Where a subscription was heading."""

    status: str
    cancel_at: datetime | None
    canceled_at: datetime | None
    paused_at: datetime | None


def course_of(stripe_id: str) -> Course | None:
    """The course as our mirror has it before it is written anew; None for one that is new to us."""
    columns = (Subscription.status, Subscription.cancel_at, Subscription.canceled_at, Subscription.paused_at)
    row = db.session.execute(select(*columns).where(Subscription.stripe_id == stripe_id)).one_or_none()
    return Course(*row) if row else None


def tell_of_course(before: Course | None, subscription: Subscription) -> None:
    """Put the mail of what has changed since, in the current unit; each fact once."""
    if before is None or before.status not in LIVE_STATUSES or subscription.duplicate:
        return
    if subscription.status == "canceled":
        if subscription.cancel_reason != TOLD_OTHERWISE:
            _tell_ended(subscription)
        return
    if subscription.status not in LIVE_STATUSES:
        return
    if before.cancel_at is None and subscription.cancel_at is not None:
        _tell_canceled(subscription)
    elif before.cancel_at is not None and subscription.cancel_at is None:
        _tell_resumed(subscription, f"kept:{subscription.stripe_id}:{_epoch(before.canceled_at)}", paused=False)
    if before.status != "paused" and subscription.status == "paused":
        _tell_paused(subscription)
    elif before.status == "paused" and subscription.status != "paused":
        _tell_resumed(subscription, f"unpaused:{subscription.stripe_id}:{_epoch(before.paused_at)}", paused=True)


def _tell_canceled(subscription: Subscription) -> None:
    if _is_ending_now(subscription.team_id):
        return
    name, day = name_of(subscription), day_of(subscription, subscription.cancel_at)
    outcome, link = consequences(subscription, "cancel"), _overview(subscription)
    tell(
        subscription.team_id,
        f"canceled:{subscription.stripe_id}:{_epoch(subscription.canceled_at)}",
        lambda to: messages.plan_canceled(to, plan_name=name, day=day, ended=False, outcome=outcome, link=link),
    )


def _is_ending_now(team_id: str) -> bool:
    """Whether the end is one that we are about to bring on, for which a day was set on the way."""
    ours = (
        select(PendingChange.id)
        .join(ChangePreview, ChangePreview.id == PendingChange.preview_id)
        .where(
            PendingChange.team_id == team_id, PendingChange.state.in_(OPEN_STATES), ChangePreview.kind == "cancel_now"
        )
    )
    return db.session.execute(ours).scalar() is not None


def _tell_ended(subscription: Subscription) -> None:
    name, outcome = name_of(subscription), consequences(subscription, "ended")
    link = own_address("catalog.pricing", team=subscription.team_id)
    tell(
        subscription.team_id,
        f"ended:{subscription.stripe_id}",
        lambda to: messages.plan_canceled(to, plan_name=name, day="", ended=True, outcome=outcome, link=link),
    )


def _tell_resumed(subscription: Subscription, fact: str, *, paused: bool) -> None:
    name, link = name_of(subscription), _overview(subscription)
    tell(
        subscription.team_id,
        fact,
        lambda to: messages.plan_resumed(to, plan_name=name, paused=paused, link=link),
    )


def _tell_paused(subscription: Subscription) -> None:
    name, outcome, link = name_of(subscription), consequences(subscription, "pause"), _overview(subscription)
    tell(
        subscription.team_id,
        f"paused:{subscription.stripe_id}:{_epoch(subscription.paused_at)}",
        lambda to: messages.plan_paused(to, plan_name=name, outcome=outcome, link=link),
    )


def _overview(subscription: Subscription) -> str:
    return own_address("billing.overview", team_id=subscription.team_id)


def _epoch(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment else 0
