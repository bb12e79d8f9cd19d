"""The steps of the customer portal: cancel and keep a plan, change and remove a card, change the billing details.

Each act goes through the handler that the API has for it, so that it leaves the same objects and events.
"""

import re

from flask import Response

from portal.sandbox import cards
from portal.sandbox.hosted.checkout_form import Asked, Entered, is_email, read
from portal.sandbox.hosted.pages import plain_page
from portal.sandbox.hosted.portal_home import plan_of
from portal.sandbox.hosted.portal_visit import Visit
from portal.sandbox.resources import (
    customers,
    payment_methods,
    setup_intents,
    subscription_cancellation,
    subscription_updates,
)
from portal.sandbox.store import Object

FIELD_LENGTH_MAX = 200
COMMENT_LENGTH_MAX = 500
REASONS = {
    "too_expensive": "It costs too much",
    "missing_features": "It lacks something I need",
    "switched_service": "I use another service now",
    "unused": "I do not use it enough",
    "customer_service": "The support was not good enough",
    "too_complex": "It is too hard to use",
    "low_quality": "The quality was not good enough",
    "other": "Another reason",
}
ADDRESS_LABELS = {
    "line1": "Address",
    "line2": "Address, second line",
    "postal_code": "Postal code",
    "city": "City",
    "state": "State or province",
    "country": "Country (two letters)",
}


def cancel(visit: Visit, subscription_id: str) -> Response:
    """Ask why, then end the plan: at the end of what is paid for, or at once where the configuration says so."""
    subscription = _own(visit, subscription_id)
    if subscription is None or subscription["cancel_at"] is not None:
        return _nothing_to_cancel(visit)
    offer = visit.configuration["features"]["subscription_cancel"]
    reasons = {name: REASONS[name] for name in offer["cancellation_reason"]["options"]}
    asked = reasons if offer["cancellation_reason"]["enabled"] else {}
    if not visit.posted:
        plan = plan_of(visit, subscription)
        return visit.show("portal_cancel.html", plan=plan, reasons=asked, at_once=offer["mode"] == "immediately")
    details = _reason(visit, asked)
    if offer["mode"] == "immediately":
        subscription_cancellation.cancel(visit.call, {"cancellation_details": details}, subscription_id)
        return visit.done("subscription_cancel", "canceled")
    # In flexible billing Stripe's portal names the instant and leaves cancel_at_period_end alone.
    ending = {"cancel_at": "max_period_end", "cancellation_details": details}
    subscription_updates.update(visit.call, ending, subscription_id)
    return visit.done("subscription_cancel", "ending")


def _own(visit: Visit, subscription_id: str) -> Object | None:
    return next((one for one in visit.living if one["id"] == subscription_id), None)


def _nothing_to_cancel(visit: Visit) -> Response:
    text = "This plan has ended or is set to end already. There is nothing left to cancel."
    link = (visit.way_back, "Go back") if visit.way_back else None
    return plain_page(visit.sandbox, 409, "Nothing to cancel", text, link)


def _reason(visit: Visit, asked: dict[str, str]) -> Object:
    feedback = visit.form.get("feedback", "")
    comment = visit.form.get("comment", "").replace("\x00", "").strip()[:COMMENT_LENGTH_MAX]
    details: Object = {"feedback": feedback if feedback in asked else None}
    return details | {"comment": comment or None}


def keep(visit: Visit, subscription_id: str) -> Response:
    """Take a cancellation back, with the reason that was given for it."""
    subscription = _own(visit, subscription_id)
    if subscription is None:
        return plain_page(
            visit.sandbox,
            409,
            "This plan has ended",
            "It can no longer be kept. Choose a plan again to go on.",
            (visit.link(), "Go back"),
        )
    forgotten = {"comment": None, "feedback": None}
    subscription_updates.update(visit.call, {"cancel_at": None, "cancellation_details": forgotten}, subscription_id)
    return visit.to(f"{visit.link()}?note=kept")


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


def details(visit: Visit) -> Response:
    """Change name, e-mail, address and phone, as far as the configuration allows."""
    allowed = visit.configuration["features"]["customer_update"]["allowed_updates"]
    if not visit.posted:
        return _details_form(visit, allowed, _known(visit.customer), {}, 200)
    entered = {
        name: visit.form.get(name, "").replace("\x00", "").strip()[:FIELD_LENGTH_MAX] for name in _known(visit.customer)
    }
    errors = _wrong(entered, allowed)
    if errors:
        return _details_form(visit, allowed, entered, errors, 422)
    values: Object = {name: entered[name] or None for name in ("email", "name", "phone") if name in allowed}
    if "address" in allowed:
        parts = {part: entered[part] or None for part in ADDRESS_LABELS}
        values["address"] = parts if any(parts.values()) else None
    customers.update(visit.call, values, visit.customer["id"])
    return visit.done("customer_update", "details")


def _known(customer: Object) -> dict[str, str]:
    address = customer["address"] or {}
    known = {name: customer[name] or "" for name in ("email", "name", "phone")}
    return known | {part: address.get(part) or "" for part in ADDRESS_LABELS}


def _wrong(entered: dict[str, str], allowed: list[str]) -> dict[str, str]:
    errors = {}
    if "email" in allowed and not is_email(entered["email"]):
        errors["email"] = "Enter an e-mail address, such as name@example.com."
    if "address" in allowed and entered["country"] and not re.fullmatch(r"[A-Za-z]{2}", entered["country"]):
        errors["country"] = "Enter the two letters of the country, such as US or DE."
    if "phone" in allowed and len(entered["phone"]) > 20:
        errors["phone"] = "A phone number has 20 characters at most."
    entered["country"] = entered["country"].upper()
    return errors


def _details_form(
    visit: Visit, allowed: list[str], form: dict[str, str], errors: dict[str, str], status: int
) -> Response:
    return visit.show(
        "portal_details.html", status, allowed=allowed, form=form, errors=errors, address_labels=ADDRESS_LABELS
    )
