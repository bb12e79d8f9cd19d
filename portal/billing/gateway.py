"""The only file that imports `stripe`. Everybody else gives and gets plain dicts and our own errors.

No call starts while a database transaction is open, and every call that changes something carries an idempotency key
made from a row that was committed before. In a request a call has 8 s and no retry (a person waits); in the worker
20 s and two retries, which together stay under half of an event's lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar, cast

import stripe
import structlog
from flask import current_app, has_request_context

from portal.billing.gateway_counters import measured
from portal.billing.meter_terms import MeterTerms
from portal.core.ids import new_id
from portal.core.unit_of_work import in_transaction
from portal.settings import Settings

log = structlog.get_logger(__name__)

API_VERSION = "2026-10-28.endive"
REQUEST_SECONDS, REQUEST_RETRIES = 8, 0
WORKER_SECONDS, WORKER_RETRIES = 20, 2
PAGE = 100
WITH_TAX_IDS: dict[str, Any] = {"expand": ["tax_ids"]}

T = TypeVar("T")
Json = dict[str, Any]


class GatewayError(Exception):
    """Stripe did not do what was asked. `code` and `param`, the parameter at fault, are Stripe's; `message` is for
    logs, never for customers.
    """

    def __init__(self, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message, self.code, self.param = message, code, param


class InsideTransactionError(RuntimeError):
    """A network call was to start while a transaction is open: a mistake in the calling code."""


class NotFound(GatewayError):
    """Stripe has no such object."""


class InvalidRequest(GatewayError):
    """Stripe refused the parameters: a mistake of ours, or the object is in a state that does not allow it."""


class CardDeclined(GatewayError):
    """The bank said no; nothing was charged."""


class InFlight(GatewayError):
    """The same idempotency key is being worked on this moment: ask again shortly."""


class RateLimited(GatewayError):
    """Stripe wants us to slow down; nothing happened."""


class Unauthenticated(GatewayError):
    """Stripe does not accept our key."""


class Unavailable(GatewayError):
    """No answer, or a 5xx: whether the call had its effect is unknown until looked up."""


class Failed(Unavailable):
    """A 5xx, which Stripe keeps under the idempotency key whether or not the call had its effect. `replayed`: it is the
    answer to an earlier call, so that nothing is under way any more, and this key will never bring another one.
    """

    def __init__(self, message: str, code: str | None = None, *, replayed: bool = False) -> None:
        super().__init__(message, code)
        self.replayed = replayed


# What says that Stripe answers nobody now, whatever was asked: to ask for the next thing would only wait as long.
OUTAGE = (Unavailable, RateLimited, Unauthenticated)


class Gateway:
    def __init__(self, settings: Settings, *, seconds: int, retries: int) -> None:
        self._client = stripe.StripeClient(
            settings.stripe_secret_key,
            stripe_version=API_VERSION,
            base_addresses={"api": settings.stripe_api_base},
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=seconds),
        )
        self._v1 = self._client.v1

    # Customers and their cards

    def create_customer(self, params: Json, idempotency_key: str) -> Json:
        return self._change(self._v1.customers.create, idempotency_key, params)

    def customer(self, customer_id: str) -> Json:
        """The customer with its tax ids."""
        return self._read(self._v1.customers.retrieve, customer_id, WITH_TAX_IDS)

    def update_customer(self, customer_id: str, params: Json, idempotency_key: str) -> Json:
        """As `customer` brings it."""
        return self._set(self._v1.customers.update, idempotency_key, customer_id, params | WITH_TAX_IDS)

    def tax_id(self, tax_id: str) -> Json:
        return self._read(self._v1.tax_ids.retrieve, tax_id)

    def create_tax_id(self, customer_id: str, params: Json, idempotency_key: str) -> Json:
        return self._change(self._v1.customers.tax_ids.create, idempotency_key, customer_id, params)

    def delete_tax_id(self, customer_id: str, tax_id: str) -> None:
        self._read(self._v1.customers.tax_ids.delete, customer_id, tax_id)

    def customer_of_team(self, team_id: str, email: str) -> Json | None:
        """The team's customer, if there is one with this e-mail address: for when no answer told its id."""
        named = self._read_all(self._v1.customers.list, {"email": email})
        return next((one for one in named if (one.get("metadata") or {}).get("team_id") == team_id), None)

    def payment_method(self, payment_method_id: str) -> Json:
        return self._read(self._v1.payment_methods.retrieve, payment_method_id)

    # Checkout

    def create_checkout_session(self, params: Json, idempotency_key: str) -> Json:
        return self._change(self._v1.checkout.sessions.create, idempotency_key, params)

    def checkout_session(self, session_id: str) -> Json:
        """The page with its payment intent, which alone tells a payment under way from one that came to nothing."""
        return self._read(self._v1.checkout.sessions.retrieve, session_id, {"expand": ["payment_intent"]})

    def expire_checkout_session(self, session_id: str, idempotency_key: str) -> Json:
        return self._change(self._v1.checkout.sessions.expire, idempotency_key, session_id, {})

    # Subscriptions and invoices

    def subscription(self, subscription_id: str) -> Json:
        """The subscription with its schedule, which alone tells what it is to become."""
        return self._read(self._v1.subscriptions.retrieve, subscription_id, {"expand": ["schedule"]})

    def live_subscriptions(self) -> Iterator[list[Json]]:
        """All subscriptions that have not ended, page by page, each as `subscription` brings it."""
        return self._pages(self._v1.subscriptions.list, {"expand": ["data.schedule"]})

    def update_subscription(self, subscription_id: str, params: Json, idempotency_key: str) -> Json:
        return self._set(self._v1.subscriptions.update, idempotency_key, subscription_id, params)

    def change_subscription(self, subscription_id: str, params: Json, idempotency_key: str) -> Json:
        """A change that may charge: under this key and no other, whatever the answer."""
        return self._change(self._v1.subscriptions.update, idempotency_key, subscription_id, params)

    def cancel_subscription(self, subscription_id: str, params: Json, idempotency_key: str) -> Json:
        """End it now. Raises `NotFound` when it has ended already."""
        return self._set(self._v1.subscriptions.cancel, idempotency_key, subscription_id, params)

    def pause_subscription(self, subscription_id: str, params: Json, idempotency_key: str) -> Json:
        return self._set(self._v1.subscriptions.pause, idempotency_key, subscription_id, params)

    def resume_subscription(self, subscription_id: str, params: Json, idempotency_key: str) -> Json:
        """It may charge: under this key and no other, whatever the answer."""
        return self._change(self._v1.subscriptions.resume, idempotency_key, subscription_id, params)

    def preview_invoice(self, params: Json) -> Json:
        """What a change would bill; nothing is made or changed."""
        return self._read(self._v1.invoices.create_preview, params)

    def pay_invoice(self, invoice_id: str, params: Json, idempotency_key: str) -> Json:
        """Charge an open invoice: under this key and no other, whatever the answer."""
        return self._change(self._v1.invoices.pay, idempotency_key, invoice_id, params)

    def credit_note(self, credit_note_id: str) -> Json:
        return self._read(self._v1.credit_notes.retrieve, credit_note_id)

    def void_invoice(self, invoice_id: str, idempotency_key: str) -> Json:
        return self._change(self._v1.invoices.void_invoice, idempotency_key, invoice_id, {})

    def subscription_schedule(self, schedule_id: str) -> Json:
        return self._read(self._v1.subscription_schedules.retrieve, schedule_id)

    def create_schedule_of(self, subscription_id: str, idempotency_key: str) -> Json:
        """A schedule that goes on with the subscription as it is."""
        params: Json = {"from_subscription": subscription_id}
        return self._change(self._v1.subscription_schedules.create, idempotency_key, params)

    def update_schedule(self, schedule_id: str, params: Json, idempotency_key: str) -> Json:
        return self._set(self._v1.subscription_schedules.update, idempotency_key, schedule_id, params)

    def release_schedule(self, schedule_id: str, idempotency_key: str) -> Json:
        """Let the subscription go on as it is, without what the schedule would bring."""
        return self._change(self._v1.subscription_schedules.release, idempotency_key, schedule_id, {})

    def invoice(self, invoice_id: str) -> Json:
        """The invoice with all its lines: the body brings ten, and prorations stand before the plan's own."""
        invoice = self._read(self._v1.invoices.retrieve, invoice_id)
        lines = invoice["lines"]
        while lines["has_more"]:
            after: Json = {"limit": PAGE, "starting_after": lines["data"][-1]["id"]}
            more = self._read(self._v1.invoices.line_items.list, invoice_id, after)
            lines = invoice["lines"] = {**lines, "data": lines["data"] + more["data"], "has_more": more["has_more"]}
        return invoice

    # Payments and refunds

    def payment_intent(self, payment_intent_id: str) -> Json:
        """The intent with its latest charge, which tells the card, the receipt and what was refunded."""
        return self._read(self._v1.payment_intents.retrieve, payment_intent_id, {"expand": ["latest_charge"]})

    def create_payment_intent(self, params: Json, idempotency_key: str) -> Json:
        """An intent that charges nothing until it is confirmed."""
        return self._change(self._v1.payment_intents.create, idempotency_key, params)

    def confirm_payment_intent(self, payment_intent_id: str, params: Json, idempotency_key: str) -> Json:
        """Charge an intent with what it already holds. One that was charged or refused holds nothing any more, and is not
        charged again; so a failure that Stripe keeps need not stand. Raises `CardDeclined`, and `InvalidRequest` then.
        """
        return self._set(self._v1.payment_intents.confirm, idempotency_key, payment_intent_id, params)

    def ask_for_payment_intent(self, payment_intent_id: str, params: Json, idempotency_key: str) -> Json:
        """Confirm an intent that was refused, with a card given anew: under this key and no other, whatever the answer."""
        return self._change(self._v1.payment_intents.confirm, idempotency_key, payment_intent_id, params)

    def cancel_payment_intent(self, payment_intent_id: str, idempotency_key: str) -> Json:
        """Raises `InvalidRequest` when it has succeeded or is canceled already."""
        return self._set(self._v1.payment_intents.cancel, idempotency_key, payment_intent_id, {})

    def payment_intents_of(self, customer_id: str, since: int) -> list[Json]:
        """The intents of a customer that were made since this second, the newest first."""
        return self._read_all(self._v1.payment_intents.list, {"customer": customer_id, "created": {"gte": since}})

    def charge(self, charge_id: str) -> Json:
        return self._read(self._v1.charges.retrieve, charge_id)

    def charges_of(self, payment_intent_id: str) -> list[Json]:
        """Every try to pay an intent, the newest first."""
        return self._read_all(self._v1.charges.list, {"payment_intent": payment_intent_id})

    def refund(self, refund_id: str) -> Json:
        return self._read(self._v1.refunds.retrieve, refund_id)

    def refunds_of(self, payment_intent_id: str) -> list[Json]:
        return self._read_all(self._v1.refunds.list, {"payment_intent": payment_intent_id})

    def dispute(self, dispute_id: str) -> Json:
        return self._read(self._v1.disputes.retrieve, dispute_id)

    def disputes_of(self, payment_intent_id: str) -> list[Json]:
        return self._read_all(self._v1.disputes.list, {"payment_intent": payment_intent_id})

    def payments_of_invoice(self, invoice_id: str) -> list[Json]:
        """Which intents were to pay an invoice: there may be none, and there may be many."""
        return self._read_all(self._v1.invoice_payments.list, {"invoice": invoice_id})

    def invoice_of(self, payment_intent_id: str) -> str | None:
        """The invoice that an intent pays; an intent itself does not say."""
        payment = {"type": "payment_intent", "payment_intent": payment_intent_id}
        found = self._read(self._v1.invoice_payments.list, {"payment": payment, "limit": 1})["data"]
        if not found:
            return None
        invoice = found[0]["invoice"]
        return str(invoice["id"] if isinstance(invoice, dict) else invoice)

    def checkout_session_of(self, payment_intent_id: str) -> Json | None:
        """The checkout page on which an intent was paid, as `checkout_session` brings it."""
        return self._checkout_session_with(payment_intent=payment_intent_id)

    def checkout_session_of_subscription(self, subscription_id: str) -> Json | None:
        """The checkout page on which a subscription was bought, as `checkout_session` brings it."""
        return self._checkout_session_with(subscription=subscription_id)

    def _checkout_session_with(self, **member: str) -> Json | None:
        query: Json = {**member, "limit": 1, "expand": ["data.payment_intent"]}
        found = self._read(self._v1.checkout.sessions.list, query)["data"]
        return found[0] if found else None

    # The customer portal

    def create_portal_session(self, params: Json, idempotency_key: str) -> Json:
        """It is short-lived, and one too many does no harm."""
        return self._set(self._v1.billing_portal.sessions.create, idempotency_key, params)

    def portal_configurations(self) -> list[Json]:
        return self._read_all(self._v1.billing_portal.configurations.list, {"active": True})

    def create_portal_configuration(self, params: Json, idempotency_key: str) -> Json:
        return self._change(self._v1.billing_portal.configurations.create, idempotency_key, params)

    def update_portal_configuration(self, configuration_id: str, params: Json, idempotency_key: str) -> Json:
        return self._set(self._v1.billing_portal.configurations.update, idempotency_key, configuration_id, params)

    # Events

    def events_since(self, epoch: int, types: list[str]) -> Iterator[list[Json]]:
        """What has happened since then, of 20 types at most, page by page, the newest first. Stripe keeps 30 days."""
        return self._pages(self._v1.events.list, {"created": {"gte": epoch}, "types": types})

    # Catalog

    def find_prices(self, lookup_keys: list[str]) -> list[Json]:
        """The active prices that carry these lookup keys, with their tiers (Stripe answers at most ten keys a call)."""
        found: list[Json] = []
        for start in range(0, len(lookup_keys), 10):
            keys = lookup_keys[start : start + 10]
            query: Json = {"lookup_keys": keys, "active": True, "limit": PAGE, "expand": ["data.tiers"]}
            page = self._read(self._v1.prices.list, query)
            found += page["data"]
        return found

    def active_prices(self) -> list[Json]:
        return self._read_all(self._v1.prices.list, {"active": True})

    def active_products(self) -> list[Json]:
        return self._read_all(self._v1.products.list, {"active": True})

    def ensure_product(self, product_id: str, name: str, metadata: dict[str, str]) -> Json:
        """The product with this id, made or renamed if need be."""
        try:
            product = self._read(self._v1.products.retrieve, product_id)
        except NotFound:
            params: Json = {"id": product_id, "name": name, "metadata": metadata}
            return self._set(self._v1.products.create, f"product-{product_id}", params)
        if product["name"] == name and product["active"]:
            return product
        changes: Json = {"name": name, "metadata": metadata, "active": True}
        key = f"product-{product_id}-{product['updated']}"
        return self._set(self._v1.products.update, key, product_id, changes)

    def create_price(self, params: Json, idempotency_key: str) -> Json:
        return self._change(self._v1.prices.create, idempotency_key, params)

    # Meters

    def active_meters(self) -> list[Json]:
        return self._read_all(self._v1.billing.meters.list, {"status": "active"})

    def ensure_meter(self, meter: MeterTerms) -> Json:
        """The active meter for the events of this one, made or renamed if need be: there can be no second one of its name.

        Raises `InvalidRequest` when the one that there is adds up in another way.
        """
        found = next((one for one in self.active_meters() if one["event_name"] == meter.event_name), None)
        if found is None:
            return self._set(self._v1.billing.meters.create, f"meter-{new_id('mtr')}", meter.params)
        if not meter.fits(found):
            raise InvalidRequest(
                f"Stripe's meter {found['id']} for events of the name {meter.event_name} counts in another way;"
                " deactivate it there, then run this again"
            )
        if found["display_name"] == meter.name:
            return found
        key = f"meter-{found['id']}-{found['updated']}"
        return self._set(self._v1.billing.meters.update, key, found["id"], {"display_name": meter.name})

    def report_usage(self, params: Json, idempotency_key: str) -> Json:
        """Raises `InvalidRequest` with the code `duplicate_meter_event` when its identifier has been taken already."""
        return self._change(self._v1.billing.meter_events.create, idempotency_key, params)

    def usage_between(self, meter_id: str, customer_id: str, start: int, end: int) -> Decimal:
        """What the events of a customer add up to within a time; both ends are full minutes in epoch seconds."""
        query: Json = {"customer": customer_id, "start_time": start, "end_time": end}
        found = self._read(self._v1.billing.meters.event_summaries.list, meter_id, query)["data"]
        return sum((Decimal(str(one["aggregated_value"])) for one in found), Decimal(0))

    # Coupons and promotion codes

    def coupons(self) -> list[Json]:
        """All coupons, each with the products it is for."""
        return self._read_all(self._v1.coupons.list, {"expand": ["data.applies_to"]})

    def create_coupon(self, params: Json, idempotency_key: str) -> Json:
        return self._change(self._v1.coupons.create, idempotency_key, params)

    def rename_coupon(self, coupon_id: str, name: str, idempotency_key: str) -> Json:
        return self._change(self._v1.coupons.update, idempotency_key, coupon_id, {"name": name})

    def promotion_codes(self, code: str | None = None) -> list[Json]:
        """All promotion codes, or all that are or were called `code`, whatever the case of its letters."""
        return self._read_all(self._v1.promotion_codes.list, {"code": code} if code else {})

    def create_promotion_code(self, params: Json, idempotency_key: str) -> Json:
        return self._set(self._v1.promotion_codes.create, idempotency_key, params)

    def switch_promotion_code(self, promotion_code_id: str, *, active: bool, idempotency_key: str) -> Json:
        return self._change(self._v1.promotion_codes.update, idempotency_key, promotion_code_id, {"active": active})

    # The kinds of call

    def _read(self, call: Callable[..., Any], *args: Any) -> Json:
        return self._call(call, *args)

    def _read_all(self, call: Callable[..., Any], query: Json) -> list[Json]:
        """Every entry of a list."""
        return [entry for page in self._pages(call, query) for entry in page]

    def _pages(self, call: Callable[..., Any], query: Json) -> Iterator[list[Json]]:
        """The entries of a list as Stripe gives them, 100 a call: for lists that may be longer than one wants to hold."""
        after: Json = {}
        while True:
            page = self._read(call, {**query, **after, "limit": PAGE})
            yield page["data"]
            if not page["has_more"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}

    def _change(self, call: Callable[..., Any], idempotency_key: str, *args: Any) -> Json:
        return self._call(call, *args, options={"idempotency_key": idempotency_key})

    def _set(self, call: Callable[..., Any], idempotency_key: str, *args: Any) -> Json:
        """A change that brings the same however often it is made, so that a failure which Stripe keeps under the key
        need not stand for a day: it is made again under a key of its own.
        """
        try:
            return self._change(call, idempotency_key, *args)
        except Failed as error:
            if not error.replayed:
                raise
        return self._change(call, new_id("again"), *args)

    def _call(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Json:
        if in_transaction():
            raise InsideTransactionError(f"{call.__qualname__} was called inside a database transaction")
        with measured(call.__qualname__):
            try:
                answer = call(*args, **kwargs)
            except stripe.StripeError as error:
                raise _translated(error) from error
        return cast(Json, answer.to_dict(for_json=True))


def gateway() -> Gateway:
    """The gateway for the place we are in: a person waits in a request, nobody does in the worker."""
    interactive = has_request_context()
    return _gateway(current_app.config["SETTINGS"], interactive)


@lru_cache(maxsize=8)
def _gateway(settings: Settings, interactive: bool) -> Gateway:
    if interactive:
        return Gateway(settings, seconds=REQUEST_SECONDS, retries=REQUEST_RETRIES)
    return Gateway(settings, seconds=WORKER_SECONDS, retries=WORKER_RETRIES)


def _translated(error: stripe.StripeError) -> GatewayError:
    """Stripe's error as one of ours; the request id goes to the log so that it can be looked up there."""
    status, code, message = error.http_status, error.code, str(error.user_message or error)
    level = "info" if status == 404 else "warning"  # asking for what is not there is how one finds out
    getattr(log, level)("stripe_error", status=status, code=code, stripe_request_id=error.request_id)
    for kind, ours in _BY_CLASS:
        if isinstance(error, kind):
            return ours(message, code)
    if isinstance(error, stripe.InvalidRequestError) and status == 404:
        return NotFound(message, code)
    if status == 409 or code == "idempotency_key_in_use":
        return InFlight(message, code)
    if isinstance(error, stripe.APIConnectionError) or status is None:
        return Unavailable(message, code)
    if status >= 500:
        return Failed(message, code, replayed=_is_replayed(error))
    return InvalidRequest(message, code, getattr(error, "param", None))


def _is_replayed(error: stripe.StripeError) -> bool:
    headers = {str(name).lower(): value for name, value in (error.headers or {}).items()}
    return headers.get("idempotent-replayed") == "true"


_BY_CLASS: tuple[tuple[type[stripe.StripeError], type[GatewayError]], ...] = (
    (stripe.CardError, CardDeclined),
    (stripe.RateLimitError, RateLimited),
    (stripe.AuthenticationError, Unauthenticated),
    (stripe.PermissionError, Unauthenticated),
)
