"""`flask ledger verify`: prove the credit ledger from its rows."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from portal.core.unit_of_work import unit_of_work
from portal.credits.proof import prove
from portal.credits.verify import Finding, verify

group = AppGroup("ledger", help="The credit ledger.")


@group.command("verify")
@click.option("--team", "team_id", metavar="TEAM", help="Only this team's account.")
def verify_command(team_id: str | None) -> None:
    """Check every invariant of the ledger; exit 1 if one is violated. Over all accounts the result is kept."""
    if team_id:
        findings = verify(team_id)
    else:
        with unit_of_work():
            findings = prove()
    for finding in findings:
        _print(finding)
    violated = sum(1 for finding in findings if finding.violations)
    if violated:
        raise click.exceptions.Exit(1)
    click.echo("The ledger is sound.")


def _print(finding: Finding) -> None:
    state = f"{finding.violations} violated" if finding.violations else "0 violations"
    click.echo(f"{finding.invariant.id:<4} {state:<14} {finding.invariant.meaning}")
    for violation in finding.details:
        click.echo(f"     {violation.team_id or 'tables'}: {violation.detail}")
    if finding.violations > len(finding.details):
        click.echo(f"     and {finding.violations - len(finding.details)} more")
