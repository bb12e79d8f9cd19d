"""The usage page: figures of a time, and the uses they are made of."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, render_template, request
from werkzeug.exceptions import UnprocessableEntity

from portal.accounts.access import current_membership, current_team, team_page
from portal.core import clock
from portal.core.authz import Action, may
from portal.core.htmx import is_htmx
from portal.credits.lasting import lasting
from portal.credits.queries import summary
from portal.usage.chosen_period import CHOICES, UsagePeriod, chosen_period
from portal.usage.event_list import event_page
from portal.usage.figures import Narrowed, by_api_key, by_day, by_member, by_meter
from portal.usage.names import api_key_names, member_names, meter_names
from portal.usage.usage_page import build

bp = Blueprint("usage", __name__)
BLUEPRINTS = [bp]

# How an address names uses without a key, or without a member.
NONE = "none"
OFFERED_MAX = 50
NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
GONE = "Not used in this time"


@bp.get("/teams/<team_id>/usage", endpoint="usage")
@team_page(Action.VIEW_BILLING)
def usage_page() -> str:
    """The page, or for a swap its region alone."""
    return render_template("usage/_region.html" if is_htmx() else "usage/usage.html", **_page())


@bp.get("/teams/<team_id>/usage/explain", endpoint="explain")
@team_page(Action.VIEW_BILLING)
def explain_page() -> str:
    """A figure taken apart: what each day of the time has added to it."""
    team, now = current_team(), clock.now()
    period = chosen_period(team, request.args, now)
    narrowed, _offered = _narrowed(team.id, period)
    days = by_day(team.id, period.since, period.until, narrowed)
    return render_template(
        "usage/explain.html",
        team=team,
        period=period,
        narrowed=narrowed,
        days=days,
        used=by_meter(days),
        meters=meter_names({meter for _day, meter in days}),
        arguments=_arguments(period, narrowed),
    )


def _page() -> dict[str, Any]:
    team, now = current_team(), clock.now()
    period = chosen_period(team, request.args, now)
    narrowed, offered = _narrowed(team.id, period)
    present = summary(team.id)
    return {
        "team": team,
        "period": period,
        "page": build(team.id, period, narrowed),
        "events": event_page(team.id, period.since, period.until, narrowed, request.args.get("before")),
        "credits": present,
        "lasting": lasting(team.id, present) if period.under_way and not narrowed.any else None,
        "choices": CHOICES,
        "offered": offered,
        "arguments": _arguments(period, narrowed),
        "may_manage": may(current_membership().role, Action.MANAGE_BILLING),
    }


def _narrowed(team_id: str, period: UsagePeriod) -> tuple[Narrowed, dict[str, dict[str, str]]]:
    """What the address narrows to, and what the page offers for that: meters, and keys and members with use in this time.

    Whatever else an address names has no use here, which the page then says. Raises `UnprocessableEntity` for what cannot
    be a name at all.
    """
    narrowed = Narrowed(_chosen("meter"), _chosen("key"), _chosen("member"))
    keys = list(by_api_key(team_id, period.since, period.until))[:OFFERED_MAX]
    members = list(by_member(team_id, period.since, period.until))[:OFFERED_MAX]
    meters = meter_names(by_meter(by_day(team_id, period.since, period.until)))
    offered = {
        "meter": {meter.key: meter.name for meter in meters.values()},
        "key": {key_id or NONE: name for key_id, name in api_key_names(team_id, keys).items()},
        "member": {user_id or NONE: name for user_id, name in member_names(members).items()},
    }
    for name, value in _addressed(narrowed).items():
        offered[name].setdefault(value, api_key_names(team_id, [value])[value] if name == "key" else GONE)
    return narrowed, offered


def _chosen(name: str) -> str | None:
    value = request.args.get(name) or None
    if value is not None and not NAME.fullmatch(value):
        raise UnprocessableEntity(f"There is no such {name}.")
    return "" if value == NONE else value


def _arguments(period: UsagePeriod, narrowed: Narrowed) -> dict[str, str]:
    """What the page shows, as it stands in an address."""
    return period.arguments | _addressed(narrowed)


def _addressed(narrowed: Narrowed) -> dict[str, str]:
    chosen = {"meter": narrowed.meter, "key": narrowed.api_key_id, "member": narrowed.user_id}
    return {name: value or NONE for name, value in chosen.items() if value is not None}
