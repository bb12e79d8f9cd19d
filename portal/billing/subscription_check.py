"""The daily look whether our rows of subscriptions are what Stripe has, and whether a team's members fit its seats.

What differs is fetched anew by the same way as after an event, which may have been lost. Seats are compared with the members
once that is done: however often people came and went in a day, it is one look. Seats cost money, and nobody has agreed to
any that would be bought here, so that a team with more members than seats is an alarm and not a charge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import structlog
from sqlalchemy import func, select

from portal.accounts.models import Membership
from portal.billing.gateway import OUTAGE, Gateway
from portal.billing.mirror import Json, NotYet, StaleFetch, ref
from portal.billing.models import LIVE_STATUSES, Customer, Subscription, SubscriptionItem
from portal.billing.subscriptions import item_values, subscription_values
from portal.billing.sync import SubscriptionState, fetch_subscription_state
from portal.catalog.models import Plan, Price
from portal.core import alarms
from portal.core.database import db
from portal.core.schedule import SomeFailed
from portal.core.unit_of_work import end_read, unit_of_work

log = structlog.get_logger(__name__)

Apply = Callable[[SubscriptionState], object]
MORE_MEMBERS = "more_members_than_seats"


def check(stripe: Gateway, apply: Apply) -> int:
    """Compare every subscription that lives here or there, mend what differs, look at the seats; returns how many were mended.

    Raises `GatewayError`, and `SomeFailed` when all are looked at and some could not be mended.
    """
    mended = failed = 0
    for stripe_id in list(differing(stripe)):
        try:
            mended += _mend(stripe, stripe_id, apply)
        except OUTAGE:
            raise
        except Exception:  # whatever it is, it is this subscription's
            log.exception("subscription_not_mended", subscription_id=stripe_id)
            failed += 1
    with unit_of_work():
        alarms.keep_up(MORE_MEMBERS, more_members_than_seats())
    if failed:
        raise SomeFailed(f"{failed} subscriptions could not be mended")
    return mended


def differing(stripe: Gateway) -> Iterator[str]:
    """Stripe's ids of our customers' subscriptions of which our rows say something else, one call for a hundred of them."""
    seen = set[str]()
    for page in stripe.live_subscriptions():
        seen |= {subscription["id"] for subscription in page}
        found = _differing_of(page)
        end_read()
        yield from found
    lives = Subscription.status.in_(LIVE_STATUSES)
    ours = set(db.session.execute(select(Subscription.stripe_id).where(lives)).scalars())
    end_read()
    yield from sorted(ours - seen)  # it has ended there


def _differing_of(page: list[Json]) -> list[str]:
    customers = [str(ref(subscription["customer"])) for subscription in page]
    known = set(db.session.execute(select(Customer.stripe_id).where(Customer.stripe_id.in_(customers))).scalars())
    theirs = [subscription for subscription in page if ref(subscription["customer"]) in known]
    return [subscription["id"] for subscription in theirs if _differs(subscription)]


def _differs(subscription: Json) -> bool:
    query = select(Subscription).where(Subscription.stripe_id == subscription["id"])
    row = db.session.execute(query, execution_options={"populate_existing": True}).scalar_one_or_none()
    if row is None:
        return True
    items = select(SubscriptionItem).where(SubscriptionItem.subscription_id == row.id)
    ours = db.session.execute(items, execution_options={"populate_existing": True}).scalars()
    wanted = [item_values(item) for item in subscription["items"]["data"]]
    return _says_otherwise(row, subscription_values(subscription)) or _by_id(wanted) != _by_id(
        [{name: getattr(item, name) for name in wanted[0]} for item in ours]
    )


def _says_otherwise(row: Subscription, values: dict[str, Any]) -> bool:
    return any(getattr(row, name) != value for name, value in values.items())


def _by_id(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: str(item["stripe_id"]))


def _mend(stripe: Gateway, stripe_id: str, apply: Apply) -> bool:
    state = fetch_subscription_state(stripe, stripe_id)
    try:
        with unit_of_work():
            apply(state)
    except (StaleFetch, NotYet) as reason:  # an event has just brought it, or will
        log.info("subscription_left_as_it_is", subscription_id=stripe_id, reason=str(reason))
        return False
    log.warning("subscription_mended", subscription_id=stripe_id)
    return True


def more_members_than_seats() -> dict[str, dict[str, Any]]:
    """Teams with a subscription whose members are more than the seats it has, by team."""
    extra = (
        select(func.coalesce(func.sum(SubscriptionItem.quantity), 0))
        .join(Price, Price.stripe_price_id == SubscriptionItem.stripe_price_id)
        .where(SubscriptionItem.subscription_id == Subscription.id, Price.purpose == "seat")
        .scalar_subquery()
    )
    members = select(func.count()).where(Membership.team_id == Subscription.team_id).scalar_subquery()
    seats = (Plan.seats_included + extra).label("seats")
    query = (
        select(Subscription.team_id, members.label("members"), seats)
        .join(Plan, Plan.key == Subscription.plan_key)
        .where(Subscription.status.in_(LIVE_STATUSES), Subscription.duplicate.is_(False))
        .where(members > seats)
    )
    return {row.team_id: {"members": row.members, "seats": row.seats} for row in db.session.execute(query)}
