"""Reporting use, and reading it."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from portal.api.schemas.common import (
    Answer,
    ListAnswer,
    ListQuery,
    flag,
    kind,
    livemode,
    maybe_whole,
    meter_name,
    moment,
    query_moment,
    text,
    whole,
)

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


class UsageAnswer(Answer):
    object = kind("usage")
    id = text("The use in our books.", pattern="^use_", example=USE_ID)
    meter = text("What was used.", example="send_email")
    quantity = whole("How many were used.", example=3)
    cost = whole("Credits this took.", example=3)
    balance = whole("Credits left after it.", example=4997)
    livemode = livemode()
    created = moment("When it was recorded.")


class UsageQuery(Schema):
    since = query_moment("From when on; without both, the month under way; without it, a year before `until`.")
    until = query_moment("Until just before when; without it, now.")


class MeterUsage(Answer):
    object = kind("meter_usage")
    meter = text("What was used, by its name in the catalog.", example="send_email")
    name = text("What people call it.", example="E-mails sent")
    mode = text("How it is paid: each use in credits, or metered.", enum=["credits", "metered"], example="credits")
    quantity = whole("How many were used.", minimum=0, example=1240)
    cost = whole("Credits they took.", minimum=0, example=1240)
    cost_credits = maybe_whole("Credits that one use takes; null when it is metered.", example=1)
    included = maybe_whole("Units a month that the plan includes; null when uses are paid in credits.", example=None)
    remaining = maybe_whole("Of the included, how many are left in this time.", minimum=0, example=None)
    more_allowed = flag("Whether there is more to be had than what is included.", example=True)


class UsageTotals(Answer):
    object = kind("usage_totals")
    since = moment("From when on this was counted.", example="2026-11-04T09:30:00.000Z")
    until = moment("Until just before when.", example="2026-12-04T09:30:00.000Z")
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
    cost = whole("Credits this took.", example=3)
    created = moment("When it was recorded.")
    livemode = livemode()


class UsageEventList(ListAnswer):
    url = text("The call that this is a page of.", example="/api/v1/usage/events")
    data = fields.List(fields.Nested(UsageEventAnswer), required=True, metadata={"description": "Newest first."})
