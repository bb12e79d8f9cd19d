"""Telling the operator of new alarms: one mail for all that came up since the last look, and each told once."""

from __future__ import annotations

from portal.core import alarms
from portal.core.alarm_words import meaning_of
from portal.core.alarms import Alarm
from portal.notifications import messages
from portal.notifications.messages import AlarmLine
from portal.notifications.outbox import put_mail

AT_ONCE = 50
# Of a mail about alarms that could not be sent no mail is sent.
OWN = {"message": "alarms"}


def mail_new_alarms(recipient: str) -> int:
    """Put the mail into the outbox in the current unit; returns how many alarms it tells of."""
    found = alarms.take_unmailed(AT_ONCE)
    told = [alarm for alarm in found if not (alarm.kind == "dead_mail" and OWN.items() <= alarm.detail.items())]
    if told:
        put_mail(messages.alarms(recipient, [_line(alarm) for alarm in told]), f"alarms:{told[0].id}")
    return len(told)


def _line(alarm: Alarm) -> AlarmLine:
    return AlarmLine(alarm.kind, alarm.subject, alarm.raised_at, meaning_of(alarm.kind))
