"""Hands the outbox to the accounts library (notifications stand above accounts, so the wiring is here)."""

from __future__ import annotations

from flask import Flask

from portal.notifications.security_mail import OutboxMailUtil
from portal.settings import Settings


def init_app(app: Flask, settings: Settings) -> None:
    app.extensions["security"]._mail_util = OutboxMailUtil(app)  # noqa: SLF001  its own option would need us before accounts
