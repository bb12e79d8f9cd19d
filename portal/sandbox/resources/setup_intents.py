"""Setup intents: the record of a card that was saved without a charge."""

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import ApiError, CardError, invalid
from portal.sandbox.parameters import CREATED_PAGING, Boolean, Choice, Hash, Metadata, Text, Url, merge_metadata
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.resources import payment_methods
from portal.sandbox.store import Object

_COMMON = {
    "customer": Text(),
    "description": Text(unsettable=True, max_length=1000),
    "metadata": Metadata(),
    "payment_method": Text(),
}
CREATE = _COMMON | {
    "automatic_payment_methods": Hash(
        fields={"enabled": Boolean(required=True), "allow_redirects": Choice(options=("always", "never"))}
    ),
    "confirm": Boolean(),
    "return_url": Url(),
    "usage": Choice(options=("off_session", "on_session")),
}
UPDATE = {name: _COMMON[name] for name in ("description", "metadata", "payment_method")}
CONFIRM = {"payment_method": Text(), "return_url": Url()}
CANCEL = {"cancellation_reason": Choice(options=("abandoned", "duplicate", "requested_by_customer"))}
LIST = CREATED_PAGING | {"customer": Text(), "payment_method": Text()}
_OPEN = ("requires_payment_method", "requires_confirmation")


def build(call: Call, customer_id: str | None) -> Object:
    """Return a new intent to save a card, of a customer if one is named, not stored yet."""
    intent_id = ids.new_id("seti")
    return {
        "id": intent_id,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": f"{intent_id}_secret_{ids.random_text(25)}",
        "created": call.now(),
        "customer": customer_id,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": "off_session",
    }


def save_card(call: Call, customer: Object, payment_method: Object) -> CardError | None:
    """Ask the bank to have a card saved, and attach it. Returns the 402 when the bank refused; the intent tells why."""
    return save(call, add(call, build(call, customer["id"])), payment_method)


def add(call: Call, intent: Object) -> Object:
    """Store a new intent and tell of it."""
    call.store.insert("setup_intent", intent)
    events.emit(call, "setup_intent.created", intent)
    return intent


def save(call: Call, intent: Object, payment_method: Object) -> CardError | None:
    """Ask the bank to have a card saved. Returns the 402 when it refused; the intent tells why."""
    try:
        if intent["customer"] is not None:
            payment_methods.attach_to(call, payment_method, fetch(call, "customer", intent["customer"]))
        else:
            payment_methods.ask_bank_to_save(payment_method)
    except CardError as error:
        told = {name: value for name, value in error.body("")["error"].items() if name != "request_log_url"}
        intent |= {
            "last_setup_error": told | {"payment_method": render(call, payment_method)},
            "payment_method": None,
            "status": "requires_payment_method",
        }
        call.store.save(intent)
        events.emit(call, "setup_intent.setup_failed", intent)
        return error
    intent |= {"last_setup_error": None, "payment_method": payment_method["id"], "status": "succeeded"}
    call.store.save(intent)
    events.emit(call, "setup_intent.succeeded", intent)
    return None


def create(call: Call, values: Values) -> Object:
    """`POST /v1/setup_intents`, confirmed at once when `confirm` says so."""
    if "customer" in values:
        fetch(call, "customer", values["customer"], "customer")
    intent = build(call, values.get("customer"))
    intent["usage"] = values.get("usage", "off_session")
    if "automatic_payment_methods" in values:
        intent["automatic_payment_methods"] = {"allow_redirects": "always"} | values["automatic_payment_methods"]
    _apply(call, intent, values)
    add(call, intent)
    return _confirm(call, intent) if values.get("confirm") else render(call, intent)


def _apply(call: Call, intent: Object, values: Values) -> None:
    if "description" in values:
        intent["description"] = values["description"]
    if "metadata" in values:
        intent["metadata"] = merge_metadata(intent["metadata"], values["metadata"])
    if "payment_method" in values:
        payment_method = payment_methods.find_or_make(call, values["payment_method"], "payment_method")
        payment_methods.require_card(payment_method, "payment_method")
        if payment_methods.asks_for(payment_method):
            raise invalid("The bank of this card asks who is paying, which only the hosted pages do.", "payment_method")
        intent |= {"payment_method": payment_method["id"], "status": "requires_confirmation"}


def _confirm(call: Call, intent: Object) -> Object:
    if intent["payment_method"] is None:
        raise invalid("The intent has no payment method; send one.", "payment_method", "parameter_missing")
    error = save(call, intent, fetch(call, "payment_method", intent["payment_method"]))
    if error is not None:
        raise error
    return render(call, intent)


def _open(call: Call, intent_id: str, verb: str) -> Object:
    intent = fetch(call, "setup_intent", intent_id)
    if intent["status"] not in _OPEN:
        message = f"The intent cannot be {verb}, because its status is {intent['status']}."
        extra = {"setup_intent": render(call, intent)}
        raise ApiError(400, "invalid_request_error", message, code="setup_intent_unexpected_state", extra=extra)
    return intent


def update(call: Call, values: Values, intent_id: str) -> Object:
    """`POST /v1/setup_intents/{intent}`."""
    intent = _open(call, intent_id, "updated")
    _apply(call, intent, values)
    return render(call, call.store.save(intent))


def confirm(call: Call, values: Values, intent_id: str) -> Object:
    """`POST /v1/setup_intents/{intent}/confirm`."""
    intent = _open(call, intent_id, "confirmed")
    _apply(call, intent, values)
    return _confirm(call, intent)


def cancel(call: Call, values: Values, intent_id: str) -> Object:
    """`POST /v1/setup_intents/{intent}/cancel`."""
    intent = _open(call, intent_id, "canceled")
    intent |= {"cancellation_reason": values.get("cancellation_reason"), "status": "canceled"}
    call.store.save(intent)
    events.emit(call, "setup_intent.canceled", intent)
    return render(call, intent)


def retrieve(call: Call, _: Values, intent_id: str) -> Object:
    """`GET /v1/setup_intents/{intent}`."""
    return render(call, fetch(call, "setup_intent", intent_id))


def index(call: Call, values: Values) -> Object:
    """`GET /v1/setup_intents`."""
    return page(call, "setup_intent", values, "/v1/setup_intents", member_equals(values, "customer", "payment_method"))


register(
    Resource(
        "setup_intent",
        "setup_intent",
        {"customer": Reference("customer"), "payment_method": Reference("payment_method")},
    )
)
_ONE = "/v1/setup_intents/{intent}"
ENDPOINTS = (
    Endpoint("POST", "/v1/setup_intents", CREATE, create, "setup_intent"),
    Endpoint("GET", "/v1/setup_intents", LIST, index, "setup_intent", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "setup_intent"),
    Endpoint("POST", _ONE, UPDATE, update, "setup_intent"),
    Endpoint("POST", _ONE + "/confirm", CONFIRM, confirm, "setup_intent"),
    Endpoint("POST", _ONE + "/cancel", CANCEL, cancel, "setup_intent"),
)
