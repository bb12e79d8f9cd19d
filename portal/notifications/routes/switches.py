"""The page on which people choose what they are told of, by mail and in the inbox."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import auth_required

from portal.accounts import audit
from portal.accounts.access import signed_in_user
from portal.core.unit_of_work import unit_of_work
from portal.notifications.kinds import KINDS, Channel
from portal.notifications.preferences import choose, switches_of
from portal.notifications.routes.inbox import bp

__all__ = ["bp"]


@bp.get("/account/notifications")
@auth_required("session")
def switches() -> str:
    return render_template("notifications/switches.html", rows=switches_of(signed_in_user().id))


@bp.post("/account/notifications")
@auth_required("session")
def change_switches() -> ResponseReturnValue:
    """A box that is not ticked is not sent, so the form says of each switch that it was there to be ticked."""
    user, on = signed_in_user(), set(request.form.getlist("on"))
    wanted = {
        (kind, channel.value): f"{kind}:{channel.value}" in on
        for kind in KINDS
        for channel in Channel
        if f"{kind}:{channel.value}" in request.form.getlist("shown")
    }
    with unit_of_work():
        changed = choose(user.id, wanted)
        if changed:
            audit.record(audit.by_user(user.id), "user.notifications_changed", switches=changed)
    flash("Your choice is saved." if changed else "Nothing was changed.", "success")
    return redirect(url_for("inbox.switches"), 303)
