"""The page of a team's audit trail, for its owners."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, abort, g, render_template, request

from portal.accounts.access import current_team, team_page
from portal.accounts.audit_log import AuditRow, Filters, choices_of_team, export_of_team, page_of_team
from portal.accounts.routes.people import bp
from portal.core.authz import Action
from portal.core.csv_export import csv_answer
from portal.core.ids import is_id

__all__ = ["bp"]

CSV_HEADER = ("id", "time", "actor", "action", "in words", "detail", "target", "ip", "device", "request id")


@bp.get("/teams/<team_id>/audit")
@team_page(Action.VIEW_AUDIT)
def audit() -> str:
    team = current_team()
    actions, actors = choices_of_team(team.id)
    page = page_of_team(team.id, _filters(), before=_cursor("before"), after=_cursor("after"))
    asked = {name: request.args[name] for name in ("action", "actor", "since", "until") if request.args.get(name)}
    return render_template("accounts/audit.html", team=team, page=page, actions=actions, actors=actors, asked=asked)


@bp.get("/teams/<team_id>/audit.csv")
@team_page(Action.VIEW_AUDIT)
def audit_csv() -> Response:
    rows = (_line(row) for row in export_of_team(current_team().id, _filters()))
    return csv_answer("audit", CSV_HEADER, rows)


def _line(row: AuditRow) -> tuple[Any, ...]:
    return (
        row.id,
        row.at,
        row.actor,
        row.action,
        row.words,
        row.detail,
        row.target,
        row.ip,
        row.device,
        row.request_id,
    )


def _filters() -> Filters:
    """From the address; a day that is none is a 400. `until` means the whole of its day."""
    return Filters(
        action=request.args.get("action", ""),
        actor=request.args.get("actor", ""),
        since=_day("since"),
        until=_day("until", timedelta(days=1)),
    )


def _day(name: str, later: timedelta = timedelta()) -> datetime | None:
    """The day's beginning in the zone the page is shown in."""
    text = request.args.get(name)
    if not text:
        return None
    zone = ZoneInfo((g.person.time_zone if "person" in g else None) or current_team().time_zone)
    try:
        return (datetime.strptime(text, "%Y-%m-%d") + later).replace(tzinfo=zone)  # noqa: DTZ007  given its zone at once
    except (ValueError, OverflowError):
        abort(400)


def _cursor(name: str) -> str | None:
    text = request.args.get(name)
    if text and not is_id("audit", text):
        abort(400)
    return text or None
