"""Which add-ons a subscription is to have after a change: the one that was wished for, and those that go on beside a plan."""

from __future__ import annotations

from portal.billing.change_refused import ChangeRefused
from portal.billing.change_terms import Addons, Planned, Target, Terms
from portal.catalog.addon_queries import AddonPrice, addons_beside


def addons_wished(terms: Terms, addon_key: str, quantity: int) -> Addons:
    """The subscription's add-ons with so many of one. Raises `ChangeRefused`.

    Who has one keeps its price when it is sold at another by now. Of what is not sold any more there can be less, not more.
    """
    held = {price.addon_key: (price, number) for price, number in terms.addons}
    price, number = held.get(addon_key, (None, 0))
    offered = _offered(terms.plan.plan_key, terms.plan.interval).get(addon_key)
    if price is None and offered is None:
        raise ChangeRefused("no_addon")
    if quantity == number:
        raise ChangeRefused("nothing")
    if quantity > number and (offered is None or quantity > offered.quantity_max):
        most = offered.quantity_max if offered else number
        raise ChangeRefused("addon_most", addon=(offered or price).name, most=most)  # type: ignore[union-attr]
    chosen = price or offered
    assert chosen is not None, "one of both is there"
    wanted = held | {addon_key: (chosen, quantity)}
    return tuple((one, count) for one, count in wanted.values() if count)


def addons_kept(held: Addons, plan_key: str, interval: str) -> Addons:
    """Those that go on beside another plan. At the price they have, as long as they are paid as often; what is not sold with
    that plan ends.
    """
    offered = _offered(plan_key, interval)
    return tuple(
        (price if price.interval == offered[price.addon_key].interval else offered[price.addon_key], number)
        for price, number in held
        if price.addon_key in offered
    )


def addons_planned(coming: Planned, wanted: Addons, addon_key: str) -> Addons:
    """The add-ons of a planned change, when the team is to have these until then. Raises `ChangeRefused`: nobody buys what
    is about to end.
    """
    kept = addons_kept(wanted, coming.plan.plan_key, coming.plan.interval)
    has = {price.addon_key for price, _ in kept}
    if any(price.addon_key == addon_key for price, _ in wanted) and addon_key not in has:
        raise ChangeRefused("planned_addon", plan=coming.plan.plan_name)
    return kept


def refuse_loss(terms: Terms, target: Target, period_end: int) -> None:
    """A plan that comes when the period ends may end add-ons with it, but none that is paid for beyond that: Stripe gives
    nothing back when the period ends. Raises `ChangeRefused`.
    """
    kept = {price.addon_key for price, _ in target.addons}
    for item in terms.addon_items:
        if item.price.addon_key not in kept and item.paid_until > period_end:
            raise ChangeRefused("addon_paid_longer", addon=item.price.name, plan=target.plan.plan_name)


def addons_ending(terms: Terms, target: Target) -> list[str]:
    """The keys of the add-ons that a change ends."""
    kept = {price.addon_key for price, _ in target.addons}
    return [price.addon_key for price, _ in terms.addons if price.addon_key not in kept]


def _offered(plan_key: str, interval: str) -> dict[str, AddonPrice]:
    return {price.addon_key: price for price in addons_beside(plan_key, interval)}
