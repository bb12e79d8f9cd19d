"""Checkout Sessions in `setup` mode: nothing is bought, a card is saved for later."""

from portal.sandbox.call import Call
from portal.sandbox.checkout_opening import open_session
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import ApiError, invalid, missing_parameter
from portal.sandbox.parameters import merge_metadata
from portal.sandbox.registry import fetch
from portal.sandbox.resources import customers, setup_intents
from portal.sandbox.store import Object

# What speaks of a sum makes no sense where none is due.
_WITHOUT_SENSE = ("allow_promotion_codes", "automatic_tax", "discounts", "line_items", "submit_type")


def open_setup(call: Call, values: Values, customer: Object | None) -> Object:
    """Return an open session, stored, with the intent that is to save the card."""
    for name in _WITHOUT_SENSE:
        if name in values:
            raise invalid(f"'{name}' cannot be sent in setup mode.", name)
    if "currency" not in values:
        raise missing_parameter("currency")
    session = open_session(call, values, customer, values["currency"].lower())
    data = values.get("setup_intent_data", {})
    intent = setup_intents.build(call, customer["id"] if customer else None)
    intent |= {"description": data.get("description"), "metadata": merge_metadata({}, data.get("metadata", {}))}
    setup_intents.add(call, intent)
    session |= {
        "amount_subtotal": None,
        "amount_total": None,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "discounts": None,
        "payment_status": "no_payment_required",
        "saved_payment_method_options": None,
        "setup_intent": intent["id"],
        "total_details": None,
    }
    if session["customer_details"] is not None:
        session["customer_details"]["tax_exempt"] = None
    return call.store.insert("checkout.session", session)


def save(
    call: Call, session: Object, payment_method: Object, person: Values, refused: bool
) -> tuple[str | None, ApiError | None]:
    """Have the bank save a card; returns the id of whose it is, if it is anybody's, and the 402 when the bank refused.

    `person` is who becomes a customer where one is to be made, and not when the card is `refused`.
    """
    intent = fetch(call, "setup_intent", session["setup_intent"])
    if session["customer"] is None and session["customer_creation"] == "always" and not refused:
        intent["customer"] = customers.add(call, person)["id"]
    return intent["customer"], setup_intents.save(call, intent, payment_method)
