"""The add-ons of a team, and the view model of the page of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from portal.billing.change_preview import changeable
from portal.billing.change_refusals import change_refusal
from portal.billing.change_refused import ChangeRefused
from portal.billing.models import Subscription, SubscriptionItem
from portal.billing.refusals import Refusal
from portal.billing.subscriptions import live_subscription
from portal.catalog.addon_queries import AddonPrice, addon_for_stripe_price, addons_beside
from portal.catalog.queries import plan_by_key
from portal.core.database import db


@dataclass(frozen=True)
class AddonRow:
    """An add-on as the page shows it: how many the team has, and how many it can have. `sold` is false for what can only be given up."""

    price: AddonPrice
    quantity: int
    most: int
    sold: bool


@dataclass(frozen=True)
class AddonsPage:
    """`refusal` says why nothing can be changed at the moment, `wrong` of which add-on the number was none."""

    plan_name: str
    rows: list[AddonRow]
    refusal: Refusal | None
    wrong: str | None


def addon_items(subscription: Subscription) -> list[tuple[AddonPrice, int]]:
    """The add-ons of a subscription: what each costs, and how many there are."""
    query = select(SubscriptionItem.stripe_price_id, SubscriptionItem.quantity)
    rows = db.session.execute(query.where(SubscriptionItem.subscription_id == subscription.id)).all()
    found = [(addon_for_stripe_price(price_id), number) for price_id, number in rows]
    return sorted(
        ((price, number) for price, number in found if price is not None and number), key=lambda one: one[0].name
    )


def addon_words(held: Iterable[tuple[AddonPrice, int]]) -> str:
    """`Audit log, 2 times Another year of history` (with a sign for times), or `None`."""
    return ", ".join(counted(price.name, number) for price, number in held) or "None"


def counted(name: str, number: int) -> str:
    return name if number == 1 else f"{number:,} \u00d7 {name}"


def addons_page(team_id: str, wrong: str | None = None) -> AddonsPage:
    subscription = live_subscription(team_id)
    plan = plan_by_key(subscription.plan_key or "") if subscription else None
    return AddonsPage(
        plan_name=plan.name if plan else "",
        rows=_rows(subscription) if subscription else [],
        refusal=_refusal(team_id),
        wrong=wrong,
    )


def _rows(subscription: Subscription) -> list[AddonRow]:
    """What the plan sells, in the catalog's order, then what is left of what it does not sell any more."""
    held = {price.addon_key: (price, number) for price, number in addon_items(subscription)}
    rows = []
    for offered in addons_beside(subscription.plan_key or "", subscription.interval or ""):
        price, number = held.pop(offered.addon_key, (offered, 0))
        rows.append(AddonRow(price, number, max(offered.quantity_max, number), sold=True))
    return rows + [AddonRow(price, number, number, sold=False) for price, number in held.values()]


def _refusal(team_id: str) -> Refusal | None:
    try:
        changeable(team_id)
    except ChangeRefused as reason:
        return change_refusal(reason, team_id, "addon")[0]
    return None
