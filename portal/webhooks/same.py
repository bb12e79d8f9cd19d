"""One look at Stripe for all events that ask for the same.

A purchase is told by half a dozen events, and each only says where to look. What was read after they had come, and is
written now, is what each of them would bring: they are done with it. In a storm this saves most calls and writes (Stripe
allows 25 reads a second), and a worker that was away catches up sooner.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, update

from portal.billing.purchases import Purchase
from portal.billing.sync import SubscriptionState
from portal.core.clock import app_now
from portal.core.database import db
from portal.webhooks import event_types as types
from portal.webhooks.counters import count_event
from portal.webhooks.envelope import THIN_PREFIX
from portal.webhooks.models import IS_WAITING, StripeEvent


@dataclass(frozen=True)
class Same:
    """Events of these types about these objects bring nothing that is not being written already."""

    types: tuple[str, ...]
    object_ids: tuple[str, ...]


def as_subscription(state: SubscriptionState | None) -> tuple[Same, ...]:
    """What asks for the same as a subscription's state does."""
    return (Same(types.SUBSCRIPTION, (state.subscription.stripe_id,)),) if state is not None else ()


def as_payment(purchase: Purchase) -> tuple[Same, ...]:
    """What asks for the same as a payment does. An intent with cards that were refused has more to it than its purchase."""
    intents = tuple(one.stripe_id for one in purchase.intents if one.stripe_id not in purchase.declines)
    return (Same(types.PAYMENT_INTENT, intents), *as_subscription(purchase.subscription))


def as_invoice(purchase: Purchase) -> tuple[Same, ...]:
    """What asks for the same as an invoice does."""
    invoice = (Same(types.INVOICE, (purchase.invoice.stripe_id,)),) if purchase.invoice is not None else ()
    return (*invoice, *as_payment(purchase))


def settle_same(event_id: str, read_since: datetime, same: Iterable[Same]) -> None:
    """Settle, in the current unit, what waits and asks for the same. What came after `read_since`, by the database's
    real time, may tell of something newer and keeps waiting; so does what another worker has under its lease.
    """
    asked = [
        StripeEvent.object_id.in_(one.object_ids) & StripeEvent.type.in_(_both_forms(one.types))
        for one in same
        if one.object_ids
    ]
    if not asked:
        return
    settled = db.session.execute(
        update(StripeEvent)
        .where(
            or_(*asked),
            IS_WAITING,
            StripeEvent.lease_until.is_(None),
            StripeEvent.received_at <= read_since,
        )
        .values(state="done", finished_at=app_now(), last_error=f"applied with {event_id}")
        .returning(StripeEvent.type)
        .execution_options(synchronize_session=False)
    )
    for event_type in settled.scalars():
        count_event(event_type, "done")


def _both_forms(event_types: tuple[str, ...]) -> tuple[str, ...]:
    return event_types + tuple(THIN_PREFIX + event_type for event_type in event_types)
