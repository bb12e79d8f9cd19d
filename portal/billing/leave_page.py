"""The view models of the pages on which a plan is canceled or paused, and of what the plan's card offers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from portal.billing.card_words import Card, card_of
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.leave_preview import standing_of
from portal.billing.leave_rules import RUNNING, Standing, may
from portal.billing.leave_words import Row, consequences, day_of, dropped, going_on, name_of
from portal.billing.metered_words import shown_words
from portal.billing.models import Subscription
from portal.billing.next_invoice import comes_at
from portal.billing.payment_methods import charged_payment_method
from portal.billing.portal_configuration import CANCEL_REASONS
from portal.billing.subscriptions import live_subscription
from portal.core import clock
from portal.core.database import db
from portal.core.money import money_words

REASON_WORDS = {
    "too_expensive": "It costs too much",
    "missing_features": "It lacks something we need",
    "switched_service": "We use another service now",
    "unused": "We do not use it enough",
    "customer_service": "The support was not good enough",
    "too_complex": "It is too hard to use",
    "low_quality": "The quality was not good enough",
    "other": "Another reason",
}
REASONS = [(key, REASON_WORDS[key]) for key in CANCEL_REASONS]


@dataclass(frozen=True)
class CancelPage:
    """`ends_at` is None where the plan can only end at once, `now_words` where it cannot end at once."""

    plan_name: str
    ends_at: datetime | None
    now_words: str | None
    rows: list[Row]
    may_pause: bool
    reasons: list[Row]


@dataclass(frozen=True)
class PausePage:
    plan_name: str
    rows: list[Row]


@dataclass(frozen=True)
class LeavePreviewPage:
    """A preview with money in it: ending at once, or going on. `shown` are the sums as they were saved."""

    preview: ChangePreview
    title: str
    shown: dict[str, Any]
    rows: list[Row]
    card: Card | None
    expired: bool
    button: str


@dataclass(frozen=True)
class LeaveOptions:
    """What the plan's card offers."""

    cancel: bool
    resume: bool
    pause: bool
    unpause: bool


def options(subscription: Subscription | None, *, allowed: bool) -> LeaveOptions:
    standing = standing_of(subscription)
    cancel = not standing.ending and (may("cancel", standing) or may("cancel_now", standing))
    can = {act: allowed and may(act, standing) for act in ("resume", "pause", "unpause")}
    return LeaveOptions(cancel=allowed and cancel, **can)


def cancel_page(team_id: str) -> CancelPage:
    subscription = live_subscription(team_id)
    assert subscription is not None, "who asks has a plan"
    standing = standing_of(subscription)
    by_itself = may("cancel", standing)
    return CancelPage(
        plan_name=name_of(subscription),
        ends_at=subscription.current_period_end if by_itself else None,
        now_words=_now_words(standing) if may("cancel_now", standing) else None,
        rows=consequences(subscription, "cancel" if by_itself else "cancel_now"),
        may_pause=may("pause", standing),
        reasons=REASONS,
    )


def pause_page(team_id: str) -> PausePage:
    subscription = live_subscription(team_id)
    assert subscription is not None, "who asks has a plan"
    return PausePage(name_of(subscription), consequences(subscription, "pause"))


def preview_page(team_id: str, preview: ChangePreview) -> LeavePreviewPage:
    subscription = _subscription_of(preview)
    name, ends = name_of(subscription), preview.kind == "cancel_now"
    button = "End the plan now" if ends else "Let the plan go on"
    if preview.amount_due:
        button = f"Pay {money_words(preview.amount_due, preview.currency)} and {button[0].lower()}{button[1:]}"
    return LeavePreviewPage(
        preview=preview,
        title=f"End {name} now" if ends else f"Let {name} go on",
        shown=shown_words(preview.shown),
        rows=consequences(subscription, "cancel_now", shares=bool(preview.params["give_back"]))
        if ends
        else going_on(preview, subscription),
        card=card_of(charged_payment_method(team_id)),
        expired=preview.expires_at <= clock.now(),
        button=button,
    )


def afterwards(change: PendingChange) -> list[Row]:
    """What the page says once it is done: the same as before it."""
    preview = db.session.execute(select(ChangePreview).where(ChangePreview.id == change.preview_id)).scalar_one()
    subscription = _subscription_of(preview)
    if preview.kind == "resume":
        return [
            ("Money", f"The next invoice comes on {day_of(subscription, comes_at(subscription))}."),
            *dropped(subscription),
        ]
    if preview.kind == "unpause":
        return going_on(preview, subscription)
    return consequences(subscription, preview.kind, shares=bool(preview.params.get("give_back")))


def _now_words(standing: Standing) -> str:
    if standing.status not in RUNNING:
        return "The plan does not run at the moment, so it ends at once."
    if standing.status == "past_due":
        return "Everything ends at once and nothing is given back. What is still billed you see before it is done."
    if standing.status != "active":
        return "Everything ends at once. Nothing is charged and nothing is given back."
    if standing.cancel_now == "prorate":
        return "The rest of the period is kept as balance for coming invoices. You see how much before it is done."
    return "Nothing is given back for the rest of the period. You see it once more before it is done."


def _subscription_of(preview: ChangePreview) -> Subscription:
    query = select(Subscription).where(Subscription.stripe_id == preview.subscription_stripe_id)
    return db.session.execute(query).scalar_one()
