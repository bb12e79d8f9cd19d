"""The plan, what it allows, and the invoices."""

from __future__ import annotations

from marshmallow import fields

from portal.api.schemas.common import (
    Answer,
    ListAnswer,
    flag,
    kind,
    livemode,
    maybe_text,
    maybe_whole,
    moment,
    text,
    whole,
)
from portal.api.schemas.credits import CreditsAnswer
from portal.api.schemas.usage import UsageTotals

PERIOD_START, PERIOD_END = "2026-11-04T09:30:00.000Z", "2026-12-04T09:30:00.000Z"
STATUSES = ["trialing", "active", "past_due", "unpaid", "paused"]
INVOICE_STATUSES = ["open", "paid", "uncollectible", "void"]


class PlanAnswer(Answer):
    object = kind("plan")
    key = text("What the catalog knows it by; it never changes.", example="pro")
    name = text("What people call it.", example="Pro")


class SubscriptionAnswer(Answer):
    object = kind("subscription")
    status = text("Stripe's word for its state.", enum=STATUSES, example="active")
    plan = maybe_text("The plan that was bought, by its key; null when the catalog does not know it.", example="pro")
    interval = maybe_text("How often it is paid: `month` or `year`.", example="month")
    amount = maybe_whole("What a period costs, in the currency's smallest unit.", example=4900)
    currency = text("ISO code in small letters.", example="usd")
    current_period_start = moment("When the period under way began.", allow_none=True, example=PERIOD_START)
    current_period_end = moment("When it ends, and the next is due.", allow_none=True, example=PERIOD_END)
    trial_end = moment("When the trial ends or ended; null without one.", allow_none=True, example=None)
    cancel_at = moment("When it ends by itself; null while it goes on.", allow_none=True, example=None)


class InvoiceAnswer(Answer):
    object = kind("invoice")
    id = text("The invoice in our books.", pattern="^inv_", example="inv_01JD3M8W6Q4Z9V0K2T5R7X1YBC")
    number = maybe_text("The number on it.", example="HARBOR-0007")
    status = text("Stripe's word for its state.", enum=INVOICE_STATUSES, example="paid")
    description = text("What it is for, in words.", example="Pro, monthly")
    currency = text("ISO code in small letters.", example="usd")
    total = whole("Its sum, in the currency's smallest unit.", example=4900)
    amount_due = whole("What was to be paid of it.", example=4900)
    amount_paid = whole("What has been paid of it.", example=4900)
    hosted_invoice_url = maybe_text(
        "Stripe's page of it, where an open one can be paid.", example="https://invoice.stripe.com/i/acct_1/test_1"
    )
    invoice_pdf = maybe_text("The same as a file to keep.", example="https://pay.stripe.com/invoice/acct_1/test_1/pdf")
    created = moment("When it was made.", example=PERIOD_START)
    livemode = livemode()


class InvoiceList(ListAnswer):
    data = fields.List(fields.Nested(InvoiceAnswer), required=True, metadata={"description": "Newest first."})


class BillingAnswer(Answer):
    object = kind("billing")
    plan = fields.Nested(
        PlanAnswer,
        required=True,
        allow_none=True,
        metadata={"description": "The plan in force: the subscription's, else the free one; null without either."},
    )
    subscription = fields.Nested(
        SubscriptionAnswer,
        required=True,
        allow_none=True,
        metadata={"description": "What the team has subscribed to; null on the free plan."},
    )
    credits = fields.Nested(CreditsAnswer, required=True)
    usage = fields.Nested(
        UsageTotals, required=True, metadata={"description": "What was used in the month under way, and its limits."}
    )
    invoices = fields.List(fields.Nested(InvoiceAnswer), required=True, metadata={"description": "The newest five."})
    livemode = livemode()


class FeatureAnswer(Answer):
    name = text("What people call it.", example="Usage history")
    kind = text("A switch, a limit, or a text that is only shown.", enum=["switch", "limit", "text"], example="limit")
    enabled = flag("Whether the team has it.", example=True)
    source = text(
        "What gives it: the plan, the plan with an add-on, an exception for the team (override), or nothing.",
        enum=["plan", "addon", "override", "none"],
        example="plan",
    )
    limit = maybe_whole("Of an enabled limit: how much; null is without limit.", example=365)
    unit = maybe_text("What the limit counts.", example="days")
    text = maybe_text("How the plan's page says it.", example="12 months")
    ends_at = moment("When an exception ends; null is never.", allow_none=True, example=None)


class MeterRightAnswer(Answer):
    name = text("What people call it.", example="E-mails sent")
    mode = text("How it is paid: each use in credits, or metered.", enum=["credits", "metered"], example="credits")
    cost_credits = maybe_whole("Credits that one use takes; null when it is metered.", example=1)
    included = maybe_whole("Units a month that the plan includes; null when uses are paid in credits.", example=None)
    more_allowed = flag("Whether there is more to be had than what is included.", example=True)


class EntitlementsAnswer(Answer):
    object = kind("entitlements")
    plan = fields.Nested(
        PlanAnswer,
        required=True,
        allow_none=True,
        metadata={"description": "The plan in force: the subscription's, else the free one; null without either."},
    )
    status = maybe_text("The subscription's state in Stripe's word; null without one.", example="active")
    access = text(
        "What the state of the subscription leaves: all of it, reading only, or nothing.",
        enum=["full", "read_only", "none"],
        example="full",
    )
    seats_included = maybe_whole("People the plan includes; null is any number.", example=5)
    credits_monthly = maybe_whole("Credits the plan gives a month; null in a product without credits.", example=5000)
    features = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(FeatureAnswer),
        required=True,
        metadata={
            "description": "Every feature of the catalog by its key, whether the plan gives it or not.",
            "x-example-key": "usage_history",
        },
    )
    meters = fields.Dict(
        keys=fields.String(),
        values=fields.Nested(MeterRightAnswer),
        required=True,
        metadata={"description": "Every meter of the catalog by its name.", "x-example-key": "send_email"},
    )
    livemode = livemode()
