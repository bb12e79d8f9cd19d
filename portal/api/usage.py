"""Reporting use: it takes credits, or is refused with 402 and the address to buy more."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from flask import Response, current_app

from portal.accounts.api_keys import Scope
from portal.api.authentication import caller
from portal.api.blueprint import REQUEST_ID_HEADER, ApiBlueprint
from portal.api.moments import rfc3339
from portal.api.schemas import CreditsMissingAnswer, ErrorAnswer, IdempotencyHeaders, UsageAnswer, UsageRequest
from portal.billing.bundle_sale import buy_path
from portal.core.errors import ApiError
from portal.core.unit_of_work import run_in_unit
from portal.credits.ledger import InsufficientCredits
from portal.usage.metering import Answer, KeyReused, MeterNotAvailable, Recorded, UnknownMeter, Use, record

bp = ApiBlueprint("api_usage", __name__, description="What your customers use")

REPLAYED = "Idempotent-Replayed"
REPLAYED_HEADER = {REPLAYED: {"description": "`true` on a stored answer.", "schema": {"type": "string"}}}


@bp.post("/usage")
@bp.operation(Scope.USAGE_WRITE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
@bp.alt_response(402, schema=CreditsMissingAnswer, description="Too few credits. Nothing was recorded.")
@bp.alt_response(409, schema=ErrorAnswer, description="The Idempotency-Key stands for another use.")
@bp.arguments(IdempotencyHeaders, location="headers", error_status_code=400)
@bp.arguments(UsageRequest)
@bp.response(200, UsageAnswer, description="Recorded, and paid.", headers=REQUEST_ID_HEADER | REPLAYED_HEADER)
def create_usage(headers: dict[str, str], fields: dict[str, Any]) -> Response:
    """Report a use

    Takes the meter's cost times the quantity from the team's credits, whole or not at all. The Idempotency-Key makes
    it safe to send again: the same use is taken once, however often it is reported.
    """
    who = caller()
    use = Use(who.team_id, headers["idempotency_key"], fields["meter"], fields["quantity"], who.key_id)
    answer = run_in_unit(lambda: _record(use))
    response = Response(answer.body, answer.status, mimetype="application/json")
    if answer.replayed:
        response.headers[REPLAYED] = "true"
    return response


def _record(use: Use) -> Answer:
    try:
        return record(use, _body)
    except InsufficientCredits as error:
        raise _payment_required(use.team_id, error) from error
    except KeyReused as error:
        message = "This Idempotency-Key was used for another request. Use a new key for a new use."
        raise ApiError(409, "idempotency_error", "key_reused", message) from error
    except UnknownMeter as error:
        known = ", ".join(error.known) or "none"
        message = f"There is no meter {error.name}. Meters that take credits: {known}."
        raise ApiError(422, "invalid_request_error", "unknown_meter", message, param="meter") from error
    except MeterNotAvailable as error:
        message = f"The meter {use.meter} is not paid in credits, and uses of it cannot be reported yet."
        raise ApiError(422, "invalid_request_error", "meter_not_available", message, param="meter") from error


def _body(recorded: Recorded) -> str:
    return json.dumps(
        {
            "object": "usage",
            "id": recorded.id,
            "meter": recorded.use.meter,
            "quantity": recorded.use.quantity,
            "cost": recorded.cost,
            "balance": recorded.balance,
            "livemode": current_app.config["SETTINGS"].livemode,
            "created": rfc3339(recorded.at),
        }
    )


def _payment_required(team_id: str, error: InsufficientCredits) -> ApiError:
    shortfall = error.cost - error.available
    return ApiError(
        402,
        "insufficient_credits",
        "insufficient_credits",
        f"This takes {error.cost:,} credits and {error.available:,} are left. Nothing was recorded.",
        balance=error.available,
        cost=error.cost,
        shortfall=shortfall,
        buy_url=current_app.config["SETTINGS"].base_url + buy_path(team_id),
    )
