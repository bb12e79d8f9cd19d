"""`/dev/mail`: in development, the mails that would have been sent."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, abort, current_app, render_template
from sqlalchemy import select

from portal.core.database import db
from portal.notifications.models import OutboxItem

bp = Blueprint("notifications", __name__)

SHOWN_MAX = 100
LINK = re.compile(r"https?://\S+")


@bp.before_request
def development_only() -> None:
    """Mails carry links that let their reader in, so the pages exist only where no mail is really sent."""
    settings = current_app.config["SETTINGS"]
    if settings.production or settings.mail_url:
        abort(404)


@bp.get("/dev/mail")
def dev_mail() -> str:
    query = select(OutboxItem).where(OutboxItem.topic == "mail").order_by(OutboxItem.id.desc()).limit(SHOWN_MAX)
    mails = [_view(item) for item in db.session.execute(query).scalars()]
    return render_template("notifications/dev_mail.html", mails=mails)


@bp.get("/dev/mail/<mail_id>")
def dev_mail_message(mail_id: str) -> str:
    return render_template("notifications/dev_mail_message.html", mail=_view(_mail(mail_id)))


@bp.get("/dev/mail/<mail_id>/html")
def dev_mail_html(mail_id: str) -> Response:
    """The HTML form, for the frame on the mail's page; mails carry literal styles, so it has a policy of its own."""
    answer = Response(_mail(mail_id).payload["html"], mimetype="text/html")
    answer.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox allow-popups"
    )
    return answer


def _mail(mail_id: str) -> OutboxItem:
    item = db.session.get(OutboxItem, mail_id)
    if item is None:
        abort(404)
    return item


def _view(item: OutboxItem) -> dict[str, Any]:
    payload = item.payload
    return {
        "id": item.id,
        "to": payload.get("to", ""),
        "subject": payload.get("subject", ""),
        "text": payload.get("text", ""),
        "links": LINK.findall(payload.get("text", "")),
        "created_at": item.created_at,
        "state": item.state,
    }
