"""What a team has left."""

from __future__ import annotations

from marshmallow import fields

from portal.api.schemas.common import Answer, flag, kind, livemode, moment, text, whole


class GrantAnswer(Answer):
    object = kind("grant")
    kind = text("What it is: subscription, bundle, gift or adjustment.", example="subscription")
    source = text("Where it comes from, in words.", example="Pro, November 2026")
    amount = whole("Credits granted.", example=5000)
    remaining = whole("Credits of it that are left, held and disputed ones too.", example=4997)
    held = whole("Credits of it that holds keep for uses under way.", minimum=0, example=0)
    disputed = whole("Credits of it that cannot be spent while a bank decides about the payment.", minimum=0, example=0)
    effective_at = moment("From when on it can be spent.", example="2026-11-04T09:30:00.000Z")
    expires_at = moment(
        "When what is left of it expires; null is never.", allow_none=True, example="2026-12-04T09:30:00.000Z"
    )


class CreditsAnswer(Answer):
    object = kind("credits")
    available = whole("Credits that can be spent now, unless they are frozen.", minimum=0, example=4997)
    frozen = flag("Whether the plan's state lets none be spent: it is paused, or was not paid.", example=False)
    reserved = whole("Credits held for uses under way, with what has expired beside them.", minimum=0, example=0)
    disputed = whole(
        "Credits that are left and cannot be spent while a bank decides about the payment; not in `available`.",
        minimum=0,
        example=0,
    )
    debt = whole(
        "Credits owed after a refund or a lost dispute; the next grant repays them first.", minimum=0, example=0
    )
    grants = fields.List(
        fields.Nested(GrantAnswer),
        required=True,
        metadata={"description": "What the credits come from in the order of spending, then grants to come."},
    )
    livemode = livemode()
