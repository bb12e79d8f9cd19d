"""Sending what waits in the outbox, clearing old entries of inboxes away, and telling the operator of alarms."""

from __future__ import annotations

from datetime import timedelta

from flask import current_app

from portal.core.jobs import ROUND
from portal.core.schedule import Task
from portal.core.unit_of_work import unit_of_work
from portal.notifications import inbox
from portal.notifications.alarm_mail import mail_new_alarms
from portal.notifications.mail_transport import transport
from portal.notifications.outbox import drain


def drain_outbox() -> int:
    settings = current_app.config["SETTINGS"]
    return drain(transport(settings), keep_bodies=settings.mail_url is None, at_most=ROUND)


def tell_of_alarms() -> int:
    """Without `ALARM_MAIL` nothing is marked as told: whoever sets it later hears of what is still open."""
    recipient = current_app.config["SETTINGS"].alarm_mail
    if recipient is None:
        return 0
    with unit_of_work():
        return mail_new_alarms(recipient)


def forget_old_entries() -> int:
    with unit_of_work():
        return inbox.sweep()


DRAINS = (drain_outbox,)
SCHEDULE = {
    "notifications.alarm_mail": Task(tell_of_alarms, timedelta(seconds=30)),
    "notifications.old_entries": Task(forget_old_entries, timedelta(hours=1)),
}
