"""News for the tests of inbox, switches and mails: told as the portal tells it, and read back as it was kept."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from portal.core.addresses import own_address
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.notifications import messages
from portal.notifications.models import Notification, OutboxItem
from portal.notifications.notify import notify_team


def link() -> str:
    return own_address("accounts.teams")


def tell_of_seats(team_id: str, fact: str | None = None, seats: int = 5) -> None:
    tell(team_id, fact, lambda to: messages.seats_changed(to, seats=seats, plan_name="Pro", charged="", link=link()))


def tell_of_failure(team_id: str, fact: str | None = None) -> None:
    values: dict[str, Any] = {"amount": "$99.00", "plan_name": "Pro", "next_try": "", "first": True, "last": False}
    tell(team_id, fact, lambda to: messages.payment_failed(to, link=link(), **values))


def tell(team_id: str, fact: str | None, message: Any) -> None:
    with unit_of_work():
        notify_team(team_id, fact or new_id("fact"), message)
    db.session.remove()


def mailed(message: str) -> list[str]:
    """The addresses that a message was put for, sorted."""
    return sorted(payload["to"] for payload in payloads() if payload["message"] == message)


def payloads() -> list[dict[str, Any]]:
    found = list(db.session.execute(select(OutboxItem.payload).order_by(OutboxItem.created_at)).scalars())
    db.session.remove()
    return found


def entries_of(user_id: str) -> list[Notification]:
    query = select(Notification).where(Notification.user_id == user_id).order_by(Notification.id)
    found = list(db.session.execute(query).scalars())
    db.session.remove()
    return found
