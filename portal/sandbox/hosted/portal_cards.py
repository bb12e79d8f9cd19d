"""Cards in the customer portal: adding one, paying with another, and removing one."""

from flask import Response

from portal.sandbox import cards
from portal.sandbox.hosted.checkout_form import Asked, Entered, read
from portal.sandbox.hosted.pages import plain_page
from portal.sandbox.hosted.portal_visit import Visit
from portal.sandbox.resources import customers, payment_methods, setup_intents


def add_card(visit: Visit) -> Response:
    """Take a new card, have the bank agree to keep it, and make it the customer's default."""
    if not visit.posted:
        return _card_form(visit)
    entered = read(visit.form, Asked(visit.customer["email"], card=True, email=False), visit.call.now())
    if entered.refusal is not None:
        return _card_form(visit, entered, 402, entered.refusal.message)
    if entered.payer is None or entered.payer.card is None:
        return _card_form(visit, entered, 422)
    payer = entered.payer
    billing = {
        "address": visit.customer["address"],
        "email": visit.customer["email"],
        "name": payer.name or visit.customer["name"],
    }
    built = payment_methods.build(visit.call, entered.payer.card, payer.exp_month, payer.exp_year, billing)
    payment_method = visit.call.store.insert("payment_method", built)
    error = setup_intents.save_card(visit.call, visit.customer, payment_method)
    if error is not None:
        return _card_form(visit, entered, 402, error.message)
    _pay_with(visit, payment_method["id"])
    return visit.done("payment_method_update", "card")


def _card_form(
    visit: Visit, entered: Entered | None = None, status: int = 200, declined: str | None = None
) -> Response:
    errors = entered.errors if entered else {}
    return visit.show("portal_card.html", status, errors=errors, declined=declined, form=visit.form, hints=cards.HINTS)


def _pay_with(visit: Visit, payment_method_id: str) -> None:
    """Make a card the customer's default. A subscription with a default of its own keeps it, as at Stripe."""
    settings = {"invoice_settings": {"default_payment_method": payment_method_id}}
    customers.update(visit.call, settings, visit.customer["id"])


def choose_card(visit: Visit, payment_method_id: str) -> Response:
    """Make another card of the customer's the default."""
    payment_methods.require_of_customer(visit.call, payment_method_id, visit.customer["id"], "payment_method")
    _pay_with(visit, payment_method_id)
    return visit.to(f"{visit.link()}?note=default")


def remove_card(visit: Visit, payment_method_id: str) -> Response:
    """Forget a card, unless a living plan is paid with it."""
    payment_methods.require_of_customer(visit.call, payment_method_id, visit.customer["id"], "payment_method")
    default = visit.customer["invoice_settings"]["default_payment_method"]
    if visit.living and payment_method_id in {default, *(one["default_payment_method"] for one in visit.living)}:
        text = "Your plan is paid with this card, so it was not removed. Add another card first."
        return plain_page(visit.sandbox, 409, "This card is in use", text, (visit.link(), "Go back"))
    payment_methods.detach(visit.call, {}, payment_method_id)
    return visit.to(f"{visit.link()}?note=removed")
