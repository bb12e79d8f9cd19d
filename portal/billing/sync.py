"""A subscription's whole state in one fetch: itself, its latest invoice, its card, and the page it was bought on.

Every event about any of them brings all of them, so whichever arrives first, or alone, makes the mirror complete.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from portal.billing.checkout_mirror import mirror_checkout
from portal.billing.gateway import Gateway
from portal.billing.invoices import fetch_invoice, mirror_invoice
from portal.billing.leave_mail import course_of, tell_of_course
from portal.billing.mirror import Fetched, Json, ref
from portal.billing.models import Checkout, Invoice, Subscription
from portal.billing.payment_methods import fetch_payment_method, mirror_payment_method
from portal.billing.payments import record_end
from portal.billing.plan_change import wake_waiting
from portal.billing.subscriptions import fetch_subscription, mirror_subscription, rival_of
from portal.billing.trial_uses import record_trial
from portal.core.database import db
from portal.core.unit_of_work import end_read


@dataclass(frozen=True)
class SubscriptionState:
    """`rival` is the subscription that seems to hold the team's place, fetched anew when another one asks for it.
    `page` is the checkout page, as long as we have not heard that it is complete: the event of that may be lost.
    """

    subscription: Fetched
    rival: Fetched | None
    invoices: tuple[Fetched, ...]
    payment_method: Fetched | None
    page: Json | None


def fetch_subscription_state(gateway: Gateway, stripe_id: str, invoice: Fetched | None = None) -> SubscriptionState:
    """Fetch the subscription, its card and its latest invoice, unless that is the `invoice` which is here already."""
    subscription = fetch_subscription(gateway, stripe_id)
    card_id = ref(subscription.data.get("default_payment_method"))
    latest_id = ref(subscription.data.get("latest_invoice"))
    invoices: tuple[Fetched, ...] = (invoice,) if invoice else ()
    if latest_id is not None and (invoice is None or invoice.stripe_id != latest_id):
        invoices += (fetch_invoice(gateway, latest_id),)
    rival_id = rival_of(subscription)
    return SubscriptionState(
        subscription=subscription,
        rival=fetch_subscription(gateway, rival_id) if rival_id else None,
        invoices=invoices,
        payment_method=fetch_payment_method(gateway, card_id) if card_id else None,
        page=gateway.checkout_session_of_subscription(stripe_id) if _page_is_open(subscription.data) else None,
    )


def _page_is_open(subscription: Json) -> bool:
    """Whether we do not know yet that the page on which the subscription was bought has been paid."""
    checkout_id = (subscription.get("metadata") or {}).get("checkout_id")
    if checkout_id is None:
        return False
    unknown = (Checkout.id == checkout_id) & (Checkout.state != "complete")
    found = db.session.execute(select(Checkout.id).where(unknown)).scalar() is not None
    end_read()
    return found


def mirror_subscription_state(state: SubscriptionState) -> tuple[Subscription, list[Invoice]]:
    """Write all of it, in the current unit. Raises `StaleFetch` or `UnknownCustomer`, and then writes nothing."""
    if state.page is not None:
        mirror_checkout(state.page)
    if state.rival is not None:
        mirror_subscription(state.rival)  # the news that it has ended may come after the news of its successor
    before = course_of(state.subscription.stripe_id)
    subscription = mirror_subscription(state.subscription)
    tell_of_course(before, subscription)
    invoices = [mirror_invoice(fetched) for fetched in state.invoices]
    record_end(subscription)
    if state.payment_method is not None:
        mirror_payment_method(state.payment_method, subscription.team_id)
    wake_waiting(subscription.team_id)
    record_trial(subscription, (state.subscription.data.get("metadata") or {}).get("user_id"))
    return subscription, invoices
