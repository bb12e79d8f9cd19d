"""Reporting many uses in one call: each stands for itself, and all of them take one transaction."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from flask import Response, current_app

from portal.accounts.api_keys import Scope
from portal.api.authentication import caller
from portal.api.blueprint import BODY_ERRORS
from portal.api.schemas.usage import UsageBatchAnswer, UsageBatchRequest
from portal.api.usage import body_of, bp, use_of
from portal.api.usage_refusals import Refusals
from portal.core.unit_of_work import run_in_unit
from portal.usage.metering import Refusal, record_all
from portal.usage.uses import Answer, Use


@bp.post("/usage/batch")
@bp.operation(Scope.USAGE_WRITE, *BODY_ERRORS)
@bp.arguments(UsageBatchRequest)
@bp.response(200, UsageBatchAnswer, description="A result for each use.")
def create_usage_batch(fields: dict[str, Any]) -> Response:
    """Report many uses

    Up to 1,000 uses of the team, each with its own `idempotency_key`. What each comes to is what it would come to if they
    were reported one after another, in their order: one that is refused holds none of the others up. After a time-out send
    the same again, whole: what was recorded is answered as it was then.
    """
    who = caller()
    uses = [use_of(who, item["idempotency_key"], item) for item in fields["uses"]]
    outcomes = run_in_unit(lambda: record_all(who.team_id, uses, body_of))
    refusals = Refusals(who.team_id)
    results = [_result(use, outcome, refusals) for use, outcome in zip(uses, outcomes, strict=True)]
    counts = Counter(result for result, _text in results)
    # The answers that are kept are texts already, and stand in this one as they are.
    head = json.dumps(
        {
            "object": "usage_batch",
            **{result: counts[result] for result in ("recorded", "replayed", "refused")},
            "livemode": current_app.config["SETTINGS"].livemode,
        }
    )
    body = f'{head[:-1]}, "data": [{", ".join(text for _result, text in results)}]}}'
    return Response(body, 200, mimetype="application/json")


def _result(use: Use, outcome: Answer | Refusal, refusals: Refusals) -> tuple[str, str]:
    """In a word, and as JSON."""
    if isinstance(outcome, Exception):
        error = refusals.error(use, outcome)
        told = {"type": error.kind, "code": error.code, "message": error.message, **error.extra}
        result, usage, more = "refused", "null", f', "error": {json.dumps(told)}'
    else:
        result, usage, more = "replayed" if outcome.replayed else "recorded", outcome.body, ""
    head = f'"object": "usage_result", "idempotency_key": {json.dumps(use.key)}, "result": "{result}"'
    return result, f'{{{head}, "usage": {usage}{more}}}'
