"""What goes in and what comes out, as marshmallow schemas; the OpenAPI document is made from them."""

from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields, validate

QUANTITY_MAX = 1_000_000
IDEMPOTENCY_KEY_MAX = 255
# Printable ASCII; a space at an end would be lost on the way, since HTTP trims the values of headers.
KEY_SHAPE = "^[!-~]([ -~]*[!-~])?"

WHOLE_NUMBER = f"Must be a whole number from 1 to {QUANTITY_MAX:,}."


def text(description: str, **values: object) -> fields.String:
    return fields.String(required=True, metadata={"description": description, **values})


def whole(description: str, **values: object) -> fields.Integer:
    return fields.Integer(required=True, metadata={"description": description, **values})


def moment(description: str, *, allow_none: bool = False) -> fields.String:
    """A moment in RFC 3339, UTC."""
    metadata = {"description": description, "format": "date-time"}
    return fields.String(required=True, allow_none=allow_none, metadata=metadata)


def livemode() -> fields.Boolean:
    return fields.Boolean(required=True, metadata={"description": "Whether this is real money (a live key)."})


class IdempotencyHeaders(Schema):
    idempotency_key = fields.String(
        required=True,
        data_key="Idempotency-Key",
        validate=[
            validate.Length(1, IDEMPOTENCY_KEY_MAX),
            validate.Regexp(KEY_SHAPE + r"\Z", error="Only printable ASCII characters, with no space at either end."),
        ],
        metadata={
            "description": "Names this use for ever, for your team: send the same key again when you did not get an "
            "answer, and you get the stored one. A key cannot be used for another request.",
            "pattern": KEY_SHAPE + "$",
            "example": "order-4711-mail",
        },
    )


class UsageRequest(Schema):
    meter = fields.String(
        required=True,
        validate=[
            validate.Length(1, 40),
            validate.Regexp(
                r"^[a-z][a-z0-9_]*\Z", error="Must be the name of a meter: small letters, digits and underscores."
            ),
        ],
        metadata={
            "description": "What was used, by its name in the catalog.",
            "pattern": "^[a-z][a-z0-9_]*$",
            "example": "send_email",
        },
    )
    quantity = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(1, QUANTITY_MAX, error=WHOLE_NUMBER),
        error_messages={"invalid": WHOLE_NUMBER, "null": WHOLE_NUMBER, "too_large": WHOLE_NUMBER},
        metadata={"description": "How many were used.", "example": 3},
    )


class Answer(Schema):
    """What comes out. Later versions may add fields, so readers must not be promised that there are no others."""

    class Meta:
        unknown = EXCLUDE


class UsageAnswer(Answer):
    object = fields.String(required=True, validate=validate.Equal("usage"), metadata={"enum": ["usage"]})
    id = text("The use in our books.", pattern="^use_", example="use_01JD3M8W6Q4Z9V0K2T5R7X1YBC")
    meter = text("What was used.", example="send_email")
    quantity = whole("How many were used.", example=3)
    cost = whole("Credits this took.", example=3)
    balance = whole("Credits left after it.", example=4997)
    livemode = livemode()
    created = moment("When it was recorded.")


class GrantAnswer(Answer):
    object = fields.String(required=True, validate=validate.Equal("grant"), metadata={"enum": ["grant"]})
    kind = text("What it is: subscription, bundle, gift or adjustment.", example="subscription")
    source = text("Where it comes from, in words.", example="Pro, November 2026")
    amount = whole("Credits granted.", example=5000)
    remaining = whole("Credits of it that are left.", example=4997)
    effective_at = moment("From when on it can be spent.")
    expires_at = moment("When what is left of it expires; null is never.", allow_none=True)


class CreditsAnswer(Answer):
    object = fields.String(required=True, validate=validate.Equal("credits"), metadata={"enum": ["credits"]})
    available = whole("Credits that can be spent now.", minimum=0)
    reserved = whole("Credits held for uses that are not settled.", minimum=0)
    debt = whole("Credits owed after a refund; the next grant repays them first.", minimum=0)
    grants = fields.List(
        fields.Nested(GrantAnswer),
        required=True,
        metadata={"description": "What the credits come from in the order of spending, then grants to come."},
    )
    livemode = livemode()


class ErrorDetail(Answer):
    type = fields.String(
        required=True,
        metadata={
            "description": "What kind of error it is.",
            "enum": [
                "invalid_request_error",
                "authentication_error",
                "permission_error",
                "idempotency_error",
                "rate_limit_error",
                "insufficient_credits",
                "api_error",
            ],
        },
    )
    code = text("What happened, for programs.", example="invalid_field")
    message = text("What happened, for people; safe to show.")
    param = fields.String(metadata={"description": "The field that is wrong."})
    request_id = text("Quote it when you ask for help; it is in the header Request-Id too.")


class ErrorAnswer(Answer):
    error = fields.Nested(ErrorDetail, required=True)


class CreditsMissingDetail(ErrorDetail):
    balance = whole("Credits that can be spent now.", minimum=0)
    cost = whole("Credits the use would take.")
    shortfall = whole("Credits that are missing.", minimum=1)
    buy_url = text("Where a person of the team can get more.", format="uri")


class CreditsMissingAnswer(Answer):
    error = fields.Nested(CreditsMissingDetail, required=True)
