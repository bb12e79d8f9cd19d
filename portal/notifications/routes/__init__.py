"""The inbox with its switches, the way out of mails, and development's mailbox."""

from __future__ import annotations

from portal.notifications.routes import dev_mail, inbox, switches, unsubscribe

assert inbox.bp is switches.bp is unsubscribe.bp
BLUEPRINTS = [dev_mail.bp, inbox.bp]
