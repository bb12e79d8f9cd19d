"""Payment intents: payments by card, captured at once, and by debit. Manual capture is not emulated.

What an invoice or a Checkout Session has made to be paid with belongs to it: it says how much is due, and ends it.
"""

from copy import deepcopy
from typing import Any

from portal.sandbox import cards, events, ids, paying
from portal.sandbox.addresses import SHIPPING, shipping
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.instruments import types_for
from portal.sandbox.parameters import (
    AMOUNT_MAX,
    CREATED_PAGING,
    Array,
    Boolean,
    Choice,
    Email,
    Hash,
    Integer,
    Metadata,
    Text,
    Url,
    merge_metadata,
)
from portal.sandbox.registry import Nested, Reference, Resource, fetch, register, render
from portal.sandbox.resources import invoice_payments, payment_methods
from portal.sandbox.store import Object, equals

AMOUNT_MIN = 50
_AUTOMATIC = Hash(
    fields={
        "enabled": Boolean(required=True),
        "allow_redirects": Choice(options=("always", "never")),
    }
)
_COMMON = {
    "amount": Integer(minimum=1),
    "currency": Text(pattern="[A-Za-z]{3}"),
    "customer": Text(),
    "description": Text(unsettable=True, max_length=1000),
    "metadata": Metadata(),
    "payment_method": Text(),
    "payment_method_types": Array(),
    "receipt_email": Email(unsettable=True),
    "setup_future_usage": Choice(options=("off_session", "on_session"), unsettable=True),
    "shipping": SHIPPING,
    "statement_descriptor": Text(max_length=22),
    "statement_descriptor_suffix": Text(max_length=22),
}
_CONFIRMING = {
    "error_on_requires_action": Boolean(),
    "off_session": Boolean(),
    "return_url": Url(),
    "use_stripe_sdk": Boolean(),
}
CREATE = (
    _COMMON
    | _CONFIRMING
    | {
        "allowed_payment_method_types": Array(),
        "amount": Integer(minimum=1, required=True),
        "automatic_payment_methods": _AUTOMATIC,
        "capture_method": Choice(options=("automatic", "automatic_async")),
        "confirm": Boolean(),
        "confirmation_method": Choice(options=("automatic",)),
        "currency": Text(pattern="[A-Za-z]{3}", required=True),
    }
)
CONFIRM = _CONFIRMING | {
    name: _COMMON[name] for name in ("payment_method", "payment_method_types", "receipt_email", "setup_future_usage")
}
CANCEL = {
    "cancellation_reason": Choice(options=("abandoned", "duplicate", "fraudulent", "requested_by_customer")),
}
LIST = CREATED_PAGING | {"customer": Text()}
# What may change after an intent is paid, and whoever it belongs to.
_WORDS = {"description", "metadata"}
_SAID_BY_INVOICE = ("amount", "currency", "customer")
_PAYABLE = ("open", "uncollectible")


def build(call: Call, amount: int, currency: str, **members: Any) -> Object:
    """Return a new intent that is not stored yet; `amount` is in the currency's smallest unit."""
    intent_id = ids.new_id("pi")
    intent: Object = {
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{intent_id}_secret_{ids.random_text(25)}",
        "confirmation_method": "automatic",
        "created": call.now(),
        "currency": currency.lower(),
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
    return intent | members


def add(call: Call, intent: Object) -> Object:
    """Store a new intent and tell of it."""
    call.store.insert("payment_intent", intent)
    events.emit(call, "payment_intent.created", intent)
    return intent


def create(call: Call, values: Values) -> Object:
    """`POST /v1/payment_intents`, confirmed at once when `confirm` says so."""
    customer_id = values.get("customer")
    if customer_id is not None:
        fetch(call, "customer", customer_id, "customer")
    confirming = values.pop("confirm", False)
    if not confirming and "off_session" in values:
        raise invalid("off_session may be sent only together with confirm=true.", "off_session")
    types = types_for(values, values["currency"].lower(), once=True)
    intent = build(call, values["amount"], values["currency"], payment_method_types=types)
    _apply(call, intent, values)
    add(call, intent)
    return _confirm(call, intent, values) if confirming else render(call, intent)


def _apply(call: Call, intent: Object, values: Values) -> None:
    if "amount" in values:
        _check_amount(values["amount"])
    names = ("amount", "capture_method", "customer", "description", "receipt_email", "setup_future_usage")
    for name in (*names, "statement_descriptor", "statement_descriptor_suffix"):
        if name in values:
            intent[name] = values[name]
    if "currency" in values:
        intent["currency"] = values["currency"].lower()
    if "metadata" in values:
        intent["metadata"] = merge_metadata(intent["metadata"], values["metadata"])
    if "shipping" in values:
        intent["shipping"] = shipping(values["shipping"])
    if "automatic_payment_methods" in values:
        intent["automatic_payment_methods"] = {"allow_redirects": "always"} | values["automatic_payment_methods"]
    if "payment_method" in values:
        payment_method = payment_methods.find_or_make(call, values["payment_method"], "payment_method")
        _require_usable(payment_method)
        owner = payment_method["customer"]
        if owner is not None and owner != intent["customer"]:
            raise invalid("The payment method belongs to a customer; send that customer too.", "payment_method")
        intent |= {"payment_method": payment_method["id"], "status": "requires_confirmation"}


def _check_amount(amount: int) -> None:
    if amount < AMOUNT_MIN:
        raise invalid(f"The amount must be at least {AMOUNT_MIN}.", "amount", "amount_too_small")
    if amount > AMOUNT_MAX:
        raise invalid(f"The amount must be at most {AMOUNT_MAX}.", "amount", "amount_too_large")


def _confirm(call: Call, intent: Object, values: Values) -> Object:
    if intent["payment_method"] is None:
        raise invalid(
            "The intent has no payment method; send one to confirm it.", "payment_method", "parameter_missing"
        )
    payment_method = fetch(call, "payment_method", intent["payment_method"])
    _require_usable(payment_method)
    if values.get("off_session") and intent["customer"] is None:
        raise invalid("An off-session payment needs a customer.", "customer", "parameter_missing")
    refusal = _not_asked(payment_method, values)
    if refusal is None and payment_methods.asks_for(payment_method):
        paying.require_action(call, intent, payment_method, _bank_page(call, intent), values.get("return_url"))
        return render(call, intent)
    error = settle(call, intent, payment_method, refusal)
    if error is not None:
        raise error
    return render(call, intent)


def _require_usable(payment_method: Object) -> None:
    if payment_method.get("_detached"):
        raise invalid("The payment method was detached from a customer and cannot be used again.", "payment_method")


def settle(call: Call, intent: Object, payment_method: Object, refusal: cards.Refusal | None = None) -> ApiError | None:
    """Take the money for a confirmed intent, tell the invoice it is for, and keep the card where that was asked for."""
    error = paying.pay(call, intent, payment_method, refusal)
    if error is None and intent["setup_future_usage"] and intent["customer"] and payment_method["customer"] is None:
        payment_methods.attach_to(call, payment_method, fetch(call, "customer", intent["customer"]))
    _tell_invoice(call, intent, error)
    return error


def _bank_page(call: Call, intent: Object) -> str:
    """Return the address where the card's bank asks: that of the invoice which the intent is for, else its own."""
    payment = invoice_payments.of_intent(call, intent["id"])
    return call.link(f"/i/{payment['invoice']}/authenticate" if payment else f"/pi/{intent['id']}/authenticate")


def _tell_invoice(call: Call, intent: Object, error: ApiError | None) -> None:
    """Let the invoice know that its intent has paid or was refused, if it is the intent of one."""
    from portal.sandbox import standing  # Collecting is built on intents.

    standing.after_confirmation(call, intent, error)


def _not_asked(payment_method: Object, values: Values) -> cards.Refusal | None:
    """Return the refusal of a bank that wants to ask a person who is not there."""
    nobody = values.get("off_session") or values.get("error_on_requires_action")
    asked = nobody and payment_methods.asks_for(payment_method)
    return cards.NOT_AUTHENTICATED if asked else None


def is_of_checkout(call: Call, intent: Object) -> bool:
    """Say whether an intent is that of a Checkout Session, whose page alone pays it."""
    return bool(call.store.find("checkout.session", [equals("payment_intent", intent["id"])], limit=1))


def _refuse_of_checkout(call: Call, intent: Object, verb: str) -> None:
    if is_of_checkout(call, intent):
        raise invalid(f"The intent of a Checkout Session cannot be {verb}. To end it, expire the session.")


def _invoice_of(call: Call, intent: Object) -> Object | None:
    payment = invoice_payments.of_intent(call, intent["id"])
    return fetch(call, "invoice", payment["invoice"]) if payment else None


def retrieve(call: Call, _: Values, intent_id: str) -> Object:
    """`GET /v1/payment_intents/{intent}`."""
    return render(call, fetch(call, "payment_intent", intent_id))


def update(call: Call, values: Values, intent_id: str) -> Object:
    """`POST /v1/payment_intents/{intent}`; after it is paid only words about it may change."""
    intent = fetch(call, "payment_intent", intent_id)
    if set(values) - _WORDS:
        _refuse_of_checkout(call, intent, "updated")
        paying.require_open(intent, "updated")
        odd = next((name for name in _SAID_BY_INVOICE if name in values), None)
        if odd is not None and _invoice_of(call, intent) is not None:
            raise invalid(f"The intent belongs to an invoice, which says its {odd}.", odd)
    _apply(call, intent, values)
    return render(call, call.store.save(intent))


def confirm(call: Call, values: Values, intent_id: str) -> Object:
    """`POST /v1/payment_intents/{intent}/confirm`; that of an invoice pays it, as long as it can be paid."""
    intent = fetch(call, "payment_intent", intent_id)
    _refuse_of_checkout(call, intent, "confirmed")
    paying.require_open(intent, "confirmed")
    invoice = _invoice_of(call, intent)
    if invoice is not None and invoice["status"] not in _PAYABLE:
        raise invalid(f"The intent belongs to an invoice that cannot be paid: its status is {invoice['status']}.")
    _apply(call, intent, values)
    return _confirm(call, intent, values)


def cancel(call: Call, values: Values, intent_id: str) -> Object:
    """`POST /v1/payment_intents/{intent}/cancel`; that of an invoice goes when the invoice is made void."""
    intent = fetch(call, "payment_intent", intent_id)
    _refuse_of_checkout(call, intent, "canceled")
    paying.require_open(intent, "canceled")
    if _invoice_of(call, intent) is not None:
        raise invalid("The intent belongs to an invoice. To cancel it, make the invoice void.")
    give_up(call, intent, values.get("cancellation_reason"))
    return render(call, intent)


def give_up(call: Call, intent: Object, why: str | None) -> None:
    """Cancel an intent that has not been paid, and tell of it."""
    intent |= {"canceled_at": call.now(), "cancellation_reason": why, "next_action": None, "status": "canceled"}
    call.store.save(intent)
    events.emit(call, "payment_intent.canceled", deepcopy(intent))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/payment_intents`."""
    return page(call, "payment_intent", values, "/v1/payment_intents", member_equals(values, "customer"))


register(
    Resource(
        "payment_intent",
        "payment_intent",
        {
            "customer": Reference("customer"),
            "latest_charge": Reference("charge"),
            "payment_method": Reference("payment_method"),
            "last_payment_error": Nested({}),
        },
    )
)
_ONE = "/v1/payment_intents/{intent}"
ENDPOINTS = (
    Endpoint("POST", "/v1/payment_intents", CREATE, create, "payment_intent"),
    Endpoint("GET", "/v1/payment_intents", LIST, index, "payment_intent", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "payment_intent"),
    Endpoint("POST", _ONE, _COMMON, update, "payment_intent"),
    Endpoint("POST", _ONE + "/confirm", CONFIRM, confirm, "payment_intent"),
    Endpoint("POST", _ONE + "/cancel", CANCEL, cancel, "payment_intent"),
)
