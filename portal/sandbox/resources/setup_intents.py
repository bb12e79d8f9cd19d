"""Setup intents: the record of a card that was saved without a charge. They come from the portal page only."""

from portal.sandbox import events, ids
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import CardError
from portal.sandbox.parameters import CREATED_PAGING, Text
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.resources import payment_methods
from portal.sandbox.store import Object

LIST = CREATED_PAGING | {"customer": Text(), "payment_method": Text()}


def build(call: Call, customer_id: str) -> Object:
    """Return a new intent to save a card of a customer, not stored yet."""
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
    intent = call.store.insert("setup_intent", build(call, customer["id"]))
    events.emit(call, "setup_intent.created", intent)
    try:
        payment_methods.attach_to(call, payment_method, customer)
    except CardError as error:
        told = {name: value for name, value in error.body("")["error"].items() if name != "request_log_url"}
        intent["last_setup_error"] = told | {"payment_method": render(call, payment_method)}
        call.store.save(intent)
        events.emit(call, "setup_intent.setup_failed", intent)
        return error
    intent |= {"payment_method": payment_method["id"], "status": "succeeded"}
    call.store.save(intent)
    events.emit(call, "setup_intent.succeeded", intent)
    return None


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
ENDPOINTS = (
    Endpoint("GET", "/v1/setup_intents", LIST, index, "setup_intent", lists=True),
    Endpoint("GET", "/v1/setup_intents/{intent}", {}, retrieve, "setup_intent"),
)
