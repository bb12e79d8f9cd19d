"""The error object."""

from __future__ import annotations

from marshmallow import fields

from portal.api.schemas.common import Answer, text
from portal.credits.purchase_standing import STANDINGS

TYPES = (
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "idempotency_error",
    "rate_limit_error",
    "insufficient_credits",
    "usage_limit_reached",
    "budget_exceeded",
    "api_error",
)


class ErrorDetail(Answer):
    type = text("What kind of error it is.", enum=list(TYPES), example="invalid_request_error")
    code = text("What happened, for programs.", example="invalid_field")
    message = text("What happened, for people; safe to show.", example="meter: Missing data for required field.")
    param = fields.String(metadata={"description": "The field that is wrong.", "example": "meter"})
    doc_url = text("What this code means.", format="uri", example="https://billing.example.com/docs/api#invalid_field")
    request_id = text(
        "Quote it when you ask for help; it is in the header Request-Id too.", example="req_01JD3M8W6Q4Z9V0K2T5R7X1YBC"
    )


class ErrorAnswer(Answer):
    error = fields.Nested(ErrorDetail, required=True)


class LimitFigures(Answer):
    """Of what a plan includes, or a budget allows, and a use would go beyond."""

    included = fields.Integer(metadata={"description": "Of a metered meter: units a month that the plan includes."})
    used = fields.Integer(metadata={"description": "How many of them are used, or how much of the budget."})
    budget = fields.Integer(
        metadata={
            "description": "How much a month the budget of the API key or the member is: in credits, or in units of `meter`"
            " where that is given."
        }
    )
    meter = fields.String(
        metadata={"description": "Of a budget in units of a metered meter: which one.", "example": "api_calls"}
    )
    quantity = fields.Integer(metadata={"description": "Of such a budget: the units that the use would take."})


class CreditsMissingDetail(ErrorDetail, LimitFigures):
    balance = fields.Integer(
        metadata={"description": "Credits that are left, held ones among them, less what is owed.", "example": 1}
    )
    available = fields.Integer(metadata={"description": "Credits that can be spent now.", "minimum": 0, "example": 1})
    cost = fields.Integer(metadata={"description": "Credits the use would take.", "example": 3})
    shortfall = fields.Integer(
        metadata={
            "description": "Credits that are missing: as many as it takes beyond those available, and what the team owes, which"
            " the next credits repay first.",
            "minimum": 1,
            "example": 2,
        }
    )
    auto_purchase = fields.String(
        metadata={
            "description": "How auto-purchase stands where credits are missing. `under_way`: some are being bought, so report"
            " again, with the same key, in some seconds. `requires_action`: a person has to confirm the payment.",
            "enum": list(STANDINGS),
            "example": "off",
        }
    )
    buy_url = text(
        "Where a person of the team can get more, or can change the budget that stopped it.",
        format="uri",
        example="https://billing.example.com/pricing?team=team_01JD3M8W6Q4Z9V0K2T5R7X1YBC",
    )


class CreditsMissingAnswer(Answer):
    error = fields.Nested(CreditsMissingDetail, required=True)
