"""`flask clock`: show or move the clock of a development instance."""

from __future__ import annotations

from datetime import timedelta

import click
from flask.cli import AppGroup

from portal.core import clock
from portal.core.unit_of_work import unit_of_work

group = AppGroup("clock", help="Show or move the clock (development only).")


@group.command("show")
def show() -> None:
    """Print the portal's time and how far it runs ahead of the real one."""
    click.echo(f"{clock.now():%Y-%m-%d %H:%M:%S} UTC, ahead by {clock.offset()}")


# Else a negative amount would be taken for an option.
@group.command("advance", context_settings={"ignore_unknown_options": True})
@click.argument("amount", type=int)
@click.argument("unit", type=click.Choice(["seconds", "minutes", "hours", "days"]))
def advance(amount: int, unit: str) -> None:
    """Move the clock on, for instance `flask clock advance 31 days`; a negative AMOUNT moves it back."""
    try:
        with unit_of_work():
            clock.advance(timedelta(**{unit: amount}))
    except clock.ClockError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{clock.now():%Y-%m-%d %H:%M:%S} UTC")
