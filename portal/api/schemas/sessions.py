"""Pages at Stripe that a person is sent to: where to pay, and where to manage what was bought."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from portal.api.schemas.common import Answer, kind, livemode, text
from portal.billing.models import PORTAL_FLOWS
from portal.catalog.definition import INTERVALS
from portal.core.redirects import ADDRESS_MAX

KEY_MAX = 80
CODE_MAX = 80


def return_address(description: str, *, required: bool = False) -> fields.String:
    return fields.String(
        required=required,
        validate=validate.Length(1, ADDRESS_MAX),
        metadata={"description": description, "format": "uri", "example": "https://app.example.com/billing"},
    )


def one_of(description: str, values: tuple[str, ...], example: str) -> fields.String:
    return fields.String(validate=validate.OneOf(values), metadata={"description": description, "example": example})


class CheckoutSessionRequest(Schema):
    plan = fields.String(
        validate=validate.Length(1, KEY_MAX),
        metadata={
            "description": "The plan to subscribe to, by its key; with an `interval`. Its trial comes along unless the team, "
            "one of its owners or its billing e-mail has had one; the page says so.",
            "example": "business",
        },
    )
    interval = one_of("How often the plan is paid.", INTERVALS, "month")
    bundle = fields.String(
        validate=validate.Length(1, KEY_MAX),
        metadata={"description": "Or the bundle of credits to buy, by its key."},
    )
    promotion_code = fields.String(
        validate=validate.Length(1, CODE_MAX), metadata={"description": "A code that makes it cheaper."}
    )
    success_url = return_address(
        "Where the browser goes after the payment; without it, to the portal's own page that waits for the truth. The "
        "return proves nothing: ask for the billing or the credits. `{CHECKOUT_SESSION_ID}` in it becomes Stripe's id."
    )
    cancel_url = return_address("Where the browser goes when the person turns back; without it, to the portal's page.")

    @validates_schema
    def one_order(self, data: dict[str, Any], **_more: Any) -> None:
        if ("plan" in data) == ("bundle" in data):
            raise ValidationError("Name either a plan or a bundle.", "plan")
        if ("interval" in data) != ("plan" in data):
            raise ValidationError("A plan has an interval (month or year), a bundle has none.", "interval")


class CheckoutSessionAnswer(Answer):
    object = kind("checkout_session")
    id = text("The checkout in our books.", pattern="^chk_", example="chk_01JD3M8W6Q4Z9V0K2T5R7X1YBC")
    url = text("Stripe's page, to send the browser to.", format="uri", example="https://checkout.stripe.com/c/pay/cs_1")
    livemode = livemode()


class PortalSessionRequest(Schema):
    return_url = return_address("Where the way back from the customer portal leads.", required=True)
    flow = one_of(
        "Open it at one thing to do: another card, or cancelling the plan. Without it, at its front page.",
        PORTAL_FLOWS,
        "payment_method_update",
    )


class PortalSessionAnswer(Answer):
    object = kind("portal_session")
    id = text("Stripe's id of the session.", pattern="^bps_", example="bps_1SvXyZ2eZvKYlo2C")
    url = text(
        "Stripe's page, to send the browser to at once: it is good for some minutes.",
        format="uri",
        example="https://billing.stripe.com/p/session/test_1",
    )
    livemode = livemode()
