"""What becomes of an intent: it is paid, refused, waits for its bank's question, or for the money of a debit."""

from portal.sandbox import cards, debits, events
from portal.sandbox.call import Call
from portal.sandbox.cards import Refusal
from portal.sandbox.errors import ApiError, invalid
from portal.sandbox.instruments import instrument_of
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import charges, invoice_payments, payment_methods
from portal.sandbox.store import Object

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def require_open(intent: Object, verb: str) -> None:
    """Raise 400 for an intent that is paid, on its way or canceled."""
    if intent["status"] not in OPEN:
        raise ApiError(
            400,
            "invalid_request_error",
            f"The intent cannot be {verb}, because its status is {intent['status']}.",
            code="payment_intent_unexpected_state",
            extra={"payment_intent": intent},
        )


def pay(call: Call, intent: Object, payment_method: Object, refusal: cards.Refusal | None = None) -> ApiError | None:
    """Charge a card or an account for an intent. Returns None, or the 402 when the bank refused.

    Either way the attempt is recorded: a charge, the intent's new status, and their events. A card has paid then; the
    intent of a debit is `processing`, and `settling.py` goes on. `refusal` is given when the bank was not even asked.
    An intent that is not open any more is refused: nothing is paid twice.
    """
    require_open(intent, "paid")
    instrument = instrument_of(payment_method)
    if isinstance(instrument, debits.Account):
        _begin_debit(call, intent, payment_method, instrument)
        return None
    refusal = refusal or instrument.on_charge
    charge = charges.build(call, intent, payment_method, refusal)
    if refusal is None:
        charge["_awaits"] = instrument.dispute
    call.store.insert("charge", charge)
    intent["latest_charge"] = charge["id"]
    if refusal is None:
        intent["payment_method"] = payment_method["id"]
        note_paid(call, intent, charge)
        return None
    error = note_refused(call, intent, charge, payment_method, refusal)
    extra = {"charge": charge["id"], "payment_method": error["payment_method"], "payment_intent": render(call, intent)}
    return payment_methods.refuse(refusal, extra)


def note_paid(call: Call, intent: Object, charge: Object) -> None:
    """Tell of a charge that has succeeded, and of its intent."""
    intent |= {
        "amount_received": intent["amount"],
        "last_payment_error": None,
        "next_action": None,
        "status": "succeeded",
    }
    call.store.save(intent)
    events.emit(call, "charge.succeeded", charge)
    events.emit(call, "payment_intent.succeeded", intent)


def note_refused(call: Call, intent: Object, charge: Object, payment_method: Object, refusal: Refusal) -> Object:
    """Tell of a charge that has failed, and of its intent, which asks for another way to pay; returns the error."""
    error: Object = {
        "charge": charge["id"],
        "code": refusal.code,
        "doc_url": f"https://docs.stripe.com/error-codes/{refusal.code.replace('_', '-')}",
        "message": refusal.message,
        "payment_method": render(call, payment_method),
        "type": "card_error",
    }
    if refusal.decline_code:
        error["decline_code"] = refusal.decline_code
    _ask_for_another(call, intent, error)
    events.emit(call, "charge.failed", charge)
    events.emit(call, "payment_intent.payment_failed", intent)
    return error


def _ask_for_another(call: Call, intent: Object, error: Object) -> None:
    """The intent gives up what it was to be paid with, and waits for something else."""
    intent |= {
        "last_payment_error": error,
        "next_action": None,
        "payment_method": None,
        "status": "requires_payment_method",
    }
    call.store.save(intent)


def _begin_debit(call: Call, intent: Object, payment_method: Object, account: debits.Account) -> None:
    """Ask the bank for the money of an account; what it says comes later."""
    if "sepa_debit" not in intent["payment_method_types"] or intent["currency"] != debits.CURRENCY:
        raise invalid(
            f"The intent is in {intent['currency']} and takes {', '.join(intent['payment_method_types'])}.",
            "payment_method",
            "payment_intent_incompatible_payment_method",
        )
    if invoice_payments.of_intent(call, intent["id"]) is not None:
        payment_methods.require_card(payment_method, "payment_method")
    charge = charges.build(call, intent, payment_method, None, pending=True)
    call.store.insert("charge", charge | {"_settles_at": call.now() + account.seconds})
    intent |= {
        "last_payment_error": None,
        "latest_charge": charge["id"],
        "next_action": None,
        "payment_method": payment_method["id"],
        "status": "processing",
    }
    call.store.save(intent)
    events.emit(call, "charge.pending", charge)
    events.emit(call, "payment_intent.processing", intent)


def require_action(
    call: Call, intent: Object, payment_method: Object, url: str, return_url: str | None = None
) -> Object:
    """Let an intent wait for its card's bank, which asks who is paying at `url` and then leads to `return_url`."""
    intent |= {
        "last_payment_error": None,
        "next_action": {"redirect_to_url": {"return_url": return_url, "url": url}, "type": "redirect_to_url"},
        "payment_method": payment_method["id"],
        "status": "requires_action",
    }
    call.store.save(intent)
    events.emit(call, "payment_intent.requires_action", intent)
    return intent


def fail_authentication(call: Call, intent: Object, message: str) -> Object:
    """Take back a card whose bank did not believe the person; no charge was made."""
    code = "payment_intent_authentication_failure"
    error = {
        "code": code,
        "doc_url": f"https://docs.stripe.com/error-codes/{code.replace('_', '-')}",
        "message": message,
        "payment_method": render(call, fetch(call, "payment_method", intent["payment_method"])),
        "type": "invalid_request_error",
    }
    _ask_for_another(call, intent, error)
    events.emit(call, "payment_intent.payment_failed", intent)
    return intent
