"""The inbox: its page, the count in the frame of every page, and what becomes of an entry."""

from __future__ import annotations

from flask import Blueprint, abort, current_app, flash, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import auth_required
from werkzeug.exceptions import UnprocessableEntity

from portal.accounts.access import signed_in_user
from portal.core.htmx import is_htmx
from portal.core.redirects import leads_to, own_path
from portal.core.unit_of_work import unit_of_work
from portal.notifications import inbox as entries
from portal.notifications.inbox import Filters
from portal.notifications.kinds import Severity

bp = Blueprint("inbox", __name__)

SEVERITY_LABELS = {
    Severity.DANGER: "Needs you now",
    Severity.WARNING: "Needs attention",
    Severity.SUCCESS: "Good news",
    Severity.INFO: "For information",
}


@bp.get("/inbox", endpoint="inbox")
@auth_required("session")
def inbox_page() -> str:
    return render_template("notifications/inbox.html", **_page(_filters(request.args)))


@bp.get("/inbox/unread")
@auth_required("session")
def unread() -> ResponseReturnValue:
    """The count anew, 204 while it is what the page shows. A page that asks by itself keeps nobody signed in."""
    g.unattended = True
    if request.args.get("seen") == str(entries.unread_count(signed_in_user().id)):
        return "", 204
    return render_template("notifications/_bells.html", swapped_along=False)


@bp.post("/inbox/<entry_id>/reading")
@auth_required("session")
def open_entry(entry_id: str) -> ResponseReturnValue:
    """Mark it read and go to what it is about: a page of ours, or one of Stripe's."""
    user = signed_in_user()
    with unit_of_work():
        found = entries.find(user.id, entry_id)
        if found is None:
            abort(404)
        entries.mark_read(user.id, found.id)
        link = found.link
    hosted = leads_to(link, current_app.config["SETTINGS"].hosted_page_origins)
    return redirect(link if hosted else own_path(link) or url_for("inbox.inbox"), 303)


@bp.post("/inbox/<entry_id>/dismissal")
@auth_required("session")
def dismiss_entry(entry_id: str) -> ResponseReturnValue:
    user = signed_in_user()
    with unit_of_work():
        if entries.find(user.id, entry_id) is None:
            abort(404)
        entries.dismiss(user.id, entry_id)
    return _inbox_again("Dismissed. The history keeps it.")


@bp.post("/inbox/reading")
@auth_required("session")
def read_all() -> ResponseReturnValue:
    with unit_of_work():
        entries.mark_read(signed_in_user().id)
    return _inbox_again("Everything is marked as read.")


@bp.post("/inbox/dismissal")
@auth_required("session")
def dismiss_all() -> ResponseReturnValue:
    with unit_of_work():
        entries.dismiss(signed_in_user().id)
    return _inbox_again("Everything is dismissed. The history keeps it.")


def _inbox_again(words: str) -> ResponseReturnValue:
    """The list as it is now: in place with the count beside it, or by way of its page."""
    flash(words, "success")
    filters = _filters(request.form)
    if not is_htmx():
        return redirect(url_for("inbox.inbox", **filters.arguments), 303)
    parts = ("notifications/_inbox.html", "notifications/_bells.html", "_layout/_toasts.html")
    values = _page(filters) | {"swapped_along": True}
    return "".join(render_template(part, **values) for part in parts)


def _page(filters: Filters) -> dict[str, object]:
    user = signed_in_user()
    page = entries.listing(user.id, filters).page(request.args.get("before"), request.args.get("after"))
    return {
        "filters": filters,
        "page": page,
        "teams": entries.team_names(page.rows),
        "severities": {severity.value: words for severity, words in SEVERITY_LABELS.items()},
    }


def _filters(values: dict[str, str]) -> Filters:
    """Raises `UnprocessableEntity` for what the page does not offer."""
    severity, show = values.get("severity") or None, values.get("show") or None
    if severity is not None and severity not in SEVERITY_LABELS:
        raise UnprocessableEntity("There is no such kind of news.")
    if show not in (None, "all"):
        raise UnprocessableEntity("There is no such view.")
    return Filters(severity=severity, history=show == "all")
