"""Where whoever pays at a checkout is, which its tax depends on: asking, and reading what was said."""

import re
from collections.abc import Mapping
from typing import Any

from portal.sandbox import wording
from portal.sandbox.addresses import blank_address
from portal.sandbox.store import Object

WHERE = "Say where you are: the tax depends on it."


def read(form: Mapping[str, str]) -> Object | str:
    """Return the address that was entered, or what is wrong with it."""
    country, state = (form.get(name, "").strip().upper() for name in ("country", "state"))
    if country not in wording.COUNTRIES:
        return WHERE
    if country == "US" and not re.fullmatch("[A-Z]{2}", state):
        return "Enter the two letters of your state."
    return blank_address() | {"country": country, "state": state if country == "US" else None}


def is_unknown(session: Object) -> bool:
    """Say whether tax is to be worked out for a place that nobody has named."""
    return bool(session["automatic_tax"]["status"] == "requires_location_inputs")


def may_say(session: Object) -> bool:
    """Say whether the place is the person's to name: it is not that of a customer whose address stays."""
    free = session["customer"] is None or session["_customer_update"].get("address") == "auto"
    return bool(session["automatic_tax"]["enabled"] and free)


def asked(session: Object, error: str | None) -> dict[str, Any] | None:
    """Return what the page asks, and what was said; None when the tax does not depend on it, or the place is known."""
    if not may_say(session):
        return None
    said = session["_address"] or {}
    return {"countries": wording.COUNTRIES, "country": said.get("country"), "state": said.get("state"), "error": error}
