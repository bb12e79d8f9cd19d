"""Holding credits for a use under way, and what becomes of it."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from portal.api.schemas.common import (
    Answer,
    ListAnswer,
    ListQuery,
    kind,
    livemode,
    maybe_text,
    maybe_whole,
    member_id,
    meter_name,
    moment,
    text,
    whole,
)
from portal.api.schemas.usage import QUANTITY_MAX, USE_ID
from portal.credits.held_credits import STATES
from portal.credits.holds import EXPIRES_IN_MAX, EXPIRES_IN_MIN

AMOUNT_MAX = 1_000_000_000
SECONDS_MIN, SECONDS_MAX = int(EXPIRES_IN_MIN.total_seconds()), int(EXPIRES_IN_MAX.total_seconds())
SECONDS_DEFAULT = 3_600
HOLD_ID = "hold_01JD3M8W6Q4Z9V0K2T5R7X1YBC"


def count(maximum: int, description: str, minimum: int = 1, **options: Any) -> fields.Integer:
    """A whole number in a body, within bounds."""
    words = f"Must be a whole number from {minimum:,} to {maximum:,}."
    metadata = {"description": description} | options.pop("metadata", {})
    return fields.Integer(
        strict=True,
        validate=validate.Range(minimum, maximum, error=words),
        error_messages={"invalid": words, "null": words, "too_large": words},
        metadata=metadata,
        **options,
    )


class HoldRequest(Schema):
    amount = count(
        AMOUNT_MAX, "Credits to hold, where no meter is to be counted. Give this, or `meter` and `quantity`."
    )
    meter = meter_name("What is to be used, by its name in the catalog.", required=False)
    quantity = count(QUANTITY_MAX, "How many are to be used at most.", metadata={"example": 30})
    user = member_id("The member of the team who is to use it, if you want totals by member. Only with `meter`.")
    expires_in = count(
        SECONDS_MAX,
        "After how many seconds the hold ends by itself and all of it is given back.",
        minimum=SECONDS_MIN,
        load_default=SECONDS_DEFAULT,
        metadata={"example": SECONDS_DEFAULT},
    )

    @validates_schema
    def one_of_both(self, data: dict[str, Any], **_more: Any) -> None:
        """Credits, or a meter with its quantity."""
        if "amount" in data:
            for name in ("meter", "quantity"):
                if name in data:
                    raise ValidationError("Give amount, or meter and quantity.", name)
            if "user" in data:
                raise ValidationError("Give it with meter and quantity: a hold of an amount is for no member.", "user")
        elif "meter" not in data:
            raise ValidationError("Give amount, or meter and quantity.", "amount")
        elif "quantity" not in data:
            raise ValidationError("Missing data for required field.", "quantity")


class SettleRequest(Schema):
    amount = count(AMOUNT_MAX, "Credits that were used, of a hold without a meter.")
    quantity = count(QUANTITY_MAX, "How many were used, of a hold for a meter.", metadata={"example": 28})

    @validates_schema
    def one(self, data: dict[str, Any], **_more: Any) -> None:
        if len(data) != 1:
            raise ValidationError("Give quantity for a hold of a meter, else amount; one of them.", "amount")


class ReleaseRequest(Schema):
    """Nothing has to be said: an empty object."""


class HoldAnswer(Answer):
    object = kind("hold")
    id = text("The hold in our books.", pattern="^hold_", example=HOLD_ID)
    state = text("Whether it still holds, and if not, what ended it.", enum=list(STATES), example="open")
    amount = whole("Credits that it holds, or held.", minimum=1, example=150)
    meter = maybe_text("What they are held for; null where no meter is to be counted.", example="generate_campaign")
    quantity = maybe_whole("How many of it at most.", example=30)
    user = fields.String(metadata={"description": "The member it is for, if you said so."})
    settled = whole("Credits that were spent of it; the rest was given back.", minimum=0, example=0)
    expires_in = whole("After how many seconds it ends by itself.", example=SECONDS_DEFAULT)
    created = moment("When it was made.", example="2026-11-18T13:02:11.042Z")
    expires_at = moment("When it ends by itself.", example="2026-11-18T14:02:11.042Z")
    closed_at = moment("When it was settled, released, or over.", allow_none=True, example=None)
    livemode = livemode()


class HoldChange(HoldAnswer):
    available = whole("Credits that can be spent after it.", minimum=0, example=4580)
    usage = maybe_text("The use that was recorded with the settlement of a meter's hold.", example=None)


class SettledHold(HoldChange):
    state = text("That it is settled.", enum=["settled"], example="settled")
    settled = whole("Credits that were spent of it; the rest was given back.", minimum=1, example=140)
    closed_at = moment("When it was settled.", example="2026-11-18T13:40:00.000Z")
    usage = maybe_text("The use that was recorded; null for a hold without a meter.", example=USE_ID)


class ReleasedHold(HoldChange):
    state = text("That it is released.", enum=["released"], example="released")
    closed_at = moment("When it was released.", example="2026-11-18T13:40:00.000Z")


class HoldsQuery(ListQuery):
    state = fields.String(
        validate=validate.OneOf(STATES, error=f"Must be one of {', '.join(STATES)}."),
        metadata={"description": "Only holds in this state.", "example": "open"},
    )


class HoldList(ListAnswer):
    url = text("The call that this is a page of.", example="/api/v1/credits/holds")
    data = fields.List(fields.Nested(HoldAnswer), required=True, metadata={"description": "Newest first."})
