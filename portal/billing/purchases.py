"""A purchase as Stripe knows it: an invoice or a checkout page, the intents that paid it, what was refunded and disputed.

Events about an invoice, a payment, a refund or a dispute are all about one purchase, and each brings the whole of it. So they may
come in any order and number, and the mirror is the same in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from portal.billing.card_testing import note_decline
from portal.billing.disputes import fetch_disputes_of, mirror_dispute
from portal.billing.gateway import Gateway
from portal.billing.invoices import fetch_invoice, mirror_invoice, subscription_of
from portal.billing.mirror import Fetched, Json, ref
from portal.billing.models import Invoice, Payment, Subscription
from portal.billing.pay_now import wake_tries
from portal.billing.payments import fetch_intent, mirror_intent, mirror_rest
from portal.billing.refunds import fetch_refunds_of, mirror_refund
from portal.billing.sync import SubscriptionState, fetch_subscription_state, mirror_subscription_state


@dataclass(frozen=True)
class Purchase:
    """`page` is the checkout page of what was bought without a subscription; `refunds`, `disputes` and `declines`, the
    charges that a bank refused on a page of ours, stand under their intent's id.
    """

    invoice: Fetched | None
    subscription: SubscriptionState | None
    page: Json | None
    intents: tuple[Fetched, ...]
    refunds: dict[str, tuple[Fetched, ...]]
    disputes: dict[str, tuple[Fetched, ...]]
    declines: dict[str, tuple[str, ...]]

    @property
    def undone(self) -> bool:
        """Whether anything of it went back, or may."""
        return bool(self.claims)

    @property
    def claims(self) -> set[str]:
        """The refunds and disputes that it has brought, by their ids at Stripe."""
        brought = (*self.refunds.values(), *self.disputes.values())
        return {fetched.stripe_id for of_intent in brought for fetched in of_intent}


@dataclass(frozen=True)
class Mirrored:
    """The rows that a purchase was written to, as far as credits depend on them."""

    subscription: Subscription | None
    invoices: list[Invoice]
    payments: list[Payment]


def fetch_purchase_of_invoice(
    gateway: Gateway, invoice_id: str, refunded: str | None = None, disputed: str | None = None
) -> Purchase:
    """The purchase of an invoice. Of the intent `refunded` the refunds are wanted in any case, of `disputed` the disputes."""
    invoice = fetch_invoice(gateway, invoice_id)
    subscription_id = subscription_of(invoice.data)
    payments = gateway.payments_of_invoice(invoice_id)
    intent_ids = dict.fromkeys(filter(None, (ref(payment["payment"].get("payment_intent")) for payment in payments)))
    intents = tuple(fetch_intent(gateway, intent_id) for intent_id in intent_ids)
    return Purchase(
        invoice=invoice,
        subscription=fetch_subscription_state(gateway, subscription_id, invoice) if subscription_id else None,
        page=gateway.checkout_session_of(intents[0].stripe_id) if intents and not subscription_id else None,
        intents=intents,
        refunds=_refunds(gateway, intents, refunded),
        disputes=_disputes(gateway, intents, disputed),
        declines=_declines(gateway, intents),
    )


def fetch_purchase_of_intent(
    gateway: Gateway, intent_id: str, *, refunds: bool = False, disputes: bool = False
) -> Purchase:
    """The purchase that an intent pays for. The intent is read first: what it pays for may become known meanwhile."""
    intent = fetch_intent(gateway, intent_id)
    refunded, disputed = intent_id if refunds else None, intent_id if disputes else None
    if invoice_id := gateway.invoice_of(intent_id):
        return fetch_purchase_of_invoice(gateway, invoice_id, refunded, disputed)
    return Purchase(
        invoice=None,
        subscription=None,
        page=gateway.checkout_session_of(intent_id),
        intents=(intent,),
        refunds=_refunds(gateway, (intent,), refunded),
        disputes=_disputes(gateway, (intent,), disputed),
        declines=_declines(gateway, (intent,)),
    )


def _refunds(gateway: Gateway, intents: tuple[Fetched, ...], refunded: str | None) -> dict[str, tuple[Fetched, ...]]:
    wanted = [intent.stripe_id for intent in intents if intent.stripe_id == refunded or _has_refunds(intent.data)]
    return {intent_id: fetch_refunds_of(gateway, intent_id) for intent_id in wanted}


def _disputes(gateway: Gateway, intents: tuple[Fetched, ...], disputed: str | None) -> dict[str, tuple[Fetched, ...]]:
    wanted = [intent.stripe_id for intent in intents if intent.stripe_id == disputed or _is_disputed(intent.data)]
    return {intent_id: fetch_disputes_of(gateway, intent_id) for intent_id in wanted}


def _is_disputed(intent: Json) -> bool:
    charge = intent.get("latest_charge")
    return isinstance(charge, dict) and bool(charge.get("disputed"))


def _has_refunds(intent: Json) -> bool:
    charge = intent.get("latest_charge")
    return isinstance(charge, dict) and charge.get("amount_refunded", 0) > 0


def _declines(gateway: Gateway, intents: tuple[Fetched, ...]) -> dict[str, tuple[str, ...]]:
    """The cards that were refused on a checkout page of ours: all of them, since an intent tells only of the last one.

    A renewal that fails is nobody trying cards. Where no charge was made, the intent stands for its last try.
    """
    tried = [intent for intent in intents if _checkout_of(intent.data) and _card_error(intent.data)]
    return {intent.stripe_id: _refused(gateway, intent) for intent in tried}


def _refused(gateway: Gateway, intent: Fetched) -> tuple[str, ...]:
    charges = gateway.charges_of(intent.stripe_id)
    refused = [str(charge["id"]) for charge in charges if charge["status"] == "failed"]
    without_charge = not _card_error(intent.data).get("charge")
    return (*refused, intent.stripe_id) if without_charge else tuple(refused)


def _checkout_of(intent: Json) -> str | None:
    return (intent.get("metadata") or {}).get("checkout_id")


def _card_error(intent: Json) -> Json:
    error: Json = intent.get("last_payment_error") or {}
    return error if error.get("type") == "card_error" else {}


def mirror_purchase(purchase: Purchase) -> Mirrored:
    """Write all of it, in the current unit. Raises `StaleFetch` or `UnknownCustomer`, and then writes nothing."""
    subscription, invoices = _mirror_invoice(purchase)
    payments: list[Payment] = []
    for intent in purchase.intents:
        payment = mirror_intent(intent, purchase.invoice, purchase.page)
        if payment is not None:
            payments.append(payment)
            for attempt_id in purchase.declines.get(intent.stripe_id, ()):
                note_decline(payment.team_id, attempt_id, _checkout_of(intent.data))
            for refund in purchase.refunds.get(intent.stripe_id, ()):
                mirror_refund(refund, payment.team_id, payment)
            for dispute in purchase.disputes.get(intent.stripe_id, ()):
                mirror_dispute(dispute, payment.team_id)
    if purchase.invoice is not None:
        mirror_rest(purchase.invoice, purchase.intents)
    for invoice in invoices:
        wake_tries(invoice.id)
    return Mirrored(subscription, invoices, payments)


def _mirror_invoice(purchase: Purchase) -> tuple[Subscription | None, list[Invoice]]:
    if purchase.subscription is not None:
        return mirror_subscription_state(purchase.subscription)
    return None, [mirror_invoice(purchase.invoice)] if purchase.invoice is not None else []
