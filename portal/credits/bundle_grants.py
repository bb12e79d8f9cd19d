"""Credits of a bundle: granted once its checkout is paid, once for a checkout.

The key of a grant is the page that was paid, so that several events about one purchase, in any order and number, grant
once. What is given and until when was frozen when the checkout began.
"""

from __future__ import annotations

from datetime import datetime

from portal.billing.models import Checkout
from portal.credits import ledger
from portal.credits.periods import period


def grant_for_checkout(checkout: Checkout) -> bool:
    """Grant what a paid checkout of a bundle has bought; whether it had an effect. Any other checkout gives nothing."""
    if checkout.purpose != "bundle" or checkout.credits is None or not checkout.paid:
        return False
    return ledger.grant(
        checkout.team_id,
        kind="bundle",
        amount=checkout.credits,
        cause_key=cause_key(checkout),
        source=f"Bundle of {checkout.credits:,}",
        expires_at=expires_at(checkout),
    )


def cause_key(checkout: Checkout) -> str:
    """What a refund of the purchase has to name, too."""
    return f"bundle:{checkout.stripe_id}"


def expires_at(checkout: Checkout) -> datetime | None:
    """So many months after it was paid, on the same day where the month has one; None is never."""
    if checkout.paid_at is None or checkout.expires_after_months is None:
        return None
    return period(checkout.paid_at, "month", checkout.expires_after_months)[0]
