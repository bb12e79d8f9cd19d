"""Reporting use, and reading it."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from portal.api.schemas.common import (
    IDEMPOTENCY_KEY_MAX,
    KEY_SHAPE,
    KEY_WORDS,
    Answer,
    ListAnswer,
    ListQuery,
    Moment,
    flag,
    kind,
    livemode,
    maybe_text,
    maybe_whole,
    member_id,
    meter_name,
    moment,
    query_moment,
    text,
    whole,
)
from portal.api.schemas.errors import TYPES, LimitFigures
from portal.credits.purchase_standing import STANDINGS

BATCH_MAX = 1_000
QUANTITY_MAX = 1_000_000
WHOLE_NUMBER = f"Must be a whole number from 1 to {QUANTITY_MAX:,}."
USE_ID = "use_01JD3M8W6Q4Z9V0K2T5R7X1YBC"


class UsageRequest(Schema):
    meter = meter_name("What was used, by its name in the catalog.", required=True)
    quantity = fields.Integer(
        required=True,
        strict=True,
        validate=validate.Range(1, QUANTITY_MAX, error=WHOLE_NUMBER),
        error_messages={"invalid": WHOLE_NUMBER, "null": WHOLE_NUMBER, "too_large": WHOLE_NUMBER},
        metadata={"description": "How many were used.", "example": 3},
    )
    user = member_id("The member of the team who used it, if you want totals by member.")
    occurred_at = Moment(
        metadata={
            "description": "When it was used, if not now: up to 35 days ago, and no more than 5 minutes ahead, which counts "
            "as now. It counts in the day and month it belongs to; credits are taken from what there is now.",
            "format": "date-time",
        }
    )


class UsageBatchItem(UsageRequest):
    idempotency_key = fields.String(
        required=True,
        validate=[validate.Length(1, IDEMPOTENCY_KEY_MAX), validate.Regexp(KEY_SHAPE + r"\Z", error=KEY_WORDS)],
        metadata={
            "description": "Your own name for this use, as in the header Idempotency-Key of a single one.",
            "pattern": KEY_SHAPE + "$",
            "example": "order-4711-mail",
        },
    )


class UsageBatchRequest(Schema):
    uses = fields.List(
        fields.Nested(UsageBatchItem),
        required=True,
        validate=validate.Length(1, BATCH_MAX, error=f"Must be 1 to {BATCH_MAX:,} uses."),
        metadata={"description": "Uses of the team, in their order; each stands for itself."},
    )


class UsageAnswer(Answer):
    object = kind("usage")
    id = text("The use in our books.", pattern="^use_", example=USE_ID)
    meter = text("What was used.", example="send_email")
    quantity = whole("How many were used.", example=3)
    cost = whole("Credits this took.", example=3)
    balance = maybe_whole(
        "Credits left after it, held ones among them; null when it is metered and takes none.", example=4997
    )
    available = fields.Integer(
        allow_none=True,
        metadata={
            "description": "Those of them that can be spent, as they are not held; null with it. An answer from before this was"
            " told does not have it.",
            "minimum": 0,
            "example": 4997,
        },
    )
    livemode = livemode()
    created = moment("When it was recorded.")
    occurred_at = fields.String(metadata={"description": "When it happened, if you said so.", "format": "date-time"})
    user = fields.String(metadata={"description": "The member who used it, if you said so."})
    included = fields.Integer(metadata={"description": "Of a metered meter: units a month that the plan includes."})
    used = fields.Integer(
        metadata={"description": "Where the plan sells no more of them: how many are used in the month, with these."}
    )


class RefusedUse(LimitFigures):
    type = text("What kind of error it is.", enum=list(TYPES), example="insufficient_credits")
    code = text("What happened, for programs.", example="insufficient_credits")
    message = text("What happened, for people; safe to show.", example="This takes 3 credits and 1 are left.")
    param = fields.String(metadata={"description": "The field that is wrong."})
    balance = fields.Integer(
        metadata={"description": "Credits that were left when its turn came, held ones among them, less what is owed."}
    )
    available = fields.Integer(metadata={"description": "Credits that could be spent then."})
    cost = fields.Integer(metadata={"description": "Credits the use would take."})
    shortfall = fields.Integer(metadata={"description": "Credits that are missing, with what is owed."})
    auto_purchase = fields.String(
        metadata={"description": "How auto-purchase stands, as in a 402.", "enum": list(STANDINGS)}
    )
    buy_url = fields.String(
        metadata={"description": "Where a person of the team can get more, or can change the budget.", "format": "uri"}
    )


class UsageResult(Answer):
    object = kind("usage_result")
    idempotency_key = text("Your own name for the use.", example="order-4711-mail")
    result = text(
        "`recorded` now, `replayed` (it was recorded before; this is its answer of then), or `refused`: nothing was "
        "recorded, and the key is still free.",
        enum=["recorded", "replayed", "refused"],
        example="recorded",
    )
    usage = fields.Nested(UsageAnswer, required=True, allow_none=True, metadata={"description": "Null when refused."})
    error = fields.Nested(RefusedUse, metadata={"description": "Why it was refused."})


class UsageBatchAnswer(Answer):
    object = kind("usage_batch")
    recorded = whole("How many are recorded now.", minimum=0, example=1)
    replayed = whole("How many were before.", minimum=0, example=0)
    refused = whole("How many are not.", minimum=0, example=0)
    data = fields.List(
        fields.Nested(UsageResult), required=True, metadata={"description": "A result for each use, in their order."}
    )
    livemode = livemode()


class UsageQuery(Schema):
    since = query_moment("From when on; without both, the month under way; without it, a year before `until`.")
    until = query_moment("Until just before when; without it, now. Days are whole, in UTC.")


class MeterUsage(Answer):
    object = kind("meter_usage")
    meter = text("What was used, by its name in the catalog.", example="send_email")
    name = text("What people call it.", example="E-mails sent")
    mode = text("How it is paid: each use in credits, or metered.", enum=["credits", "metered"], example="credits")
    quantity = whole("How many were used.", minimum=0, example=1240)
    cost = whole("Credits they took.", minimum=0, example=1240)
    cost_credits = maybe_whole("Credits that one use takes; null when it is metered.", example=1)
    included = maybe_whole(
        "Units that the plan includes in the month, or included in the last one; null when uses are paid in credits, and of"
        " a time that does not begin with one of these two months and end within it.",
        example=None,
    )
    remaining = maybe_whole(
        "Of the included, how many are left now, or were at the end of the last month, wherever `until` lies; null with it.",
        minimum=0,
        example=None,
    )
    more_allowed = flag("Whether there is more to be had than what is included.", example=True)


class UsageTotals(Answer):
    object = kind("usage_totals")
    since = moment(
        "From when on this was counted: before what was asked for, where that lies within a day in which something was used.",
        example="2026-11-04T09:30:00.000Z",
    )
    until = moment(
        "Until just before when: after what was asked for, where that lies within such a day. It may lie ahead.",
        example="2026-12-04T09:30:00.000Z",
    )
    cost = whole("Credits that were spent on uses.", minimum=0, example=1240)
    meters = fields.List(
        fields.Nested(MeterUsage), required=True, metadata={"description": "Each meter of the catalog, used or not."}
    )
    livemode = livemode()


class EventsQuery(ListQuery):
    meter = meter_name("Only uses of this meter.", required=False)
    since = query_moment("Only uses from then on.")
    until = query_moment("Only uses before then.")


class UsageEventAnswer(Answer):
    object = kind("usage_event")
    id = text("The use in our books.", pattern="^use_", example=USE_ID)
    idempotency_key = text("Your own name for it.", example="order-4711-mail")
    meter = text("What was used.", example="send_email")
    quantity = whole("How many were used.", example=3)
    cost = whole("Credits this took; 0 when it is metered.", example=3)
    occurred_at = moment("When it happened.")
    created = moment("When it was recorded.")
    user = maybe_text("The member who used it, if that was reported.", example=None)
    livemode = livemode()


class UsageEventList(ListAnswer):
    url = text("The call that this is a page of.", example="/api/v1/usage/events")
    data = fields.List(fields.Nested(UsageEventAnswer), required=True, metadata={"description": "Newest first."})
