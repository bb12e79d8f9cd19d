"""The home page of the customer portal: the plan, the cards, the billing details and the invoices."""

from flask import Response

from portal.sandbox.hosted.portal_plans import plan_of
from portal.sandbox.hosted.portal_visit import NOTES, Visit
from portal.sandbox.resources import tax_ids
from portal.sandbox.store import Object, equals

INVOICES_SHOWN = 24
_VERIFICATION = {"pending": ("Being checked", "warn"), "unverified": ("Not found", "bad"), "verified": ("Found", "ok")}
_DETAILS = {"name": "Name", "email": "E-mail", "phone": "Phone"}


def home(visit: Visit) -> Response:
    """Show everything, or the one step that the session was made for."""
    if visit.flow_step is not None:
        return visit.to(visit.link(visit.flow_step))
    return visit.show(
        "portal.html",
        note=NOTES.get(visit.note or ""),
        plans=[plan_of(visit, subscription) for subscription in visit.living],
        cards=_cards(visit) if visit.allows("payment_method_update") else [],
        details=_details(visit) if visit.allows("customer_update") else None,
        invoices=_invoices(visit) if visit.allows("invoice_history") else None,
    )


def confirmation(visit: Visit) -> Response:
    """Say that a flow is done, in the words it was made with."""
    flow = visit.session["flow"]
    if flow is None or not visit.session["_flow_done"]:
        return visit.to(visit.link())
    confirmed = flow["after_completion"]["hosted_confirmation"] or {}
    text = confirmed.get("custom_message") or NOTES.get(visit.note or "", "Your change is saved.")
    return visit.show("portal_done.html", text=text)


def _cards(visit: Visit) -> list[Object]:
    default = visit.customer["invoice_settings"]["default_payment_method"]
    used = {subscription["default_payment_method"] for subscription in visit.living} | {default}
    found = visit.call.store.find("payment_method", [equals("customer", visit.customer["id"]), equals("type", "card")])
    cards = [
        {
            "id": payment_method["id"],
            "brand": card_brand(payment_method),
            "last4": payment_method["card"]["last4"],
            "expires": f"{payment_method['card']['exp_month']:02d}/{payment_method['card']['exp_year']}",
            "in_use": payment_method["id"] in used,
        }
        for payment_method in found
    ]
    return sorted(cards, key=lambda card: not card["in_use"])


def card_brand(payment_method: Object) -> str:
    """Return the name of a card's brand as people know it."""
    names = {"amex": "American Express", "mastercard": "Mastercard", "visa": "Visa", "discover": "Discover"}
    return names.get(payment_method["card"]["brand"], "Card")


def _details(visit: Visit) -> Object:
    """Return what is known of a customer, as far as it can be changed here."""
    allowed, customer = visit.configuration["features"]["customer_update"]["allowed_updates"], visit.customer
    numbers = tax_ids.of_customer(visit.call, customer["id"]) if "tax_id" in allowed else []
    return {
        "rows": [(label, customer[name]) for name, label in _DETAILS.items() if name in ("name", "email", *allowed)],
        "address": customer["address"] if "address" in allowed else None,
        "shipping": customer["shipping"] if "shipping" in allowed else None,
        "tax_ids": [(one["value"], *_VERIFICATION.get(one["verification"]["status"], ("", ""))) for one in numbers],
    }


def _invoices(visit: Visit) -> list[Object]:
    found = visit.call.store.find("invoice", [equals("customer", visit.customer["id"])], limit=INVOICES_SHOWN)
    return [invoice for invoice in found if invoice["status"] != "draft"]
