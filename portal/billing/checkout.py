"""Buying a plan on Stripe's checkout page.

`start` has three steps: a unit that decides and saves a row with frozen parameters, the calls to Stripe, a unit that
saves where the page is. Nothing is granted here; that happens when Stripe says that it was paid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal.accounts.models import Team
from portal.billing.customers import ensure_customer, plan_customer
from portal.billing.gateway import Gateway, GatewayError, InvalidRequest, NotFound, Unavailable
from portal.billing.models import Checkout
from portal.billing.subscriptions import live_subscription
from portal.catalog.queries import PlanPrice
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work


class CheckoutRefused(Exception):
    """The team may not begin this checkout; `reason` is `subscribed`, `paid` or `replaced`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ReturnAddresses:
    """Where Stripe sends the browser, each with `{checkout_id}` in it."""

    success: str
    cancel: str


def start(gateway: Gateway, team: Team, user_id: str, price: PlanPrice, addresses: ReturnAddresses) -> str:
    """Begin a checkout and return the address of Stripe's page.

    Raises `CheckoutRefused` and `GatewayError`. The team's earlier pages are closed first, so that at most one can be
    paid.
    """
    with unit_of_work() as session:
        checkout, earlier = _begin(session, team, user_id, price)
    try:
        page = _make_page(gateway, checkout, earlier, price, addresses)
    except Unavailable:
        raise  # the page may exist, but nobody was sent to it: the next checkout takes its place
    except (GatewayError, CheckoutRefused):
        _set_state(checkout.id, "failed")
        raise
    if not _opened(checkout.id, page):
        _close_page(gateway, page["id"], checkout.id)
        raise CheckoutRefused("replaced")
    return str(page["url"])


def _make_page(
    gateway: Gateway, checkout: Checkout, earlier: list[str], price: PlanPrice, addresses: ReturnAddresses
) -> dict[str, Any]:
    customer_id = ensure_customer(gateway, checkout.team_id)
    for page_id in earlier:
        _close_page(gateway, page_id, checkout.id)
    params = _params(checkout, customer_id, price, addresses)
    closed = Checkout.stripe_id.in_(earlier) & (Checkout.state == "replaced")
    with unit_of_work() as session:
        session.execute(update(Checkout).where(closed).values(state="expired"))
        session.execute(update(Checkout).where(Checkout.id == checkout.id).values(params=params))
    return gateway.create_checkout_session(params, f"checkout-{checkout.id}")


def _set_state(checkout_id: str, state: str) -> None:
    with unit_of_work() as session:
        session.execute(
            update(Checkout).where(Checkout.id == checkout_id, Checkout.state == "starting").values(state=state)
        )


def _begin(session: Session, team: Team, user_id: str, price: PlanPrice) -> tuple[Checkout, list[str]]:
    """Take the team's one place for a checkout; returns it, and the pages that somebody may still have open.

    The team's row is the lock, a weak one: a full one would wait for everybody who writes a row that names the team,
    and they for us. A replaced checkout counts until its page is known to be closed, however many tries that takes.
    """
    session.execute(select(Team.id).where(Team.id == team.id).with_for_update(key_share=True))
    if live_subscription(team.id) is not None:
        raise CheckoutRefused("subscribed")
    mine = Checkout.team_id == team.id
    current = mine & Checkout.state.in_(("starting", "open"))
    session.execute(update(Checkout).where(current).values(state="replaced"))
    to_close = select(Checkout.stripe_id).where(mine, Checkout.state == "replaced", Checkout.stripe_id.is_not(None))
    earlier = [str(page_id) for page_id in session.execute(to_close).scalars()]
    plan_customer(team, user_id)
    checkout = Checkout(
        id=new_id("chk"), team_id=team.id, user_id=user_id, plan_key=price.plan_key, price_id=price.price_id, params={}
    )
    session.add(checkout)
    return checkout, earlier


def _params(checkout: Checkout, customer_id: str, price: PlanPrice, addresses: ReturnAddresses) -> dict[str, Any]:
    metadata = {
        "team_id": checkout.team_id,
        "user_id": checkout.user_id,
        "checkout_id": checkout.id,
        "plan": price.plan_key,
        "source": "turnpike",
    }
    subscription: dict[str, Any] = {"metadata": metadata}
    if price.trial_days:
        subscription["trial_period_days"] = price.trial_days
    return {
        "mode": "subscription",
        "customer": customer_id,
        "client_reference_id": checkout.team_id,
        "line_items": [{"price": price.stripe_price_id, "quantity": 1}],
        "subscription_data": subscription,
        # A trial asks for the card too: what is free today is paid without asking later.
        "payment_method_collection": "always",
        "metadata": metadata,
        "success_url": addresses.success.format(checkout_id=checkout.id),
        "cancel_url": addresses.cancel.format(checkout_id=checkout.id),
    }


def _opened(checkout_id: str, page: dict[str, Any]) -> bool:
    """Save where the page is, unless a newer checkout has taken the place meanwhile."""
    with unit_of_work() as session:
        opened = session.execute(
            update(Checkout)
            .where(Checkout.id == checkout_id, Checkout.state == "starting")
            .values(state="open", stripe_id=page["id"], url=page["url"])
            .returning(Checkout.id)
        ).scalar()
    return opened is not None


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


def find_checkout(stripe_id: str, checkout_id: str | None) -> Checkout | None:
    """The checkout of a page: by the page's id, or by the id we put into its metadata."""
    query = select(Checkout).where((Checkout.stripe_id == stripe_id) | (Checkout.id == checkout_id)).with_for_update()
    return db.session.execute(query, execution_options={"populate_existing": True}).scalars().first()


def mirror_checkout(page: dict[str, Any]) -> Checkout | None:
    """Write what became of a checkout page; unknown pages (made elsewhere on the account) are not ours to note."""
    checkout = find_checkout(page["id"], (page.get("metadata") or {}).get("checkout_id"))
    if checkout is None:
        return None
    checkout.stripe_id = page["id"]
    if page["status"] == "complete" and checkout.state != "complete":
        checkout.state = "complete"
        checkout.subscription_stripe_id = page.get("subscription")
        checkout.completed_at = app_now()
    elif page["status"] == "expired" and checkout.state in ("starting", "open", "replaced"):
        checkout.state = "expired"
    db.session.flush()
    return checkout
