"""Sending what waits in the outbox."""

from __future__ import annotations

from flask import current_app

from portal.core.jobs import ROUND
from portal.notifications.mail_transport import transport
from portal.notifications.outbox import drain


def drain_outbox() -> int:
    settings = current_app.config["SETTINGS"]
    return drain(transport(settings), keep_bodies=settings.mail_url is None, at_most=ROUND)


DRAINS = (drain_outbox,)
