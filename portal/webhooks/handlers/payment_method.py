"""`payment_method.attached`, `.updated` and `.detached`: a customer's card came, changed or went."""

from __future__ import annotations

from portal.billing.gateway import gateway
from portal.billing.payment_methods import fetch_payment_method, mirror_attachment
from portal.webhooks.claim import Claimed, applying


def on_payment_method(event: Claimed) -> None:
    fetched = fetch_payment_method(gateway(), str(event.object_id))
    with applying(event):
        mirror_attachment(fetched)
