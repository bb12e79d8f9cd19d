"""What becomes of money, features, credits, seats and data when a plan is left, paused or let go on: said the same way before
it is done and after.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from portal.accounts.seats import members_of
from portal.billing.billing_mail import team_zone
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.leave_preview import BILLED_AT_THE_END, next_period_ends
from portal.billing.models import Subscription, SubscriptionItem
from portal.billing.recurring_price import price_words, recurring_price
from portal.catalog.current import catalog
from portal.catalog.metered_queries import metered_prices
from portal.catalog.models import Plan, PlanAccess
from portal.catalog.queries import free_plan, plan_by_key
from portal.core.database import db
from portal.core.times import day_words

Row = tuple[str, str]


def consequences(subscription: Subscription, act: str, *, shares: bool = False) -> list[Row]:
    """What becomes of everything, as pairs of what and how. `act` is cancel, cancel_now, pause, or ended for what is over;
    with `shares` the rest of the period is given back.
    """
    status = "paused" if act == "pause" else "canceled"
    plan = plan_by_key(subscription.plan_key or "")
    left = _left(plan, status)
    rows = [("Money", _money(subscription, act)), ("Features", _features(subscription, act, left))]
    if catalog().bundles or (plan is not None and plan.credits_monthly):
        rows.append(("Credits", _credits(subscription, act, left, shares=shares)))
    rows.append(("Seats", _seats(subscription, left)))
    rows.append(("Data", "Nothing is deleted. Usage, invoices, members and settings stay where they are."))
    if subscription.scheduled_plan_key and act not in ("cancel_now", "ended"):
        coming = plan_by_key(subscription.scheduled_plan_key)
        name = coming.name if coming else "another plan"
        rows.append(
            (
                "The planned change",
                f"to {name} is dropped, also when the plan goes on later. You can plan it anew then.",
            )
        )
    return rows


def _money(subscription: Subscription, act: str) -> str:
    day = day_of(subscription, subscription.current_period_end)
    if act == "pause":
        return (
            f"Nothing is charged while the plan is paused. What is paid for until {day} is not given back: let the plan go on"
            f" before that day and nothing is charged; later, a new period begins then and costs {_price(subscription)}."
        )
    if act == "ended":
        return "Nothing more is charged for the plan." + _open_invoice(subscription)
    if act == "cancel_now":
        return "Nothing more is charged for the plan." + _open_invoice(subscription) + _usage(subscription, now=True)
    if subscription.status == "trialing":
        return f"Nothing is charged. The trial goes on until {day}."
    until = _open_invoice(subscription) or f" It is paid for until {day}."
    return "Nothing more is charged for the plan." + until + _usage(subscription)


def _usage(subscription: Subscription, *, now: bool = False) -> str:
    """What is counted is charged after it was used."""
    if subscription.status not in BILLED_AT_THE_END:
        return ""
    prices = select(SubscriptionItem.stripe_price_id).where(SubscriptionItem.subscription_id == subscription.id)
    counted = metered_prices(list(db.session.execute(prices).scalars()))
    names = " and ".join(price.meter_name for price in counted)
    going_on = " What is used until you agree comes on top of what is shown." if now else ""
    told = f" What was used until then beyond what is included ({names}) is on a last invoice."
    return told + going_on if counted else ""


def _open_invoice(subscription: Subscription) -> str:
    owed = subscription.status in ("past_due", "unpaid")
    return " The open invoice stays to be paid: it is for time that the team had the plan." if owed else ""


def _features(subscription: Subscription, act: str, left: PlanAccess | None) -> str:
    name, free = name_of(subscription), free_plan()
    until = {
        "cancel": f"All of {name} works until {day_of(subscription, _end_of(subscription))}. Then ",
        "ended": "From now on ",
    }.get(act, "At once, ")
    if left is not None and left.access == "full":
        return f"{name} stays as it is."
    if left is not None and left.access == "read_only":
        return f"{until}what {name} has can be looked at and not be changed."
    return f"{until}the team is on {free.name}." if free else f"{until}the team has no plan."


def _credits(subscription: Subscription, act: str, left: PlanAccess | None, *, shares: bool) -> str:
    frozen = left is not None and left.credits_frozen
    day = day_of(subscription, _end_of(subscription))
    if act == "pause":
        held = "None can be spent until the plan goes on; what is not spent still ends on its own day."
        return (held if frozen else "What the team has can still be spent.") + " No plan credits are added."
    if shares:
        first = "Of this month's plan credits as large a share is taken back as is given back of the time; what was spent of it is owed."
    elif act == "cancel":
        first = f"Plan credits can be spent until {day}."
    else:
        first = "Plan credits stay until the day on which they end."
    return first + (
        " Afterwards no credit can be spent until the team has a plan again."
        if frozen
        else " What is left of bundles and gifts stays, and can be spent afterwards as well."
    )


def _seats(subscription: Subscription, left: PlanAccess | None) -> str:
    members, free = members_of(subscription.team_id), free_plan()
    if left is not None and (left.seats_kept or left.access != "none"):
        return "The team keeps its seats, and everybody stays."
    has = free.seats_included if free else 1
    if has is None:
        return "Everybody stays."
    seats = f"{has:,} seat{'' if has == 1 else 's'}"
    owner = free.name if free else "A team without a plan"
    stays = f"{owner} has {seats}"
    if members > has:
        return f"Everybody stays. {stays} and the team has {members:,} members, so nobody can be added."
    return f"{stays}; the team needs {members:,}."


def going_on(preview: ChangePreview, subscription: Subscription) -> list[Row]:
    until = day_of(subscription, next_period_ends(preview))
    name, plan = name_of(subscription), plan_by_key(subscription.plan_key or "")
    rows = [("Features", f"All of {name} works again at once.")]
    if preview.params["until"] is not None:
        rows.insert(0, ("Money", f"Nothing is charged: the period that is paid for goes on until {until}."))
        rows.append(("Credits", "What is left can be spent again at once."))
        return rows
    rows.insert(0, ("Money", f"A new period begins at once and lasts until {until}."))
    if plan is not None and plan.credits_monthly:
        rows.append(
            ("Credits", f"{plan.credits_monthly:,} are added once it is paid, and what is left can be spent again.")
        )
    return rows


def dropped(subscription: Subscription) -> list[Row]:
    """A change of plan that was planned before the plan was canceled is not planned any more."""
    query = (
        select(ChangePreview.basis)
        .join(PendingChange, PendingChange.preview_id == ChangePreview.id)
        .where(ChangePreview.subscription_stripe_id == subscription.stripe_id, ChangePreview.kind == "cancel")
        .order_by(PendingChange.created_at.desc())
    )
    basis = db.session.execute(query.limit(1)).scalar()
    if not basis or not basis["planned"]:
        return []
    return [
        (
            "The planned change",
            "that there was before the plan was canceled is not planned any more. You can plan it anew.",
        )
    ]


def _left(plan: Plan | None, status: str) -> PlanAccess | None:
    if plan is None:
        return None
    query = select(PlanAccess).where(PlanAccess.plan_id == plan.id, PlanAccess.status == status)
    return db.session.execute(query).scalar_one_or_none()


def name_of(subscription: Subscription) -> str:
    plan = plan_by_key(subscription.plan_key or "")
    return plan.name if plan else "The plan"


def _end_of(subscription: Subscription) -> datetime | None:
    return subscription.cancel_at or subscription.current_period_end


def day_of(subscription: Subscription, moment: datetime | None) -> str:
    return day_words(moment, team_zone(subscription.team_id)) if moment else "its end"


def _price(subscription: Subscription) -> str:
    price = recurring_price(subscription)
    return price_words(price) if price else "what the plan costs"
