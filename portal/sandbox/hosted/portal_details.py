"""The billing details of a customer in the portal: who is billed, where, and under which tax id."""

import re
from typing import Any

from flask import Response

from portal.sandbox.hosted.checkout_form import is_email
from portal.sandbox.hosted.portal_visit import Visit
from portal.sandbox.resources import customers, tax_ids
from portal.sandbox.store import Object

FIELD_LENGTH_MAX = 200
ADDRESS_LABELS = {
    "line1": "Address",
    "line2": "Address, second line",
    "postal_code": "Postal code",
    "city": "City",
    "state": "State or province",
    "country": "Country (two letters)",
}
_PLAIN = ("email", "name", "phone")
# The same parts once more, for the place that things are sent to.
_SHIPPING = "shipping_"


def details(visit: Visit) -> Response:
    """Change name, e-mail, phone, addresses and tax id, as far as the configuration allows."""
    allowed = visit.configuration["features"]["customer_update"]["allowed_updates"]
    known = _known(visit)
    if not visit.posted:
        return _form(visit, allowed, known, {}, 200)
    entered = {name: visit.entered(name)[:FIELD_LENGTH_MAX] for name in known}
    errors = _wrong(entered, allowed)
    if errors:
        return _form(visit, allowed, entered, errors, 422)
    values = _values(entered, allowed)
    if values:
        customers.update(visit.call, values, visit.customer["id"])
    if "tax_id" in allowed:
        _save_tax_id(visit, entered["tax_id_type"], entered["tax_id"])
    return visit.done("customer_update", "details")


def _known(visit: Visit) -> dict[str, str]:
    """Return what the form begins with. Of several tax ids it holds the first."""
    customer, number = visit.customer, _tax_id(visit) or {}
    shipping = customer["shipping"] or {}
    known = {name: customer[name] for name in _PLAIN}
    known |= {part: (customer["address"] or {}).get(part) for part in ADDRESS_LABELS}
    known |= {_SHIPPING + part: (shipping.get("address") or {}).get(part) for part in ADDRESS_LABELS}
    known |= {f"{_SHIPPING}name": shipping.get("name"), f"{_SHIPPING}phone": shipping.get("phone")}
    known |= {"tax_id_type": number.get("type"), "tax_id": number.get("value")}
    return {name: value or "" for name, value in known.items()}


def _tax_id(visit: Visit) -> Object | None:
    return next(iter(tax_ids.of_customer(visit.call, visit.customer["id"])), None)


def _wrong(entered: dict[str, str], allowed: list[str]) -> dict[str, str]:
    errors = {}
    if "email" in allowed and not is_email(entered["email"]):
        errors["email"] = "Enter an e-mail address, such as name@example.com."
    for feature, prefix in (("address", ""), ("shipping", _SHIPPING)):
        country = entered[f"{prefix}country"]
        if feature in allowed and country and not re.fullmatch(r"[A-Za-z]{2}", country):
            errors[f"{prefix}country"] = "Enter the two letters of the country, such as US or DE."
        entered[f"{prefix}country"] = country.upper()
    for feature, name in (("phone", "phone"), ("shipping", f"{_SHIPPING}phone")):
        if feature in allowed and len(entered[name]) > 20:
            errors[name] = "A phone number has 20 characters at most."
    if "shipping" in allowed and any(_parts(entered, _SHIPPING).values()) and not entered[f"{_SHIPPING}name"]:
        errors[f"{_SHIPPING}name"] = "Enter who gets what is sent there."
    if "tax_id" in allowed:
        errors |= _wrong_tax_id(entered)
    return errors


def _wrong_tax_id(entered: dict[str, str]) -> dict[str, str]:
    kind, number = entered["tax_id_type"], entered["tax_id"].upper()
    entered["tax_id"] = number
    if not number:
        return {}
    if kind not in tax_ids.KINDS:
        return {"tax_id_type": "Choose what kind of number it is."}
    refusal = tax_ids.refusal_of(kind, number)
    return {"tax_id": refusal} if refusal else {}


def _values(entered: dict[str, str], allowed: list[str]) -> Object:
    values: dict[str, Any] = {name: entered[name] or None for name in _PLAIN if name in allowed}
    if "address" in allowed:
        parts = _parts(entered, "")
        values["address"] = parts if any(parts.values()) else None
    if "shipping" in allowed:
        name, phone = entered[f"{_SHIPPING}name"], entered[f"{_SHIPPING}phone"] or None
        values["shipping"] = {"address": _parts(entered, _SHIPPING), "name": name, "phone": phone} if name else None
    return values


def _parts(entered: dict[str, str], prefix: str) -> dict[str, str | None]:
    return {part: entered[prefix + part] or None for part in ADDRESS_LABELS}


def _save_tax_id(visit: Visit, kind: str, number: str) -> None:
    """Put another tax id in the place of the one that the form held; a number cannot be changed, as at Stripe."""
    old = _tax_id(visit)
    if old is not None and (old["type"], old["value"]) == (kind, number):
        return
    if old is not None:
        tax_ids.remove(visit.call, old)
    if number:
        tax_ids.add(visit.call, visit.customer, kind, number)


def _form(visit: Visit, allowed: list[str], form: dict[str, str], errors: dict[str, str], status: int) -> Response:
    return visit.show(
        "portal_details.html",
        status,
        allowed=allowed,
        form=form,
        errors=errors,
        address_labels=ADDRESS_LABELS,
        kinds=tax_ids.KINDS,
    )
