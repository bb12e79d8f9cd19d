"""The usage page: figures of a time, and the uses they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
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
from portal.usage.first_notice import first_notice
from portal.usage.names import NO_KEY, NO_MEMBER, api_key_names, member_names, meter_names
from portal.usage.narrowing import NONE, narrowed_arguments, read_narrowed
from portal.usage.settled_holds import settled_holds
from portal.usage.usage_page import build, included_rows

bp = Blueprint("usage", __name__)

OFFERED_MAX = 50
GONE = "Not used in this time"


@bp.get("/teams/<team_id>/usage", endpoint="usage")
@team_page(Action.VIEW_BILLING)
def usage_page() -> ResponseReturnValue:
    """The page, or for a swap its region alone. What cannot be shown is refused in words above what can."""
    wanted = _wanted()
    template = "usage/_region.html" if is_htmx() else "usage/usage.html"
    return render_template(template, **_page(wanted)), 422 if wanted.refusal else 200


@bp.get("/teams/<team_id>/usage/explain", endpoint="explain")
@team_page(Action.VIEW_BILLING)
def explain_page() -> ResponseReturnValue:
    """A figure taken apart: what each day of the time has added to it."""
    wanted, team_id = _wanted(), current_team().id
    period = wanted.period
    days = by_day(team_id, period.since, period.until, wanted.narrowed)
    page = render_template(
        "usage/explain.html",
        team=current_team(),
        wanted=wanted,
        period=period,
        narrowed=wanted.narrowed,
        days=days,
        used=by_meter(days),
        meters=meter_names({meter for _day, meter in days}),
        arguments=wanted.arguments,
        included=included_rows(team_id, period, wanted.narrowed, days),
        holds=settled_holds(team_id, period.since, period.until, wanted.narrowed),
    )
    return page, 422 if wanted.refusal else 200


@dataclass(frozen=True)
class Wanted:
    """What the address asks for; with a `refusal`, why not, and what is shown instead."""

    period: UsagePeriod
    narrowed: Narrowed
    refusal: str | None = None

    @property
    def arguments(self) -> dict[str, str]:
        """As it stands in an address."""
        return self.period.arguments | narrowed_arguments(self.narrowed)


def _wanted() -> Wanted:
    team, now = current_team(), clock.now()
    try:
        return Wanted(chosen_period(team, request.args, now), read_narrowed(request.args))
    except UnprocessableEntity as error:
        return Wanted(chosen_period(team, {}, now), Narrowed(), error.description)


def _page(wanted: Wanted) -> dict[str, Any]:
    team, period, narrowed = current_team(), wanted.period, wanted.narrowed
    present, page = summary(team.id), build(team.id, period, narrowed)
    return {
        "team": team,
        "wanted": wanted,
        "period": period,
        "page": page,
        "events": event_page(team.id, period.since, period.until, narrowed, request.args.get("before")),
        "credits": present,
        "state": first_notice(team.id, present),
        "lasting": lasting(team.id, present) if period.under_way and not narrowed.any else None,
        "overages": page.overages,
        "choices": CHOICES,
        "offered": _offered(team.id, period, narrowed),
        "arguments": wanted.arguments,
        "may_manage": may(current_membership().role, Action.MANAGE_BILLING),
    }


def _offered(team_id: str, period: UsagePeriod, narrowed: Narrowed) -> dict[str, dict[str, str]]:
    """What the page can be narrowed to: the meters, and the keys and members with use in this time, or chosen before."""
    keys = list(by_api_key(team_id, period.since, period.until))[:OFFERED_MAX]
    members = list(by_member(team_id, period.since, period.until))[:OFFERED_MAX]
    meters = meter_names(by_meter(by_day(team_id, period.since, period.until)))
    offered = {
        "meter": {meter.key: meter.name for meter in meters.values()},
        "key": {key_id or NONE: name for key_id, name in api_key_names(team_id, keys).items()},
        "member": {user_id or NONE: name for user_id, name in member_names(members).items()},
    }
    for name, value in narrowed_arguments(narrowed).items():
        offered[name].setdefault(value, _name_of(team_id, name, value))
    return offered


def _name_of(team_id: str, name: str, value: str) -> str:
    """Of what was chosen, though it has no use in this time."""
    if value == NONE:
        return {"key": NO_KEY, "member": NO_MEMBER}.get(name, GONE)
    return api_key_names(team_id, [value])[value] if name == "key" else GONE
