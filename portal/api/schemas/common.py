"""What many calls have in common: answers, lists, moments, and the header that makes a POST safe to send again."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema

IDEMPOTENCY_KEY_MAX = 255
# Printable ASCII; a space at an end would be lost on the way, since HTTP trims the values of headers.
KEY_SHAPE = "^[!-~]([ -~]*[!-~])?"
KEY_WORDS = "Only printable ASCII characters, with no space at either end."
METER_SHAPE = "^[a-z][a-z0-9_]*"
METER_MAX = 40
YEARS = (2000, 2100)
LIMIT_DEFAULT, LIMIT_MAX = 10, 100


def text(description: str, **values: object) -> fields.String:
    return fields.String(required=True, metadata={"description": description, **values})


def maybe_text(description: str, **values: object) -> fields.String:
    return fields.String(required=True, allow_none=True, metadata={"description": description, **values})


def whole(description: str, **values: object) -> fields.Integer:
    return fields.Integer(required=True, metadata={"description": description, **values})


def maybe_whole(description: str, **values: object) -> fields.Integer:
    return fields.Integer(required=True, allow_none=True, metadata={"description": description, **values})


def flag(description: str, **values: object) -> fields.Boolean:
    return fields.Boolean(required=True, metadata={"description": description, **values})


def kind(name: str) -> fields.String:
    """The field `object`, which says what an answer is."""
    metadata = {"description": "What this is.", "enum": [name], "example": name}
    return fields.String(required=True, validate=validate.Equal(name), metadata=metadata)


def moment(
    description: str, *, allow_none: bool = False, example: str | None = "2026-11-18T13:02:11.042Z"
) -> fields.String:
    """A moment in RFC 3339, UTC."""
    metadata = {"description": description, "format": "date-time", "example": example}
    return fields.String(required=True, allow_none=allow_none, metadata=metadata)


def livemode() -> fields.Boolean:
    return flag("Whether this is real money (a live key).", example=False)


def meter_name(description: str, *, required: bool) -> fields.String:
    return fields.String(
        required=required,
        validate=[
            validate.Length(1, METER_MAX),
            validate.Regexp(
                METER_SHAPE + r"\Z", error="Must be the name of a meter: small letters, digits and underscores."
            ),
        ],
        metadata={"description": description, "pattern": METER_SHAPE + "$", "example": "send_email"},
    )


def member_id(description: str) -> fields.String:
    return fields.String(
        validate=validate.Regexp(r"user_[0-9A-Z]{26}\Z", error="Must be the id of a member of the team."),
        metadata={"description": description},
    )


class Answer(Schema):
    """What comes out. Later versions may add fields, so readers must not be promised that there are no others."""

    class Meta:
        unknown = EXCLUDE


class ListAnswer(Answer):
    object = kind("list")
    url = text("The call that this is a page of.", example="/api/v1/invoices")
    has_more = flag("Whether there are more beyond this page, in the direction that was asked for.", example=False)


class Limit(fields.Integer):
    """A whole number in an address: digits and nothing else, where the library would also take ` 1_0`."""

    def _deserialize(self, value: Any, *args: Any, **more: Any) -> int:
        if not re.fullmatch("[0-9]{1,9}", str(value)):
            raise self.make_error("invalid", input=value)
        number: int = super()._deserialize(value, *args, **more)
        return number


class Moment(fields.AwareDateTime):
    """A moment in an address, with its zone; as UTC."""

    WORDS = "Must be a moment such as 2026-11-01T00:00:00Z, with its zone, in the years 2000 to 2100."

    def _deserialize(self, *args: Any, **more: Any) -> datetime:
        try:
            found: datetime = super()._deserialize(*args, **more).astimezone(UTC)
        except (ValidationError, OverflowError) as error:
            raise ValidationError(self.WORDS) from error
        if not YEARS[0] <= found.year <= YEARS[1]:
            raise ValidationError(self.WORDS)
        return found


def query_moment(description: str) -> Moment:
    metadata = {"description": description, "format": "date-time", "example": "2026-11-01T00:00:00Z"}
    return Moment(metadata=metadata)


class ListQuery(Schema):
    """Which page of a list, newest first."""

    limit = Limit(
        load_default=LIMIT_DEFAULT,
        validate=validate.Range(1, LIMIT_MAX, error=f"Must be a whole number from 1 to {LIMIT_MAX}."),
        error_messages={"invalid": f"Must be a whole number from 1 to {LIMIT_MAX}."},
        metadata={"description": "How many at most.", "example": LIMIT_DEFAULT},
    )
    starting_after = fields.String(
        validate=validate.Length(1, 64),
        metadata={"description": "The `id` of the last one you have: the page of those after it (older ones)."},
    )
    ending_before = fields.String(
        validate=validate.Length(1, 64),
        metadata={"description": "The `id` of the first one you have: the page of those before it (newer ones)."},
    )

    @validates_schema
    def one_direction(self, data: dict[str, Any], **_more: Any) -> None:
        if {"starting_after", "ending_before"} <= data.keys():
            raise ValidationError("Give starting_after or ending_before, not both.", "ending_before")


class IdempotencyHeaders(Schema):
    idempotency_key = fields.String(
        required=True,
        data_key="Idempotency-Key",
        validate=[
            validate.Length(1, IDEMPOTENCY_KEY_MAX),
            validate.Regexp(KEY_SHAPE + r"\Z", error=KEY_WORDS),
        ],
        metadata={
            "description": "Your own name for this request. Send the same key again when you did not get an answer, "
            "and you get the stored one. A key cannot be used for another request.",
            "pattern": KEY_SHAPE + "$",
            "example": "order-4711-mail",
        },
    )
