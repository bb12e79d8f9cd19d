"""The mirror of subscriptions, and which of them is the team's own."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import delete, select

from portal.billing.change_terms import planned
from portal.billing.gateway import Gateway
from portal.billing.mirror import Fetched, Json, fetch, lock_customer, moment, ref, store
from portal.billing.models import LIVE_STATUSES, Customer, Subscription, SubscriptionItem
from portal.catalog.queries import plan_for_stripe_price
from portal.core.alarms import raise_alarm
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import end_read

log = structlog.get_logger(__name__)


def live_subscription(team_id: str) -> Subscription | None:
    """The subscription that holds the team's one place; duplicates do not."""
    query = select(Subscription).where(
        Subscription.team_id == team_id, Subscription.status.in_(LIVE_STATUSES), Subscription.duplicate.is_(False)
    )
    return db.session.execute(query).scalar_one_or_none()


def fetch_subscription(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(Subscription, stripe_id, gateway.subscription)


def rival_of(fetched: Fetched) -> str | None:
    """Another subscription that holds the team's place as far as we know, when this one is new to us."""
    if fetched.gen:
        return None
    query = (
        select(Subscription.stripe_id)
        .join(Customer, Customer.team_id == Subscription.team_id)
        .where(Customer.stripe_id == ref(fetched.data["customer"]), Subscription.stripe_id != fetched.stripe_id)
        .where(Subscription.status.in_(LIVE_STATUSES), Subscription.duplicate.is_(False))
    )
    found = db.session.execute(query).scalar()
    end_read()
    return found


def mirror_subscription(fetched: Fetched) -> Subscription:
    """Write the subscription and its items. Raises `UnknownCustomer` or `StaleFetch`.

    A second live subscription of a team is marked as a duplicate, raises an alarm and is granted nothing: Stripe took
    money for it, so a person must refund it; what must not happen is that it counts.
    """
    data = fetched.data
    customer = lock_customer(str(ref(data["customer"])))
    subscription = store(
        Subscription,
        "subn",
        fetched,
        {"team_id": customer.team_id, **subscription_values(data)}
        | {
            "duplicate": _is_duplicate(customer.team_id, fetched.stripe_id, data["status"]),
        },
    )
    if subscription.duplicate and data["status"] in LIVE_STATUSES:
        raise_alarm("second_subscription", fetched.stripe_id, team_id=customer.team_id)
    if subscription.live and subscription.plan_key is None:
        raise_alarm("unknown_plan", fetched.stripe_id, team_id=customer.team_id)
    _mirror_items(subscription, data)
    return subscription


def _is_duplicate(team_id: str, stripe_id: str, status: str) -> bool:
    """Whether another subscription already holds the team's place. Once a duplicate, always one."""
    known = db.session.execute(select(Subscription.duplicate).where(Subscription.stripe_id == stripe_id)).scalar()
    if known is not None:
        return bool(known)
    if status not in LIVE_STATUSES:
        return False
    return live_subscription(team_id) is not None


def subscription_values(data: Json) -> dict[str, Any]:
    """The columns of our row that follow from Stripe's object."""
    plan_item = _plan_item(data)
    price = plan_item["price"]
    plan_price = plan_for_stripe_price(price["id"])
    return {
        "status": data["status"],
        "plan_key": plan_price.plan_key if plan_price else None,
        "price_id": plan_price.price_id if plan_price else None,
        "interval": (price.get("recurring") or {}).get("interval"),
        "unit_amount": price.get("unit_amount"),
        "currency": data["currency"],
        "default_payment_method": ref(data.get("default_payment_method")),
        "latest_invoice": ref(data.get("latest_invoice")),
        "started_at": moment(data["created"]),
        "current_period_start": moment(plan_item["current_period_start"]),
        "current_period_end": moment(plan_item["current_period_end"]),
        "trial_start": moment(data.get("trial_start")),
        "trial_end": moment(data.get("trial_end")),
        "cancel_at": _cancel_at(data, plan_item),
        "canceled_at": moment(data.get("canceled_at")),
        "ended_at": moment(data.get("ended_at")),
        **_canceled_why(data),
        "paused_at": _paused_at(data),
        **_scheduled(data),
    }


def _scheduled(data: Json) -> dict[str, Any]:
    """The schedule, and the change of plan that it brings next."""
    coming = planned(data)
    return {
        "schedule_stripe_id": ref(data.get("schedule")),
        "scheduled_at": moment(coming.at) if coming else None,
        "scheduled_plan_key": coming.plan.plan_key if coming else None,
        "scheduled_interval": coming.plan.interval if coming else None,
        "scheduled_seats_extra": coming.seats_extra if coming else None,
        "scheduled_addons": {price.addon_key: number for price, number in coming.addons} if coming else None,
    }


def _plan_item(data: Json) -> Json:
    """The item whose price is a plan's; the first one when the catalog knows none of them."""
    items: list[Json] = data["items"]["data"]
    plans = [
        item for item in items if (known := plan_for_stripe_price(item["price"]["id"])) and known.purpose == "plan"
    ]
    return (plans or items)[0]


def _canceled_why(data: Json) -> dict[str, Any]:
    details = data.get("cancellation_details") or {}
    return {f"cancel_{name}": _storable(details.get(name)) for name in ("reason", "feedback", "comment")}


def _storable(text: str | None) -> str | None:
    """People write the comment, and the database knows no NUL."""
    return text.replace("\0", "") or None if text else None


def _paused_at(data: Json) -> Any:
    return moment(((data.get("status_details") or {}).get("paused") or {}).get("transitioned_at"))


def _cancel_at(data: Json, plan_item: Json) -> Any:
    """When it ends by itself: flexible billing sets `cancel_at`, the older way only the flag."""
    if data.get("cancel_at") is not None:
        return moment(data["cancel_at"])
    return moment(plan_item["current_period_end"]) if data.get("cancel_at_period_end") else None


def _mirror_items(subscription: Subscription, data: Json) -> None:
    db.session.execute(delete(SubscriptionItem).where(SubscriptionItem.subscription_id == subscription.id))
    for item in data["items"]["data"]:
        db.session.add(
            SubscriptionItem(
                id=new_id("sitem"),
                subscription_id=subscription.id,
                team_id=subscription.team_id,
                **item_values(item),
            )
        )
    db.session.flush()


def item_values(item: Json) -> dict[str, Any]:
    """The same for one of its items."""
    return {
        "stripe_id": item["id"],
        "stripe_price_id": item["price"]["id"],
        "quantity": 1 if item.get("quantity") is None else item["quantity"],
        "unit_amount": item["price"].get("unit_amount"),
        "current_period_start": moment(item["current_period_start"]),
        "current_period_end": moment(item["current_period_end"]),
    }
