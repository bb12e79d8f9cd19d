"""Buying a plan or a bundle on Stripe's checkout page.

`start` has three steps: a unit that decides and saves a row with frozen parameters, the calls to Stripe, a unit that
saves where the page is. Nothing is granted here; that happens when Stripe says that it was paid.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.accounts import audit
from portal.accounts.models import Team
from portal.billing import card_testing
from portal.billing.bundle_sale import allowance, bundles_allowed
from portal.billing.checkout_order import Buyer, CheckoutRefused, Order, ReturnAddresses, Started
from portal.billing.checkout_params import page_params
from portal.billing.customers import (
    IN_FLIGHT_PAUSE_SECONDS,
    IN_FLIGHT_TRIES,
    customer_is_deleted,
    ensure_customer,
    plan_customer,
)
from portal.billing.gateway import Failed, Gateway, GatewayError, InFlight, InvalidRequest, NotFound, Unavailable
from portal.billing.models import Checkout
from portal.billing.promotion_codes import find_promotion_code, is_about_code
from portal.billing.subscriptions import live_subscription
from portal.billing.trial_uses import trial_used
from portal.catalog.current import catalog
from portal.catalog.metered_queries import metered_prices_of
from portal.catalog.queries import BundlePrice, PlanPrice
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work

__all__ = ["Buyer", "CheckoutRefused", "Order", "ReturnAddresses", "Started", "start"]

Json = dict[str, Any]


@dataclass(frozen=True)
class _Place:
    """A row that was begun or found, and the pages of earlier ones that somebody may still have open."""

    checkout: Checkout
    earlier: list[str]


def start(gateway: Gateway, team: Team, buyer: Buyer, order: Order, addresses: ReturnAddresses) -> Started:
    """Begin a checkout, or find the one that this order has begun already, and say where its page is.

    Raises `CheckoutRefused` and `GatewayError`. Of the pages for plans at most one can be paid, so the team's earlier
    ones are closed first.
    """
    if order.promotion_code:
        with _deciding(team) as session:
            _begun(session, team, buyer, order)  # what is refused in any case is refused before Stripe is asked
        order = replace(order, discount=find_promotion_code(gateway, team.id, order.promotion_code))
    place = _take_place(team, buyer, order)
    if place.checkout.state == "open":
        found = _still_open(gateway, place.checkout)
        if found is not None:
            return found
        place = _take_place(team, buyer, order)
    checkout = place.checkout
    try:
        page = _make_page(gateway, place, buyer, order, addresses)
    except Failed:
        _set_state(checkout.id, "failed")  # its key will bring nothing else: the next try begins with another one
        raise
    except (Unavailable, InFlight):
        raise  # the page may exist, but nobody was sent to it: the next checkout takes its place or finds it
    except (GatewayError, CheckoutRefused):
        _set_state(checkout.id, "failed")
        raise
    if not _opened(checkout.id, page):
        _close_page(gateway, page["id"], checkout.id)
        raise CheckoutRefused("replaced")
    return Started(checkout.id, str(page["url"]))


def _take_place(team: Team, buyer: Buyer, order: Order) -> _Place:
    with _deciding(team) as session:
        known = _begun(session, team, buyer, order)
        if isinstance(order.item, PlanPrice):
            checkout = known or _begin_plan(session, team, buyer, order.item, order.key)
            return _Place(checkout, _to_close(session, team.id))
        return _Place(known or _begin_bundle(session, team, buyer, order.item, order.key or new_id("ord")), [])


@contextmanager
def _deciding(team: Team) -> Iterator[Session]:
    """A unit under the team's lock. The row is a weak lock: a full one would wait for everybody who writes a row that
    names the team, and they for us.
    """
    try:
        with unit_of_work() as session:
            session.execute(select(Team.id).where(Team.id == team.id).with_for_update(key_share=True))
            yield session
    except CheckoutRefused as refused:
        if refused.reason == "too_many":
            with unit_of_work():
                card_testing.warn(team.id)
        raise


def _begun(session: Session, team: Team, buyer: Buyer, order: Order) -> Checkout | None:
    """The checkout that this order has begun already; None when the team may begin one. Else raises."""
    if customer_is_deleted(team.id):
        raise CheckoutRefused("customer_deleted")
    if isinstance(order.item, PlanPrice):
        if live_subscription(team.id) is not None:
            raise CheckoutRefused("subscribed")
    elif not bundles_allowed(team.id):
        raise CheckoutRefused("no_bundles")
    known = _known(session, team.id, order.key)
    if isinstance(order.item, BundlePrice) and (known is None or known.state == "starting"):
        allowed = allowance(team.id, order.item, but=known)
        if allowed is not None and not allowed.left:
            raise CheckoutRefused("none_left")
    if known is None:
        card_testing.refuse_card_testing(team.id, buyer)
    return known


def _begin_plan(session: Session, team: Team, buyer: Buyer, price: PlanPrice, order_key: str | None) -> Checkout:
    """Take the team's one place for a plan. A replaced checkout counts until its page is known to be closed, however
    many tries that takes.
    """
    plans = (Checkout.team_id == team.id) & (Checkout.purpose == "plan")
    current = plans & Checkout.state.in_(("starting", "open"))
    session.execute(update(Checkout).where(current).values(state="replaced"))
    what = {"plan_key": price.plan_key, "order_key": order_key, **_price_values(price)}
    return _begin(session, team, buyer, purpose="plan", **what)


def _to_close(session: Session, team_id: str) -> list[str]:
    """The pages for plans that a newer checkout has replaced and that somebody may still have open."""
    replaced = (Checkout.team_id == team_id) & (Checkout.purpose == "plan") & (Checkout.state == "replaced")
    query = select(Checkout.stripe_id).where(replaced, Checkout.stripe_id.is_not(None))
    return [str(page_id) for page_id in session.execute(query).scalars()]


def _known(session: Session, team_id: str, order_key: str | None) -> Checkout | None:
    """The checkout that this very order has begun; none for an order without a key. Raises when it is paid."""
    if order_key is None:
        return None
    same = (Checkout.team_id == team_id) & (Checkout.order_key == order_key)
    query = select(Checkout).where(same, Checkout.state.in_(("starting", "open", "complete")))
    known = session.execute(query, execution_options={"populate_existing": True}).scalar_one_or_none()
    if known is not None and known.state == "complete":
        raise CheckoutRefused("ordered", known.id)
    return known


def _begin_bundle(session: Session, team: Team, buyer: Buyer, bundle: BundlePrice, order_key: str) -> Checkout:
    """Bundles stand in nobody's way: several may be open."""
    frozen = {
        "bundle_key": bundle.bundle_key,
        "credits": bundle.credits,
        "expires_after_months": bundle.expires_after_months,
        "order_key": order_key,
    }
    return _begin(session, team, buyer, purpose="bundle", **frozen, **_price_values(bundle))


def _price_values(price: PlanPrice | BundlePrice) -> Json:
    return {"price_id": price.price_id, "amount_cents": price.unit_amount_cents, "currency": price.currency}


def _begin(session: Session, team: Team, buyer: Buyer, **values: Any) -> Checkout:
    plan_customer(team, buyer.metadata)
    who = {"user_id": buyer.user_id, "api_key_id": buyer.api_key_id}
    checkout = Checkout(id=new_id("chk"), team_id=team.id, params={}, **who, **values)
    session.add(checkout)
    what = {name: values.get(name) for name in ("plan_key", "bundle_key", "amount_cents", "currency")}
    audit.record(buyer.actor, "checkout.started", team_id=team.id, target=checkout.id, **what)
    return checkout


def _still_open(gateway: Gateway, checkout: Checkout) -> Started | None:
    """Where this order's page is, if it can still be paid; None when it has expired meanwhile."""
    page = gateway.checkout_session(str(checkout.stripe_id))
    if page["status"] == "open":
        return Started(checkout.id, str(checkout.url))
    if page["status"] == "complete":
        raise CheckoutRefused("ordered", checkout.id)
    with unit_of_work() as session:
        mine = (Checkout.id == checkout.id) & (Checkout.state == "open")
        session.execute(update(Checkout).where(mine).values(state="expired"))
    return None


def _metered_prices(order: Order) -> list[str]:
    """Stripe's prices of what the plan counts."""
    if not isinstance(order.item, PlanPrice):
        return []
    return [str(price.stripe_price_id) for price in metered_prices_of(order.item.plan_key)]


def _make_page(gateway: Gateway, place: _Place, buyer: Buyer, order: Order, addresses: ReturnAddresses) -> Json:
    checkout = place.checkout
    customer_id = ensure_customer(gateway, checkout.team_id)
    for page_id in place.earlier:
        _close_page(gateway, page_id, checkout.id)
    closed = Checkout.stripe_id.in_(place.earlier) & (Checkout.state == "replaced")
    with unit_of_work() as session:
        used = _has_trial(order) and trial_used(checkout.team_id, buyer.user_id)
        options, metered = catalog().checkout, _metered_prices(order)
        params = page_params(checkout, order, buyer, customer_id, addresses, options, metered=metered, trial_used=used)
        session.execute(update(Checkout).where(closed).values(state="expired"))
        unset = (Checkout.id == checkout.id) & (Checkout.params == {})
        session.execute(update(Checkout).where(unset).values(params=params))
        frozen = session.execute(select(Checkout.params).where(Checkout.id == checkout.id)).scalar_one()
    try:
        return _create_page(gateway, frozen, f"checkout-{checkout.id}")
    except InvalidRequest as error:
        if order.discount is None or not is_about_code(error):
            raise
        raise CheckoutRefused("code_not_applicable") from error


def _has_trial(order: Order) -> bool:
    return isinstance(order.item, PlanPrice) and order.item.trial_days > 0


def _create_page(gateway: Gateway, params: Json, key: str) -> Json:
    """Everyone who sends the same order at once sends the same parameters under the same key, and gets one page."""
    for _ in range(IN_FLIGHT_TRIES):
        try:
            return gateway.create_checkout_session(params, key)
        except InFlight:
            time.sleep(IN_FLIGHT_PAUSE_SECONDS)
    raise InFlight("the page is being made by another request")


def _set_state(checkout_id: str, state: str) -> None:
    with unit_of_work() as session:
        session.execute(
            update(Checkout).where(Checkout.id == checkout_id, Checkout.state == "starting").values(state=state)
        )


def _opened(checkout_id: str, page: Json) -> bool:
    """Save where the page is, unless a newer checkout has taken the place meanwhile.

    Whoever sent the same order at the same moment may have saved it already: it is the same page.
    """
    values = {"state": "open", "stripe_id": page["id"], "url": page["url"]}
    with unit_of_work() as session:
        starting = (Checkout.id == checkout_id) & (Checkout.state == "starting")
        session.execute(update(Checkout).where(starting).values(values))
        state = session.execute(select(Checkout.state).where(Checkout.id == checkout_id)).scalar_one()
    return state == "open"


def _close_page(gateway: Gateway, page_id: str, checkout_id: str) -> None:
    """Close an earlier page for the sake of this checkout; if that one was paid meanwhile, nothing new may be bought.

    The key is this try's own: closing twice does no harm, and an old answer would say nothing of the page now.
    """
    try:
        gateway.expire_checkout_session(page_id, f"expire-{page_id}-{checkout_id}")
    except NotFound:
        return
    except InvalidRequest as error:
        status = gateway.checkout_session(page_id)["status"]
        if status == "complete":
            raise CheckoutRefused("paid") from error
        if status != "expired":
            raise
