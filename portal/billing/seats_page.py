"""The view model of the page of seats."""

from __future__ import annotations

from dataclasses import dataclass

from portal.billing.change_preview import changeable
from portal.billing.change_refusals import change_refusal
from portal.billing.change_refused import ChangeRefused
from portal.billing.refusals import Refusal
from portal.billing.seats import Seats, seats_of
from portal.billing.subscriptions import live_subscription
from portal.catalog.models import Plan
from portal.catalog.queries import PlanPrice, plan_by_key, price_for


@dataclass(frozen=True)
class SeatsPage:
    """`seat` is what a further one costs, None where none is sold. `refusal` says why their number cannot be changed."""

    seats: Seats
    plan_name: str
    seat: PlanPrice | None
    paid_now: bool
    refusal: Refusal | None
    error: str | None


def seats_page(team_id: str, error: str | None = None) -> SeatsPage:
    subscription = live_subscription(team_id)
    plan: Plan | None = plan_by_key(subscription.plan_key or "") if subscription else None
    seat = price_for(plan.key, subscription.interval or "", "seat") if plan and subscription else None
    return SeatsPage(
        seats=seats_of(team_id),
        plan_name=plan.name if plan else "",
        seat=seat,
        paid_now=plan is not None and plan.seat_billing == "now",
        refusal=_refusal(team_id),
        error=error,
    )


def _refusal(team_id: str) -> Refusal | None:
    try:
        changeable(team_id)
    except ChangeRefused as reason:
        return change_refusal(reason, team_id, "seats")[0]
    return None
