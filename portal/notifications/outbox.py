"""Putting mails into the outbox (with what caused them) and taking them out (in the worker)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from portal.core import jobs
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import after_commit, unit_of_work
from portal.notifications.messages import Message
from portal.notifications.models import OutboxItem

log = structlog.get_logger(__name__)

TOPIC_MAIL = "mail"
LEASE = timedelta(seconds=60)
ATTEMPTS_MAX = 8
ERROR_CHARACTERS_MAX = 500

Send = Callable[[Message], None]


def put_mail(message: Message, dedupe_key: str | None = None) -> None:
    """Save a mail in the current unit of work; the same `dedupe_key` twice is one mail."""
    item_id = new_id("mail")
    payload = {
        "message": message.name,
        "to": message.recipient,
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
    }
    values = {"id": item_id, "topic": TOPIC_MAIL, "dedupe_key": dedupe_key or item_id, "payload": payload}
    db.session.execute(insert(OutboxItem).values(values).on_conflict_do_nothing(index_elements=["dedupe_key"]))
    after_commit(jobs.hint)


def drain(send: Send, keep_bodies: bool) -> int:
    """Send what is due until nothing is; returns how many were sent.

    Unless `keep_bodies` (development's mail page shows them), a sent mail's body is erased: it may carry a link
    that lets its reader in.
    """
    sent = 0
    while (item := _claim()) is not None:
        sent += _deliver(item, send, keep_bodies)
    return sent


def _claim() -> OutboxItem | None:
    """Lease the oldest due mail. Leases run on real time, not on the movable clock."""
    with unit_of_work() as session:
        item = session.execute(
            select(OutboxItem)
            .where(
                OutboxItem.state == "pending",
                OutboxItem.run_at <= app_now(),
                (OutboxItem.lease_until.is_(None)) | (OutboxItem.lease_until < func.now()),
            )
            .order_by(OutboxItem.run_at, OutboxItem.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).scalar_one_or_none()
        if item is not None:
            item.lease_token = str(uuid.uuid4())
            item.lease_until = func.now() + LEASE
            item.attempts += 1
            session.flush()
            session.refresh(item)
    return item


def _deliver(item: OutboxItem, send: Send, keep_bodies: bool) -> bool:
    try:
        send(_message(item))
    except Exception as error:  # noqa: BLE001  whatever a mail server does must not stop the other mails
        log.warning("mail_failed", mail_id=item.id, attempt=item.attempts, reason=type(error).__name__)
        _settle(item, {"last_error": f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX], **_next_try(item)})
        return False
    payload = item.payload if keep_bodies else {"message": item.payload["message"]}
    _settle(item, {"state": "done", "payload": payload, "last_error": None})
    return True


def _next_try(item: OutboxItem) -> dict[str, object]:
    if item.attempts >= ATTEMPTS_MAX:
        log.error("mail_dead", mail_id=item.id)
        return {"state": "dead"}
    return {"run_at": app_now() + timedelta(seconds=min(3600, 5 * 4**item.attempts)), "lease_until": None}


def _settle(item: OutboxItem, values: dict[str, object]) -> None:
    """Record the outcome, unless the lease was lost to another worker meanwhile."""
    with unit_of_work() as session:
        session.execute(
            update(OutboxItem)
            .where(OutboxItem.id == item.id, OutboxItem.lease_token == item.lease_token)
            .values(lease_token=None, **values)
        )


def _message(item: OutboxItem) -> Message:
    payload = item.payload
    return Message(payload["message"], payload["to"], payload["subject"], payload["text"], payload["html"])
