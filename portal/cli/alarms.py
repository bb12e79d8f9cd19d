"""`flask alarms`: what a person must look at, doing again what was given up, and saying that it is dealt with."""

from __future__ import annotations

import getpass

import click
from flask.cli import AppGroup

from portal.accounts import audit
from portal.core import alarms
from portal.core.alarm_words import meaning_of
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications import outbox
from portal.webhooks import claim

# What takes an alarm's subject up again.
RETRIES = {
    "dead_event": claim.try_again,
    "given_up_event": claim.try_again,
    "dead_mail": outbox.try_again,
}

group = AppGroup("alarms", help="What a person must look at.")


@group.command("list")
def list_command() -> None:
    """Show the open alarms, oldest first; exit 1 when there are any."""
    found = alarms.open_alarms()
    for alarm in found:
        known = ", ".join(f"{name}={value}" for name, value in sorted(alarm.detail.items()))
        click.echo(f"{alarm.id}  {alarm.raised_at:%Y-%m-%d %H:%M}  {alarm.kind}  {alarm.subject}")
        click.echo(f"    {meaning_of(alarm.kind)}{f' ({known})' if known else ''}")
    if found:
        raise click.exceptions.Exit(1)
    click.echo("No alarm is open.")


@group.command("resolve")
@click.argument("alarm_id", metavar="ALARM")
@click.option("--reason", required=True, help="What was done about it; kept with the alarm and in the audit trail.")
def resolve_command(alarm_id: str, reason: str) -> None:
    """Close an alarm. The same thing noticed later is a new one."""
    with unit_of_work():
        alarm = _resolve(alarm_id, reason, "alarm.resolved")
    click.echo(f"Resolved: {alarm.kind} {alarm.subject}")


@group.command("retry")
@click.argument("alarm_id", metavar="[ALARM]", required=False)
@click.option("--kind", type=click.Choice(sorted(RETRIES)), help="All open alarms of this kind, instead of one.")
@click.option("--reason", required=True, help="What was mended; kept with the alarm and in the audit trail.")
def retry_command(alarm_id: str | None, kind: str | None, reason: str) -> None:
    """Do again what was given up (an event, a mail), with all of its tries, and close its alarm."""
    if (alarm_id is None) == (kind is None):
        raise click.UsageError("name an alarm, or a kind of alarms with --kind")
    ids = [alarm_id] if alarm_id else [alarm.id for alarm in alarms.open_alarms() if alarm.kind == kind]
    db.session.remove()
    if not ids:
        click.echo(f"No alarm of the kind {kind} is open.")
    failed = sum(not _retried(one, reason) for one in ids)
    if failed:
        raise click.exceptions.Exit(1)


def _retried(alarm_id: str, reason: str) -> bool:
    """In a unit of its own, so that one that cannot be tried again holds up no other."""
    try:
        with unit_of_work():
            subject = _retry(alarm_id, reason)
    except click.ClickException as refused:
        refused.show()
        return False
    click.echo(f"Will be tried again: {subject}")
    return True


def _retry(alarm_id: str, reason: str) -> str:
    """What is tried again. Raises `ClickException`, after which nothing has changed."""
    alarm = _resolve(alarm_id, reason, "alarm.retried")
    if alarm.kind not in RETRIES:
        raise click.ClickException(f"Of {alarm.kind} there is nothing to try again. Close it with `resolve`.")
    if not RETRIES[alarm.kind](alarm.subject):
        raise click.ClickException(f"{alarm.subject} is not set aside. Close the alarm with `resolve`.")
    return alarm.subject


def _resolve(alarm_id: str, reason: str, action: str) -> Alarm:
    """Close the alarm in the current unit, with its entry in the audit trail."""
    reason = reason.strip()
    if not reason:
        raise click.BadParameter("say what was done about it", param_hint="--reason")
    alarm = alarms.resolve(alarm_id, reason)
    if alarm is None:
        raise click.ClickException(f"There is no open alarm {alarm_id}.")
    audit.record(audit.SYSTEM, action, target=alarm.id, kind=alarm.kind, reason=reason, login=_login())
    return alarm


def _login() -> str:
    """Who is at the keyboard, as the machine knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
