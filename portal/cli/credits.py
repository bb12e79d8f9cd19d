"""`flask credits`: the staff's hand on a team's auto-purchase. Each act is kept in the audit trail with its reason."""

from __future__ import annotations

from collections.abc import Callable

import click
from flask.cli import AppGroup

from portal.accounts.models import Team
from portal.core import clock
from portal.core.database import db
from portal.core.money import money_words
from portal.core.unit_of_work import run_in_unit
from portal.credits import auto_purchase, purchase_rules
from portal.credits.purchase_rules import RuleRefused

group = AppGroup("credits", help="Credits of a team.")
auto = AppGroup("auto-purchase", help="Credits that a team lets buy themselves.")
group.add_command(auto)

REFUSED = {
    "off": "it is not on, or not in a state in which this could be done; `show` says how it stands",
    "not_allowed": "the team's plan does not include it",
    "not_offered": "it is not offered: the catalog works out taxes, or sells no bundle without a limit",
    "not_sold": "the bundle is not sold automatically any more, or not with the credits and at the price that were agreed to",
    "no_card": "the team has no saved card",
    "too_many": "too many payments were refused lately",
}
REASON = click.option("--reason", required=True, help="Kept in the audit trail.")
TEAM = click.argument("team_id", metavar="TEAM")


@auto.command("show")
@TEAM
def show_command(team_id: str) -> None:
    """Show how a team's rule stands, and what it has bought this month."""
    if db.session.get(Team, team_id) is None:
        raise click.ClickException(f"There is no team {team_id}.")
    rule = purchase_rules.rule_of(team_id)
    if rule is None:
        click.echo("never turned on")
        return
    bundle, spent = purchase_rules.bundle_of(rule), auto_purchase.bought(team_id, clock.now())
    click.echo(f"{'on' if rule.enabled else 'off'}, {rule.state}{f': {rule.reason}' if rule.reason else ''}")
    if rule.paused_at is not None:
        click.echo(f"paused by the staff: {rule.paused_reason}")
    click.echo(f"below {rule.threshold:,} ({rule.counts}), armed {rule.arming} times, consent {rule.consent_id}")
    if bundle is not None:
        sums = (money_words(cents, bundle.currency) for cents in (spent.month_cents, rule.month_cents_max))
        click.echo(f"this month {spent.month_count} of {rule.month_count_max} purchases, {' of '.join(sums)}")


@auto.command("pause")
@TEAM
@REASON
def pause_command(team_id: str, reason: str) -> None:
    """Let it buy nothing until `resume`. What was sent to Stripe already goes on."""
    _act(lambda: purchase_rules.pause(team_id, reason))


@auto.command("resume")
@TEAM
def resume_command(team_id: str) -> None:
    """End a pause."""
    _act(lambda: purchase_rules.resume(team_id))


@auto.command("forgive")
@TEAM
@REASON
def forgive_command(team_id: str, reason: str) -> None:
    """Let a stopped rule go on although its card is the same: it may be tried once more."""
    _act(lambda: purchase_rules.forgive(team_id, reason))


@auto.command("force")
@TEAM
@REASON
def force_command(team_id: str, reason: str) -> None:
    """Begin a purchase now, whatever the balance is; within what was agreed to and its limits."""
    _act(lambda: auto_purchase.force(team_id, reason))


def _act(work: Callable[[], str | None]) -> None:
    try:
        made = run_in_unit(work)
    except RuleRefused as error:
        raise click.ClickException(f"Nothing was changed: {REFUSED[error.reason]}.") from error
    click.echo(f"Begun: {made}." if made else "Done.")
