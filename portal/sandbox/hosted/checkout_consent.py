"""What a checkout asks its payer to agree to: the terms, without which nothing is paid, and news, which anyone may refuse."""

from collections.abc import Mapping

from portal.sandbox.store import Object

DISAGREED = "Agree to the terms of service to go on."


def needs_terms(session: Object) -> bool:
    """Say whether the session cannot be paid without agreeing to the terms."""
    return bool((session["consent_collection"] or {}).get("terms_of_service") == "required")


def asks_for_news(session: Object) -> bool:
    """Say whether the page offers to send news. The account and everyone who pays here count as being in the US."""
    return bool((session["consent_collection"] or {}).get("promotions") == "auto")


def error_of(session: Object, form: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with what was ticked, by field."""
    return {"terms_of_service": DISAGREED} if needs_terms(session) and not form.get("terms_of_service") else {}


def given(session: Object, form: Mapping[str, str]) -> Object | None:
    """Return what was agreed to, as the session tells of it; None when nothing was asked."""
    if not needs_terms(session) and not asks_for_news(session):
        return None
    news = ("opt_in" if form.get("promotions") else "opt_out") if asks_for_news(session) else None
    return {"promotions": news, "terms_of_service": "accepted" if needs_terms(session) else None}
