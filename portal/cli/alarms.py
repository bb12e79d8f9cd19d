"""`flask alarms`: what a person must look at, and saying that it is dealt with."""

from __future__ import annotations

import getpass

import click
from flask.cli import AppGroup

from portal.accounts import audit
from portal.core import alarms
from portal.core.alarm_words import meaning_of
from portal.core.unit_of_work import unit_of_work

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
    if not reason.strip():
        raise click.BadParameter("say what was done about it", param_hint="--reason")
    with unit_of_work():
        alarm = alarms.resolve(alarm_id, reason.strip())
        if alarm is not None:
            audit.record(
                audit.SYSTEM, "alarm.resolved", target=alarm.id, kind=alarm.kind, reason=reason.strip(), login=_login()
            )
    if alarm is None:
        raise click.ClickException(f"There is no open alarm {alarm_id}.")
    click.echo(f"Resolved: {alarm.kind} {alarm.subject}")


def _login() -> str:
    """Who is at the keyboard, as the machine knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
