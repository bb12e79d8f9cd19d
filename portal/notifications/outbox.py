"""Putting mails into the outbox (with what caused them) and taking them out (in the worker)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from portal.core import jobs, liveness
from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.stopping import stopping
from portal.core.unit_of_work import after_commit, unit_of_work
from portal.notifications.messages import Message
from portal.notifications.models import OutboxItem

log = structlog.get_logger(__name__)

TOPIC_MAIL = "mail"
# Longer than a slow mail server can take, which answers up to ten commands in 15 s each.
LEASE = timedelta(seconds=180)
# With their pauses a little more than a day: a mail server that is away for a night loses nobody's mail.
ATTEMPTS_MAX = 30
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
        "unsubscribe": message.unsubscribe,
    }
    values = {"id": item_id, "topic": TOPIC_MAIL, "dedupe_key": dedupe_key or item_id, "payload": payload}
    db.session.execute(insert(OutboxItem).values(values).on_conflict_do_nothing(index_elements=["dedupe_key"]))
    after_commit(jobs.hint_soon)


def is_put(dedupe_key: str) -> bool:
    """Whether a mail was put under the key: what is told of again and again need not be worded each time."""
    return db.session.execute(select(OutboxItem.id).where(OutboxItem.dedupe_key == dedupe_key)).first() is not None


def drain(send: Send, keep_bodies: bool, at_most: int | None = None) -> int:
    """Send what is due until nothing is, `at_most` were tried, or this process is to end; returns how many were sent.

    Unless `keep_bodies` (development's mail page shows them), a sent mail's body is erased: it may carry a link
    that lets its reader in.
    """
    tried = sent = 0
    while tried != at_most and not stopping() and (item := _claim()) is not None:
        sent += _deliver(item, send, keep_bodies)
        tried += 1
    return sent


def _claim() -> OutboxItem | None:
    """Lease the oldest due mail, also one whose worker died. Leases run on real time, not on the movable clock."""
    while True:
        with unit_of_work() as session:
            item = session.execute(_due()).scalar_one_or_none()
            if item is None:
                return None
            _lease(session, item)
            if item.attempts <= ATTEMPTS_MAX:
                return item
            _record(item, _dead(item, "its worker died each time"))


def _due() -> Select[OutboxItem]:
    over = OutboxItem.lease_until.is_(None) | (OutboxItem.lease_until < func.now())
    return (
        select(OutboxItem)
        .where(
            OutboxItem.state == "pending",
            OutboxItem.run_at <= app_now(),
            over | liveness.is_dead(OutboxItem.lease_holder),
        )
        .order_by(OutboxItem.run_at, OutboxItem.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )


def _lease(session: Session, item: OutboxItem) -> None:
    """Should this worker die, another one follows at once, and later ones with growing pauses."""
    if item.attempts:
        item.run_at = app_now() + _pause(item.attempts)
    item.lease_token, item.lease_holder = str(uuid.uuid4()), liveness.holder()
    item.lease_until = func.now() + LEASE
    item.attempts += 1
    session.flush()
    session.refresh(item)


def _deliver(item: OutboxItem, send: Send, keep_bodies: bool) -> bool:
    try:
        send(_message(item))
    except Exception as error:  # noqa: BLE001  whatever a mail server does must not stop the other mails
        log.warning("mail_failed", mail_id=item.id, attempt=item.attempts, reason=type(error).__name__)
        _failed(item, f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX])
        return False
    payload = item.payload if keep_bodies else {"message": item.payload["message"]}
    with unit_of_work():
        _record(item, {"state": "done", "payload": payload, "last_error": None})
    return True


def _failed(item: OutboxItem, reason: str) -> None:
    with unit_of_work():
        if item.attempts < ATTEMPTS_MAX:
            _record(item, {"run_at": app_now() + _pause(item.attempts), "last_error": reason})
        else:
            _record(item, _dead(item, reason))


def _dead(item: OutboxItem, reason: str) -> dict[str, object]:
    """Nobody gets this mail any more: a person must look."""
    raise_alarm("dead_mail", item.id, message=item.payload["message"], attempts=item.attempts)
    return {"state": "dead", "last_error": reason}


def try_again(mail_id: str) -> bool:
    """Let a dead mail begin anew in the current unit, with all of its tries; False when there is no such dead mail."""
    found = db.session.execute(
        update(OutboxItem)
        .where(OutboxItem.id == mail_id, OutboxItem.state == "dead")
        .values(state="pending", attempts=0, run_at=app_now())
        .returning(OutboxItem.id)
        .execution_options(synchronize_session=False)
    )
    after_commit(jobs.hint_soon)
    return found.first() is not None


def _pause(attempts: int) -> timedelta:
    return timedelta(seconds=min(3600, 5 * 4 ** min(attempts, 8)))


def _record(item: OutboxItem, values: dict[str, object]) -> None:
    """Write the outcome and end the lease, unless that was lost to another worker meanwhile."""
    db.session.execute(
        update(OutboxItem)
        .where(OutboxItem.id == item.id, OutboxItem.lease_token == item.lease_token)
        .values(lease_until=None, lease_token=None, lease_holder=None, **values)
        .execution_options(synchronize_session=False)
    )


def _message(item: OutboxItem) -> Message:
    payload = item.payload
    return Message(
        payload["message"],
        payload["to"],
        payload["subject"],
        payload["text"],
        payload["html"],
        payload.get("unsubscribe"),
    )
