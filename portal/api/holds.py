"""Holding credits before a use, settling what was used of them, releasing them; and reading holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Response, current_app

from portal.accounts.api_keys import Scope
from portal.api.authentication import caller
from portal.api.blueprint import BODY_ERRORS, ApiBlueprint
from portal.api.lists import Rows, page
from portal.api.moments import maybe_rfc3339, rfc3339
from portal.api.once import REPLAYED, REPLAYED_HEADER
from portal.api.schemas.common import IdempotencyHeaders
from portal.api.schemas.errors import CreditsMissingAnswer, ErrorAnswer
from portal.api.schemas.holds import (
    HOLD_ID,
    HoldAnswer,
    HoldChange,
    HoldList,
    HoldRequest,
    HoldsQuery,
    ReleasedHold,
    ReleaseRequest,
    SettledHold,
    SettleRequest,
)
from portal.api.usage_refusals import Refusals
from portal.core import clock
from portal.core.errors import ApiError
from portal.core.unit_of_work import run_in_unit
from portal.credits.auto_purchase import intend_for_refused
from portal.credits.errors import HoldClosed, InsufficientCredits
from portal.credits.held_credits import find_hold, holds_of
from portal.credits.holds import Held, as_held
from portal.credits.models import CreditHold
from portal.usage import held_uses
from portal.usage.budgets import mark_refused
from portal.usage.held_uses import Asked, Done, MoreThanHeld, NoCreditsTaken, NoSuchHold, Tell, WrongUnit
from portal.usage.uses import Answer, BudgetExceeded, MeteringError, Use

bp = ApiBlueprint("api_holds", __name__, description="Credits kept for uses under way")

NAMED = {
    "parameters": [
        {
            "in": "path",
            "name": "hold_id",
            "description": "The `id` of the hold.",
            "schema": {"type": "string", "pattern": "^hold_[0-9A-Z]{26}$"},
            "example": HOLD_ID,
        }
    ]
}
KEY_TAKEN = "The Idempotency-Key stands for another request."
CLOSED = f"The hold is closed already, or over. Or: {KEY_TAKEN[0].lower()}{KEY_TAKEN[1:]}"
MISSING = "The team has no hold of this name."


@bp.post("/credits/holds")
@bp.operation(Scope.USAGE_WRITE, *BODY_ERRORS)
@bp.alt_response(
    402,
    schema=CreditsMissingAnswer,
    description="Too few credits, or the budget of the key or the member has too little left. Nothing was held.",
)
@bp.alt_response(409, schema=ErrorAnswer, description=KEY_TAKEN)
@bp.arguments(IdempotencyHeaders, location="headers", error_status_code=400)
@bp.arguments(HoldRequest)
@bp.response(200, HoldChange, description="Held.", headers=REPLAYED_HEADER)
def create_hold(headers: dict[str, str], fields: dict[str, Any]) -> Response:
    """Hold credits

    Before a use that takes a while: keeps what it may cost at most, so that nothing else spends it meanwhile. When it
    is done, settle the hold with what was used; if nothing came of it, release it. A hold that nobody settles ends
    after `expires_in` seconds and all of it is given back. It outlives the expiry of the credits it holds.
    """
    return _answer(held_uses.hold, _asked("hold", headers, fields, expires_in=timedelta(seconds=fields["expires_in"])))


@bp.post("/credits/holds/<hold_id>/settle", **NAMED)
@bp.operation(Scope.USAGE_WRITE, *BODY_ERRORS)
@bp.alt_response(404, schema=ErrorAnswer, description=MISSING)
@bp.alt_response(409, schema=ErrorAnswer, description=CLOSED)
@bp.arguments(IdempotencyHeaders, location="headers", error_status_code=400)
@bp.arguments(SettleRequest)
@bp.response(200, SettledHold, description="Spent, and the rest given back.", headers=REPLAYED_HEADER)
def settle_hold(headers: dict[str, str], fields: dict[str, Any], hold_id: str) -> Response:
    """Settle a hold

    Spends what was used, at most what is held, and gives back the rest at once. A hold for a meter is settled by its
    `quantity`, at the cost of the moment when it was held, and the use is recorded as one that is reported; another is
    settled by its `amount`. It can be done once, until the hold ends, whatever has become of the plan.
    """
    return _answer(held_uses.settle, _asked("settle", headers, fields, hold_id=hold_id))


@bp.post("/credits/holds/<hold_id>/release", **NAMED)
@bp.operation(Scope.USAGE_WRITE, *BODY_ERRORS)
@bp.alt_response(404, schema=ErrorAnswer, description=MISSING)
@bp.alt_response(409, schema=ErrorAnswer, description=CLOSED)
@bp.arguments(IdempotencyHeaders, location="headers", error_status_code=400)
@bp.arguments(ReleaseRequest)
@bp.response(200, ReleasedHold, description="Given back.", headers=REPLAYED_HEADER)
def release_hold(headers: dict[str, str], _fields: dict[str, Any], hold_id: str) -> Response:
    """Release a hold

    Gives back all that is held; credits whose time is over meanwhile expire then. The body is an empty object.
    """
    return _answer(held_uses.release, _asked("release", headers, {}, hold_id=hold_id))


@bp.get("/credits/holds")
@bp.operation(Scope.CREDITS_READ, HTTPStatus.UNPROCESSABLE_ENTITY, query=HoldsQuery)
@bp.response(200, HoldList, description="A page of the team's holds.")
def list_holds(asked: dict[str, Any]) -> dict[str, Any]:
    """List the holds

    Every hold there ever was, newest first, or those in a `state`.
    """
    team_id = caller().team_id
    return page(Rows(team_id, CreditHold, CreditHold.created_at), holds_of(team_id, asked.get("state")), asked, _row)


@bp.get("/credits/holds/<hold_id>", **NAMED)
@bp.operation(Scope.CREDITS_READ)
@bp.alt_response(404, schema=ErrorAnswer, description=MISSING)
@bp.response(200, HoldAnswer, description="The hold.")
def read_hold(hold_id: str) -> dict[str, Any]:
    """Read a hold

    What it holds, until when, and what became of it.
    """
    found = find_hold(caller().team_id, hold_id)
    if found is None:
        raise _unknown()
    return _row(found)


def _asked(act: str, headers: dict[str, str], fields: dict[str, Any], **more: Any) -> Asked:
    who = caller()
    wanted = {name: fields.get(name) for name in ("amount", "meter", "quantity")}
    return Asked(
        who.team_id,
        headers["idempotency_key"],
        act,
        api_key_id=who.key_id,
        user_id=fields.get("user"),
        **wanted,
        **more,
    )


def _answer(act: Callable[[Asked, Tell], Answer], asked: Asked) -> Response:
    try:
        answer = run_in_unit(lambda: _refusing(act, asked))
    except (InsufficientCredits, BudgetExceeded) as refused:
        # In another unit, since the refused one leaves nothing behind.
        if isinstance(refused, InsufficientCredits):
            run_in_unit(partial(intend_for_refused, asked.team_id, refused))
        elif refused.unmarked:
            run_in_unit(partial(mark_refused, asked.team_id, [refused]))
        raise Refusals(asked.team_id).error(_use_of(asked), refused) from refused
    response = Response(answer.body, answer.status, mimetype="application/json")
    if answer.replayed:
        response.headers[REPLAYED] = "true"
    return response


def _refusing(act: Callable[[Asked, Tell], Answer], asked: Asked) -> Answer:
    try:
        return act(asked, _body)
    except NoSuchHold as error:
        raise _unknown() from error
    except HoldClosed as error:
        message = f"This hold is {error.state} already, so nothing was done."
        raise ApiError(409, "invalid_request_error", "hold_closed", message) from error
    except WrongUnit as error:
        message = f"{error.unit}: This hold is settled by its {error.unit}."
        raise ApiError(422, "invalid_request_error", "invalid_field", message, param=error.unit) from error
    except MoreThanHeld as error:
        message = f"{error.unit}: At most {error.held:,} can be settled, which is what this hold holds."
        raise ApiError(422, "invalid_request_error", "more_than_held", message, param=error.unit) from error
    except NoCreditsTaken as error:
        message = f"meter: Uses of {asked.meter} take no credits, so there is nothing to hold. Report them when they are done."
        raise ApiError(422, "invalid_request_error", "takes_no_credits", message, param="meter") from error
    except BudgetExceeded:
        raise
    except MeteringError as refused:
        raise Refusals(asked.team_id).error(_use_of(asked), refused) from refused


def _use_of(asked: Asked) -> Use:
    return Use(asked.team_id, asked.key, asked.meter or "", asked.quantity or 1, user_id=asked.user_id)


def _unknown() -> ApiError:
    return ApiError(404, "invalid_request_error", "resource_missing", "The team has no hold of this name.")


def _body(done: Done) -> str:
    return json.dumps(_hold(done.held) | {"available": done.available, "usage": done.use_id})


def _row(row: CreditHold) -> dict[str, Any]:
    """A hold as it is now: one whose time is over has expired, whether or not that is posted."""
    held = _hold(as_held(row))
    if row.state == "open" and row.expires_at <= clock.now():
        return held | {"state": "expired", "closed_at": rfc3339(row.expires_at)}
    return held


def _hold(held: Held) -> dict[str, Any]:
    answer = {
        "object": "hold",
        "id": held.id,
        "state": held.state,
        "amount": held.amount,
        "meter": held.meter,
        "quantity": held.quantity,
        "settled": held.settled,
        "expires_in": int(held.expires_in.total_seconds()),
        "created": rfc3339(held.created_at),
        "expires_at": rfc3339(held.expires_at),
        "closed_at": maybe_rfc3339(held.closed_at),
        "livemode": current_app.config["SETTINGS"].livemode,
    }
    return answer if held.user_id is None else answer | {"user": held.user_id}
