"""What became of a checkout page, read from Stripe and written to our row: any number of times, in any order."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from portal.billing.mirror import ref
from portal.billing.models import Checkout
from portal.core.clock import app_now
from portal.core.database import db

Json = dict[str, Any]

PAID = ("paid", "no_payment_required")
# What an intent is left in when the bank of a delayed payment has said no: nothing more comes of it.
OVER = ("requires_payment_method", "canceled")


def find_checkout(page: Json) -> Checkout | None:
    """The checkout of a page, locked: by the page's id, or by what we wrote into a page whose id we never learned.

    A page made elsewhere is not ours because it carries the same metadata: it has another id, or another team.
    """
    by_page = _locked(Checkout.stripe_id == page["id"])
    if by_page is not None:
        return by_page
    checkout_id = (page.get("metadata") or {}).get("checkout_id")
    return _locked(
        (Checkout.id == checkout_id)
        & (Checkout.team_id == page.get("client_reference_id"))
        & Checkout.stripe_id.is_(None)
    )


def _locked(condition: Any) -> Checkout | None:
    query = select(Checkout).where(condition).with_for_update()
    return db.session.execute(query, execution_options={"populate_existing": True}).scalar_one_or_none()


def mirror_checkout(page: Json) -> Checkout | None:
    """Write what became of a checkout page; unknown pages (made elsewhere on the account) are not ours to note.

    A row only moves forward, so that an older answer which lands last changes nothing: complete stays complete, and
    paid stays paid.
    """
    checkout = find_checkout(page)
    if checkout is None:
        return None
    checkout.stripe_id = page["id"]
    checkout.payment_intent_stripe_id = ref(page.get("payment_intent")) or checkout.payment_intent_stripe_id
    if page["status"] == "complete":
        _complete(checkout, page)
    elif page["status"] == "expired" and checkout.state in ("starting", "open", "replaced"):
        checkout.state = "expired"
    db.session.flush()
    return checkout


def _complete(checkout: Checkout, page: Json) -> None:
    if checkout.state != "complete":
        checkout.state = "complete"
        checkout.subscription_stripe_id = ref(page.get("subscription"))
        checkout.completed_at = app_now()
    if not checkout.paid:
        checkout.payment_status = payment_status_of(page)
        checkout.amount_total = page["amount_total"]
        checkout.paid_at = app_now() if checkout.payment_status in PAID else None


def payment_status_of(page: Json) -> str:
    """Stripe's word for how a complete page was paid, or `failed` when what it waited for will not come."""
    intent = page.get("payment_intent")
    unpaid = page["payment_status"] == "unpaid"
    if unpaid and isinstance(intent, dict) and intent["status"] in OVER:
        return "failed"
    return str(page["payment_status"])
