"""The way out of a mail: a page that asks, and one POST that does it, from the page or from the mail program (RFC 8058)."""

from __future__ import annotations

from flask import abort, render_template, request
from flask.typing import ResponseReturnValue

from portal.accounts import audit
from portal.accounts.models import User
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.extensions import csrf
from portal.notifications.kinds import KINDS
from portal.notifications.preferences import stop_mails
from portal.notifications.routes.inbox import bp
from portal.notifications.unsubscribing import NoSuchLink, Unsubscribing, read_token

__all__ = ["bp"]


@bp.get("/unsubscribe/<token>")
def unsubscribe(token: str) -> ResponseReturnValue:
    """Asks and changes nothing, because mail programs open links on their own."""
    try:
        found = read_token(token)
    except NoSuchLink:
        return render_template("notifications/unsubscribe_over.html"), 400
    return render_template("notifications/unsubscribe.html", kind=KINDS[found.kind], token=token)


@bp.post("/unsubscribe/<token>")
@csrf.exempt
def stop(token: str) -> ResponseReturnValue:
    """The link proves itself: a mail program has no session, no form token, and follows no redirect."""
    if request.form.get("List-Unsubscribe") != "One-Click":
        abort(400)
    try:
        found = read_token(token)
        with unit_of_work():
            _stop(found)
    except NoSuchLink:
        return render_template("notifications/unsubscribe_over.html"), 400
    return render_template("notifications/unsubscribed.html", kind=KINDS[found.kind])


def _stop(found: Unsubscribing) -> None:
    if db.session.get(User, found.user_id) is None:
        raise NoSuchLink
    if stop_mails(found.user_id, found.kind):
        audit.record(audit.by_user(found.user_id), "user.unsubscribed", kind=found.kind)
