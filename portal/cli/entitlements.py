"""`flask entitlements`: what a team may do, and exceptions for one team."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from flask.cli import AppGroup

from portal.accounts.models import Team
from portal.billing.entitlement_overrides import UnusableOverride, override, revoke
from portal.billing.entitlements import FeatureRight, effective
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work

group = AppGroup("entitlements", help="What a team may do.")


@group.command("show")
@click.argument("team_id", metavar="TEAM")
def show_command(team_id: str) -> None:
    """Show the rights of a team, and what each comes from."""
    if db.session.get(Team, team_id) is None:
        raise click.ClickException(f"There is no team {team_id}.")
    rights = effective(team_id)
    click.echo(f"plan {rights.plan.key if rights.plan else 'none'}, access {rights.access}")
    for feature in rights.features:
        until = f" until {feature.ends_at:%Y-%m-%d %H:%M} UTC" if feature.ends_at else ""
        click.echo(f"{feature.key:24} {_value(feature):12} {feature.source}{until}")


@group.command("override")
@click.argument("team_id", metavar="TEAM")
@click.argument("feature", metavar="FEATURE")
@click.option("--on/--off", "enabled", default=True, help="Give it (the default) or take it away.")
@click.option("--limit", type=int, help="Of a limit: how much; without it there is no limit.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="When it ends (UTC); else never.")
@click.option("--reason", required=True, help="Kept with the exception and in the audit trail.")
def override_command(
    team_id: str, feature: str, enabled: bool, limit: int | None, until: datetime | None, reason: str
) -> None:
    """Make an exception for a team, in place of the one it has for that feature."""
    ends_at = until.replace(tzinfo=UTC) if until else None
    try:
        with unit_of_work():
            override(team_id, feature, enabled=enabled, limit=limit, ends_at=ends_at, reason=reason)
    except UnusableOverride as error:
        raise click.ClickException(f"Nothing was changed: {error}.") from error
    click.echo("Done.")


@group.command("revoke")
@click.argument("team_id", metavar="TEAM")
@click.argument("feature", metavar="FEATURE")
def revoke_command(team_id: str, feature: str) -> None:
    """End an exception: what the plan gives counts again."""
    try:
        with unit_of_work():
            found = revoke(team_id, feature)
    except UnusableOverride as error:
        raise click.ClickException(f"Nothing was changed: {error}.") from error
    if not found:
        raise click.ClickException(f"Team {team_id} has no exception for {feature}.")
    click.echo("Done.")


def _value(feature: FeatureRight) -> str:
    if feature.kind == "text":
        return feature.text or "-"
    if not feature.enabled:
        return "off"
    if feature.kind == "switch":
        return "on"
    return "no limit" if feature.limit is None else f"{feature.limit} {feature.unit or ''}".strip()
