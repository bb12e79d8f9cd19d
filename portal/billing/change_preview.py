"""The preview of a change: a wish against what is true at Stripe, kept for ten minutes as what will be done and charged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from portal.accounts.models import Team
from portal.accounts.seats import members_of
from portal.billing.change_addons import addons_ending
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.change_quote import quote
from portal.billing.change_refused import ChangeRefused
from portal.billing.change_rules import (
    CHANGEABLE,
    REASONS_OF_STATUS,
    Decision,
    Wish,
    addons_after,
    decide,
    seats_after,
)
from portal.billing.change_terms import (
    Planned,
    Target,
    Terms,
    basis_of,
    item_changes,
    ordered,
    period_of,
    planned,
    read_terms,
    target_items,
    wanted_quantities,
)
from portal.billing.checkout_order import CheckoutRefused
from portal.billing.gateway import Gateway, InvalidRequest
from portal.billing.leased_work import OPEN_STATES
from portal.billing.mirror import Json, ref
from portal.billing.models import Subscription
from portal.billing.promotion_codes import find_promotion_code, is_about_code
from portal.billing.subscriptions import live_subscription
from portal.catalog.queries import plan_by_key
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import end_read, unit_of_work

VALID_FOR = timedelta(minutes=10)


def make(gateway: Gateway, team: Team, user_id: str, wish: Wish) -> str:
    """Work out what a wish would bring and keep it; returns the preview's id.

    Raises `ChangeRefused` when it cannot be done, and `GatewayError`. Nothing is charged or changed.
    """
    subscription = changeable(team.id)
    members = members_of(team.id)
    end_read()
    live = gateway.subscription(subscription.stripe_id)
    discount = _discount(gateway, team.id, wish.promotion_code)
    now = int(clock.now().timestamp())
    refuse_status(live["status"])
    terms, coming = read_terms(live), planned(live)
    if terms is None:
        raise ChangeRefused("custom")
    trialing = live["status"] == "trialing"
    _, period_end = period_of(live)
    decision = decide(wish, terms, coming, trialing=trialing, members=members, period_end=period_end)
    params = _params(live, terms, coming, decision, wish, discount, now, members)
    end_read()
    try:
        shown = quote(gateway, live, params, period_end) if wish.kind != "undo" else unchanged(period_end)
    except InvalidRequest as error:
        if is_about_code(error) and (wish.promotion_code or (coming is not None and coming.discounts)):
            raise ChangeRefused("code_not_applicable" if wish.promotion_code else "planned_code") from error
        raise
    with unit_of_work() as session:
        made_at = clock.now()
        preview = ChangePreview(
            id=new_id("prev"),
            team_id=team.id,
            user_id=user_id,
            subscription_stripe_id=subscription.stripe_id,
            kind=wish.kind,
            timing=decision.timing,
            plan_key=decision.target.plan.plan_key,
            interval=decision.target.plan.interval,
            seats=decision.target.seats,
            promotion_code=wish.promotion_code,
            addon_key=wish.addon_key if wish.kind == "addon" else None,
            addon_quantity=wish.quantity if wish.kind == "addon" else None,
            params=params,
            basis=basis_of(live),
            shown=shown | {"addons_ending": addons_ending(terms, decision.target)},
            amount_due=shown["amount_due"],
            currency=live["currency"],
            proration_date=datetime.fromtimestamp(_within_period(live, now), UTC),
            created_at=made_at,
            expires_at=made_at + VALID_FOR,
        )
        session.add(preview)
    return preview.id


def changeable(team_id: str) -> Subscription:
    """The team's subscription, if it can be changed now as far as we know. Raises `ChangeRefused`."""
    subscription = live_subscription(team_id)
    if subscription is None:
        raise ChangeRefused("no_plan")
    if open_change(team_id) is not None:
        raise ChangeRefused("open")
    plan = plan_by_key(subscription.plan_key or "")
    if plan is None or plan.kind == "custom":
        raise ChangeRefused("custom")
    refuse_status(subscription.status)
    if subscription.cancel_at is not None:
        raise ChangeRefused("ending")
    return subscription


def open_change(team_id: str) -> PendingChange | None:
    """The change of the team that is on its way."""
    query = select(PendingChange).where(PendingChange.team_id == team_id, PendingChange.state.in_(OPEN_STATES))
    return db.session.execute(query).scalar_one_or_none()


def refuse_status(status: str) -> None:
    if status not in CHANGEABLE:
        raise ChangeRefused(REASONS_OF_STATUS.get(status, "no_plan"))


def _discount(gateway: Gateway, team_id: str, code: str | None) -> str | None:
    if not code:
        return None
    try:
        return find_promotion_code(gateway, team_id, code)
    except CheckoutRefused as refused:
        raise ChangeRefused(refused.reason) from refused


def _params(
    live: Json,
    terms: Terms,
    coming: Planned | None,
    decision: Decision,
    wish: Wish,
    discount: str | None,
    now: int,
    members: int,
) -> dict[str, Any]:
    """What Stripe will be asked for: an `update` at once, a plan for `then`, and whether what was planned is dropped.

    `wanted` are the items that the subscription has once the update was made, `rarer` the prices that in the end are not due
    with each period of the plan, `metered` those of what is billed by use.
    """
    target = decision.target
    params: dict[str, Any] = {"update": None, "wanted": None, "then": None, "release": wish.kind == "undo"}
    params["rarer"] = _paid_rarer(target)
    params["metered"] = sorted({str(price.stripe_price_id) for price in (*terms.metered, *target.metered)})
    if wish.kind == "undo":
        return params
    discounts = _kept_discounts(live) + ([{"promotion_code": discount}] if discount else [])
    if decision.timing == "period_end":
        return params | {"then": _then(terms, target, discounts)}
    update = {"items": item_changes(terms, target)} | _money(live, terms, target, wish, now)
    if discount:
        update["discounts"] = discounts  # left out, those that there are stay
    params |= {"update": update, "wanted": wanted_quantities(live, terms, target)}
    if wish.kind in ("seats", "addon") and coming is not None:
        seats = wish.kind == "seats"
        after = (
            seats_after(coming, target.seats or 0, members) if seats else addons_after(coming, target, wish.addon_key)
        )
        return params | {"then": _then(terms, after, _planned_discounts(live, coming)), "rarer": _paid_rarer(after)}
    return params | {"release": coming is not None}


def _paid_rarer(target: Target) -> list[str]:
    return [str(price.stripe_price_id) for price, _ in target.addons if price.interval != target.plan.interval]


def _then(terms: Terms, target: Target, discounts: list[Json]) -> Json:
    """The phase that begins when the period ends. `changes` are what brings the subscription there from what it is now."""
    return {
        "items": [ordered(price, number) for price, number in target_items(target)],
        "usage_ends": bool({price.price_id for price in terms.metered} - {price.price_id for price in target.metered}),
        "interval": target.plan.interval,
        "discounts": discounts,
        "changes": item_changes(terms, target),
    }


def _money(live: Json, terms: Terms, target: Target, wish: Wish, now: int) -> Json:
    """When it is paid for, from which instant on, and what happens when it is not paid.

    A change that waits for its payment cannot give a discount (https://docs.stripe.com/billing/subscriptions/pending-updates),
    so one with a code is made when it is paid, or not at all.
    """
    if live["status"] == "trialing":
        return {"proration_behavior": "none"}
    money: Json = {"proration_date": _within_period(live, now)}
    plan = plan_by_key(target.plan.plan_key)
    fewer = wish.kind == "seats" and target.seats_extra < terms.seats_extra
    later = wish.kind == "seats" and (fewer or (plan is not None and plan.seat_billing == "next_invoice"))
    if later or (wish.kind == "addon" and _is_less(terms, target)):
        return money | {"proration_behavior": "create_prorations"}
    behavior = "error_if_incomplete" if wish.promotion_code else "pending_if_incomplete"
    return money | {"proration_behavior": "always_invoice", "payment_behavior": behavior}


def _is_less(terms: Terms, target: Target) -> bool:
    return sum(number for _, number in target.addons) < sum(number for _, number in terms.addons)


def _within_period(live: Json, now: int) -> int:
    """Our clock may be a second before or behind Stripe's, and prorations begin within the period."""
    start, end = period_of(live)
    return min(max(now, start), end - 1)


def _kept_discounts(live: Json) -> list[Json]:
    return [{"discount": str(ref(one))} for one in live.get("discounts") or []]


def _planned_discounts(live: Json, coming: Planned) -> list[Json]:
    """What is taken off when a planned change begins: what was agreed to for it, and of the subscription's own what it still
    has. Where nothing was agreed to, it is the subscription's own as they are now, since they may have changed meanwhile.
    """
    kept = _kept_discounts(live)
    if all("discount" in one for one in coming.discounts):
        return kept
    return [one for one in coming.discounts if "discount" not in one or one in kept]


def unchanged(period_end: int) -> dict[str, Any]:
    """What moves no money."""
    return {
        "at_once": False, "lines": [], "subtotal": 0, "discount": 0, "tax": 0, "total": 0, "from_balance": 0,
        "amount_due": 0, "next_at": period_end, "next_total": None, "recurring_total": None, "recurring_tax": 0, "yearly": [],
    }  # fmt: skip
