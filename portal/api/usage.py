"""Reporting use, which takes credits or is refused with 402 and the address to buy more; and reading it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from flask import Response, current_app

from portal.accounts.api_keys import Scope
from portal.api.authentication import Caller, caller
from portal.api.blueprint import BODY_ERRORS, ApiBlueprint
from portal.api.gathering import Gathering
from portal.api.limits import SPANS, count_for_team
from portal.api.lists import Rows, page
from portal.api.moments import rfc3339
from portal.api.once import REPLAYED, REPLAYED_HEADER
from portal.api.schemas.common import IdempotencyHeaders
from portal.api.schemas.errors import CreditsMissingAnswer, ErrorAnswer
from portal.api.schemas.usage import (
    EventsQuery,
    UsageAnswer,
    UsageEventList,
    UsageQuery,
    UsageRequest,
    UsageTotals,
)
from portal.api.usage_refusals import Refusals
from portal.api.usage_totals import month_of, totals_of
from portal.billing.entitlements import effective
from portal.core import clock
from portal.core.errors import ApiError
from portal.credits.errors import InsufficientCredits
from portal.usage.models import UsageEvent
from portal.usage.queries import events
from portal.usage.uses import Answer, MeteringError, Recorded, Use

bp = ApiBlueprint("api_usage", __name__, description="What your customers use")

TIME_MAX = timedelta(days=366)


def body_of(recorded: Recorded) -> str:
    """The answer to a use, which is kept."""
    use = recorded.use
    answer: dict[str, Any] = {
        "object": "usage",
        "id": recorded.id,
        "meter": use.meter,
        "quantity": use.quantity,
        "cost": recorded.cost,
        "balance": recorded.balance,
        "available": recorded.available,
        "livemode": current_app.config["SETTINGS"].livemode,
        "created": rfc3339(recorded.at),
    }
    if use.occurred_at is not None:
        answer["occurred_at"] = rfc3339(recorded.occurred_at)
    optional = {"user": use.user_id, "included": recorded.included, "used": recorded.used}
    return json.dumps(answer | {name: value for name, value in optional.items() if value is not None})


gathering = Gathering(body_of)


@bp.post("/usage")
@gathering.expects
@bp.operation(Scope.USAGE_WRITE, *BODY_ERRORS)
@bp.alt_response(
    402, schema=CreditsMissingAnswer, description="Too few credits, or the plan includes no more. Nothing was recorded."
)
@bp.alt_response(409, schema=ErrorAnswer, description="The Idempotency-Key stands for another use.")
@bp.arguments(IdempotencyHeaders, location="headers", error_status_code=400)
@bp.arguments(UsageRequest)
@bp.response(200, UsageAnswer, description="Recorded, and paid.", headers=REPLAYED_HEADER)
def create_usage(headers: dict[str, str], fields: dict[str, Any]) -> Response:
    """Report a use

    Takes the meter's cost times the quantity from the team's credits, whole or not at all; of a metered meter, it counts
    towards what the plan includes. The Idempotency-Key makes it safe to send again: the same use is taken once, however
    often it is reported. Here a key never expires. Whoever has many to report sends them together, with `/usage/batch`.
    """
    who = caller()
    use = use_of(who, headers["idempotency_key"], fields)
    answer = _record(use)
    response = Response(answer.body, answer.status, mimetype="application/json")
    if answer.replayed:
        response.headers[REPLAYED] = "true"
    return response


@bp.get("/usage")
@bp.operation(Scope.USAGE_READ, HTTPStatus.UNPROCESSABLE_ENTITY, query=UsageQuery)
@bp.response(200, UsageTotals, description="What was used, by meter.")
def read_usage(asked: dict[str, datetime]) -> dict[str, Any]:
    """Read the usage

    What was used of each meter, with what the plan includes: in the month under way, or from `since` until `until`
    (a year at most). The month is that of the subscription; without one it is counted from the team's creation. From the
    start of such a month to its end the figures are exact; of other times every day counts whole, in UTC, and `since` and
    `until` of the answer say which time that is: who asks for each hour gets the whole day each time. What the plan
    includes, and what is left of it, is told of the month under way and of the last one, from the start of the month until,
    at most, its end; of other times it is null.
    """
    team = caller().team
    rights = effective(team.id)
    if not asked:
        return month_of(team, rights)
    now = clock.now()
    since = asked.get("since") or asked["until"] - TIME_MAX
    until = asked.get("until") or max(now, since)
    if not timedelta() <= until - since <= TIME_MAX:
        message = f"until: Must not lie before since, nor more than {TIME_MAX.days} days after it."
        raise ApiError(422, "invalid_request_error", "invalid_field", message, param="until")
    count_for_team(SPANS, team.id)
    return totals_of(team, rights, since, until)


@bp.get("/usage/events")
@bp.operation(Scope.USAGE_READ, HTTPStatus.UNPROCESSABLE_ENTITY, query=EventsQuery)
@bp.response(200, UsageEventList, description="A page of the team's uses.")
def list_usage_events(asked: dict[str, Any]) -> dict[str, Any]:
    """List the uses

    Every use that was recorded, newest first, with the key it was reported under.
    """
    team_id = caller().team_id
    within = {name: asked.get(name) for name in ("meter", "since", "until")}
    return page(Rows(team_id, UsageEvent, UsageEvent.occurred_at), events(team_id, **within), asked, _event)


def _event(event: UsageEvent) -> dict[str, Any]:
    return {
        "object": "usage_event",
        "id": event.id,
        "idempotency_key": event.key,
        "meter": event.meter,
        "quantity": event.quantity,
        "cost": event.cost,
        "occurred_at": rfc3339(event.occurred_at),
        "created": rfc3339(event.recorded_at or event.occurred_at),
        "user": event.user_id,
        "livemode": current_app.config["SETTINGS"].livemode,
    }


def use_of(who: Caller, key: str, fields: dict[str, Any]) -> Use:
    """A report as the schemas have read it."""
    return Use(
        who.team_id,
        key,
        fields["meter"],
        fields["quantity"],
        who.key_id,
        user_id=fields.get("user"),
        occurred_at=fields.get("occurred_at"),
    )


def _record(use: Use) -> Answer:
    try:
        return gathering.record(use)
    except (MeteringError, InsufficientCredits) as refused:
        raise Refusals(use.team_id).error(use, refused) from refused
