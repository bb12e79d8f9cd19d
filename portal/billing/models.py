"""The mirror of Stripe's objects and the checkouts we have begun.

A mirror row is what a fetch from Stripe said; `gen` counts its writes, so that a fetch begun before the last write
cannot overwrite it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.billing import change_models, invoice_models  # noqa: F401  more of this feature's tables
from portal.billing.mirrored import Mirrored
from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime

# A subscription in one of these states holds the team's one place: no other may be bought beside it.
LIVE_STATUSES = ("trialing", "active", "past_due", "unpaid", "paused")
APPEND_ONLY = ("plan_history",)
_LIVE = ", ".join(f"'{status}'" for status in LIVE_STATUSES)


class Customer(Model):
    """A team's customer at Stripe. The row, with frozen `params`, is committed before Stripe is asked to make one."""

    __tablename__ = "customers"

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    stripe_id: Mapped[str | None] = mapped_column(PrefixedId, unique=True)
    email: Mapped[str | None]
    name: Mapped[str | None]
    # What invoices say of the buyer, besides the name: the address as Stripe has it, and the number of an order.
    address: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    po_number: Mapped[str | None]
    # The team's billing e-mail that is on its way there, and the one that Stripe did not take, which is not sent again.
    sent_email: Mapped[str | None]
    refused_email: Mapped[str | None]
    default_payment_method: Mapped[str | None]
    deleted: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    gen: Mapped[int] = mapped_column(default=0, server_default="0")
    synced_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class TaxId(Model):
    """A tax id of a team's customer at Stripe. Rewritten with its customer."""

    __tablename__ = "tax_ids"
    __table_args__ = (Index("ix_tax_ids_team_id", "team_id", "created_at"),)

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("customers.team_id"))
    stripe_id: Mapped[str] = mapped_column(PrefixedId, unique=True)
    type: Mapped[str]
    value: Mapped[str]
    # Stripe's word on it: pending, verified, unverified, or unavailable where nobody can be asked.
    verification: Mapped[str | None]
    created_at: Mapped[UtcDateTime]


class Checkout(Model):
    """One visit to Stripe's checkout page. `params` are what Stripe is asked for, saved before it is asked.

    `replaced`: a newer checkout took its place, and its page, if it ever had one, may still be open. What a bundle gives
    and costs is frozen here when the checkout begins, so that a changed catalog does not change what was bought.
    `order_key` tells one order from another: the same one pressed again comes to the same row and the same page.
    """

    __tablename__ = "checkouts"
    __table_args__ = (
        CheckConstraint(
            "state in ('starting', 'open', 'complete', 'expired', 'failed', 'replaced')",
            name="state",
        ),
        CheckConstraint("purpose in ('plan', 'bundle')", name="purpose"),
        CheckConstraint("num_nonnulls(user_id, api_key_id) = 1", name="buyer"),
        CheckConstraint(
            "case purpose when 'plan' then plan_key is not null and num_nonnulls(bundle_key, credits) = 0"
            " else plan_key is null and num_nonnulls(bundle_key, credits, amount_cents, currency, order_key) = 5 end",
            name="order",
        ),
        CheckConstraint("credits > 0", name="credits"),
        CheckConstraint("expires_after_months > 0", name="expires_after_months"),
        CheckConstraint(
            "payment_status in ('unpaid', 'paid', 'no_payment_required', 'failed')",
            name="payment_status",
        ),
        CheckConstraint(
            "(paid_at is not null) = coalesce(payment_status in ('paid', 'no_payment_required'), false)",
            name="paid_at",
        ),
        Index(
            "uq_checkouts_one_current",
            "team_id",
            unique=True,
            postgresql_where=text("state in ('starting', 'open') and purpose = 'plan'"),
        ),
        Index(
            "uq_checkouts_one_of_order",
            "team_id",
            "order_key",
            unique=True,
            postgresql_where=text("state in ('starting', 'open', 'complete')"),
        ),
        Index("ix_checkouts_team_id", "team_id", "created_at"),
        Index("ix_checkouts_user_id", "user_id", "created_at"),
        Index("ix_checkouts_api_key_id", "api_key_id", "created_at", postgresql_where=text("api_key_id is not null")),
        Index(
            "ix_checkouts_payment_intent",
            "payment_intent_stripe_id",
            postgresql_where=text("payment_intent_stripe_id is not null"),
        ),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    user_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("users.id"))
    api_key_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("api_keys.id"))
    purpose: Mapped[str] = mapped_column(default="plan")
    plan_key: Mapped[str | None]
    bundle_key: Mapped[str | None]
    price_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("prices.id"))
    credits: Mapped[int | None] = mapped_column(BigInteger)
    expires_after_months: Mapped[int | None]
    amount_cents: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str | None]
    order_key: Mapped[str | None]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(default="starting")
    stripe_id: Mapped[str | None] = mapped_column(PrefixedId, unique=True)
    url: Mapped[str | None]
    subscription_stripe_id: Mapped[str | None]
    # Stripe's word once the page is complete, and `failed` when the bank said no days later. It never leaves `paid`.
    payment_status: Mapped[str | None]
    payment_intent_stripe_id: Mapped[str | None]
    amount_total: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    completed_at: Mapped[UtcDateTime | None]
    paid_at: Mapped[UtcDateTime | None]

    @property
    def paid(self) -> bool:
        return self.paid_at is not None


class CardDecline(Model):
    """A card that a bank refused, once for each try: too many of them in an hour look like somebody testing cards."""

    __tablename__ = "card_declines"
    __table_args__ = (Index("ix_card_declines_team_id", "team_id", "at"), Index("ix_card_declines_at", "at"))

    attempt_id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    checkout_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("checkouts.id"))
    at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class Subscription(Mirrored, Model):
    __tablename__ = "subscriptions"
    __table_args__ = (
        Index(
            "uq_subscriptions_one_live",
            "team_id",
            unique=True,
            postgresql_where=text(f"status in ({_LIVE}) and not duplicate"),
        ),
        Index("ix_subscriptions_team_id", "team_id"),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    status: Mapped[str]
    # A second paid subscription of the same team: kept and shown to staff, never granted anything.
    duplicate: Mapped[bool] = mapped_column(default=False)
    plan_key: Mapped[str | None]
    price_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("prices.id"))
    interval: Mapped[str | None]
    unit_amount: Mapped[int | None] = mapped_column(BigInteger)
    currency: Mapped[str]
    default_payment_method: Mapped[str | None]
    latest_invoice: Mapped[str | None]
    started_at: Mapped[UtcDateTime]
    current_period_start: Mapped[UtcDateTime | None]
    current_period_end: Mapped[UtcDateTime | None]
    trial_start: Mapped[UtcDateTime | None]
    trial_end: Mapped[UtcDateTime | None]
    cancel_at: Mapped[UtcDateTime | None]
    canceled_at: Mapped[UtcDateTime | None]
    ended_at: Mapped[UtcDateTime | None]
    # Why it was canceled: Stripe's word for what brought it about, and what a person gave as the reason.
    cancel_reason: Mapped[str | None]
    cancel_feedback: Mapped[str | None]
    cancel_comment: Mapped[str | None]
    paused_at: Mapped[UtcDateTime | None]
    # The schedule at Stripe, and what it brings next: a change of plan when the period ends.
    schedule_stripe_id: Mapped[str | None] = mapped_column(PrefixedId)
    scheduled_at: Mapped[UtcDateTime | None]
    scheduled_plan_key: Mapped[str | None]
    scheduled_interval: Mapped[str | None]
    scheduled_seats_extra: Mapped[int | None]
    # How many of each add-on there are to be then, by key.
    scheduled_addons: Mapped[dict[str, int] | None] = mapped_column(JSONB)

    @property
    def live(self) -> bool:
        return self.status in LIVE_STATUSES and not self.duplicate


class SubscriptionItem(Model):
    """A line of a subscription: its plan, or seats. Rewritten with its subscription."""

    __tablename__ = "subscription_items"
    __table_args__ = (UniqueConstraint("subscription_id", "stripe_id"),)

    id: Mapped[PrimaryId]
    subscription_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("subscriptions.id", ondelete="CASCADE"))
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    stripe_id: Mapped[str] = mapped_column(PrefixedId)
    stripe_price_id: Mapped[str]
    quantity: Mapped[int]
    unit_amount: Mapped[int | None] = mapped_column(BigInteger)
    current_period_start: Mapped[UtcDateTime]
    current_period_end: Mapped[UtcDateTime]


class Invoice(Mirrored, Model):
    __tablename__ = "invoices"
    __table_args__ = (
        Index("ix_invoices_team_id", "team_id", text("created_at desc")),
        # Discount and tax have the sign of the sum: what gives back more than it asks for has them below 0.
        CheckConstraint("least(credited_before, credited_after) >= 0", name="parts"),
        Index(
            "ix_invoices_failing",
            "finalized_at",
            postgresql_where=text("status in ('open', 'uncollectible') and attempt_count > 0"),
        ),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    subscription_stripe_id: Mapped[str | None]
    number: Mapped[str | None]
    status: Mapped[str]
    billing_reason: Mapped[str | None]
    currency: Mapped[str]
    # How the total comes about; the subtotal is unknown of invoices that were mirrored before it was kept.
    subtotal: Mapped[int | None] = mapped_column(BigInteger)
    discount: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    tax: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    total: Mapped[int] = mapped_column(BigInteger)
    amount_due: Mapped[int] = mapped_column(BigInteger)
    amount_paid: Mapped[int] = mapped_column(BigInteger)
    # What credit notes took off it, before it was paid (it asks for less then) and afterwards.
    credited_before: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    credited_after: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    description: Mapped[str]
    # What the grants are derived from: per line the price, the amount, whether it is a proration, and its period.
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    hosted_invoice_url: Mapped[str | None]
    invoice_pdf: Mapped[str | None]
    created_at: Mapped[UtcDateTime]
    paid_at: Mapped[UtcDateTime | None]
    # How often Stripe has tried to collect it, since when, and when it tries next (None: it has given up, or need not).
    attempt_count: Mapped[int] = mapped_column(default=0, server_default="0")
    finalized_at: Mapped[UtcDateTime | None]
    next_payment_attempt: Mapped[UtcDateTime | None]


class PaymentMethod(Mirrored, Model):
    __tablename__ = "payment_methods"

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), index=True)
    type: Mapped[str]
    brand: Mapped[str | None]
    last4: Mapped[str | None]
    exp_month: Mapped[int | None]
    exp_year: Mapped[int | None]
    fingerprint: Mapped[str | None]
    # Taken from its customer: it pays nothing any more, and no later news of it says whose it was.
    detached: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


PAYMENT_TYPES = ("subscription_payment", "upgrade", "downgrade", "cancel", "top_up", "refund")
PAYMENT_STATUSES = ("pending", "requires_action", "succeeded", "failed", "canceled")


class Payment(Mirrored, Model):
    """A line of the team's payment history: money that moved, or was to move.

    `stripe_id` names the business fact: the payment intent; the invoice, for what was paid without one (nothing due, or
    paid outside of Stripe); the refund; the subscription, for its end. `amount` is in the minor unit: what the team
    paid is positive, what it got back negative, and a `cancel` is 0. The rows of a paid invoice add up to what was due.
    """

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("type in ('" + "', '".join(PAYMENT_TYPES) + "')", name="type"),
        CheckConstraint("status in ('" + "', '".join(PAYMENT_STATUSES) + "')", name="status"),
        CheckConstraint(
            "case type when 'refund' then amount <= 0 when 'cancel' then amount = 0 else amount >= 0 end", name="amount"
        ),
        CheckConstraint("amount_refunded between 0 and greatest(amount, 0)", name="amount_refunded"),
        Index("ix_payments_history", "team_id", text("occurred_at desc"), text("id desc")),
        Index("ix_payments_invoice", "invoice_stripe_id", postgresql_where=text("invoice_stripe_id is not null")),
        Index("ix_payments_checkout", "checkout_stripe_id", postgresql_where=text("checkout_stripe_id is not null")),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    type: Mapped[str]
    status: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    amount_refunded: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    currency: Mapped[str]
    description: Mapped[str]
    invoice_stripe_id: Mapped[str | None] = mapped_column(PrefixedId)
    payment_intent_stripe_id: Mapped[str | None]
    charge_stripe_id: Mapped[str | None]
    checkout_stripe_id: Mapped[str | None]
    brand: Mapped[str | None]
    last4: Mapped[str | None]
    receipt_url: Mapped[str | None]
    # Stripe's code of why it failed, or why a refund did; `billing/failure_words.py` says it in words.
    failure_code: Mapped[str | None]
    occurred_at: Mapped[UtcDateTime]


class Refund(Mirrored, Model):
    """A refund of a payment. `amount` is positive, as Stripe has it.

    `effect` is what it has done to the team's credits so far: nothing yet, `taken` some back, or, since it failed after
    that, `returned` them.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("effect in ('none', 'taken', 'returned')", name="effect"),
        Index("ix_refunds_team_id", "team_id"),
        Index("ix_refunds_payment_intent", "payment_intent_stripe_id"),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    payment_intent_stripe_id: Mapped[str | None] = mapped_column(PrefixedId)
    charge_stripe_id: Mapped[str | None]
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str | None]
    failure_reason: Mapped[str | None]
    created_at: Mapped[UtcDateTime]
    effect: Mapped[str] = mapped_column(default="none", server_default="none")


class PortalConfiguration(Model):
    """What Stripe's customer portal offers, as it was last sent there. At most one row."""

    __tablename__ = "portal_configurations"
    __table_args__ = (CheckConstraint("one_row", name="one_row"),)

    one_row: Mapped[bool] = mapped_column(primary_key=True, default=True)
    stripe_id: Mapped[str] = mapped_column(PrefixedId)
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    synced_at: Mapped[UtcDateTime]


PORTAL_FLOWS = ("payment_method_update", "subscription_cancel")


class PortalVisit(Model):
    """Somebody was sent to Stripe's customer portal to do one thing. `before` is what it was then, so that the page
    they come back to can tell whether it was done.
    """

    __tablename__ = "portal_visits"
    __table_args__ = (
        CheckConstraint("flow in ('" + "', '".join(PORTAL_FLOWS) + "')", name="flow"),
        Index("ix_portal_visits_team_id", "team_id", "created_at"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    flow: Mapped[str]
    before: Mapped[str | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class PaidPeriod(Model):
    """What an invoice paid for: a plan from one instant to another. The evidence from which credits are granted.

    `credits_monthly` is what the plan gave when it was paid, so that a changed catalog does not change it afterwards.
    `next_grant_at` is when the next month of a year is due to be granted; null when none is left.
    """

    __tablename__ = "paid_periods"
    __table_args__ = (
        UniqueConstraint("subscription_stripe_id", "kind", "period_start"),
        CheckConstraint("kind in ('plan', 'trial')", name="kind"),
        CheckConstraint("interval in ('month', 'year')", name="interval"),
        CheckConstraint("period_start < period_end", name="order"),
        CheckConstraint("credits_monthly >= 0", name="credits"),
        Index("ix_paid_periods_invoice", "invoice_stripe_id"),
        Index("ix_paid_periods_due", "next_grant_at", postgresql_where=text("next_grant_at is not null")),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    subscription_stripe_id: Mapped[str]
    invoice_stripe_id: Mapped[str]
    kind: Mapped[str]
    plan_key: Mapped[str]
    interval: Mapped[str]
    period_start: Mapped[UtcDateTime]
    period_end: Mapped[UtcDateTime]
    credits_monthly: Mapped[int] = mapped_column(BigInteger)
    next_grant_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class EntitlementOverride(Model):
    """An exception for one team: a feature given or taken away by the staff, with a reason, until `ends_at` or revoked.

    An enabled limit of None is no limit at all.
    """

    __tablename__ = "entitlement_overrides"
    __table_args__ = (
        CheckConstraint("limit_value >= 0", name="limit_value"),
        CheckConstraint("ends_at > created_at", name="ends_at"),
        Index(
            "uq_entitlement_overrides_one",
            "team_id",
            "feature_id",
            unique=True,
            postgresql_where=text("revoked_at is null"),
        ),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    feature_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("features.id"))
    enabled: Mapped[bool]
    limit_value: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str]
    ends_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    revoked_at: Mapped[UtcDateTime | None]


class RightsVersion(Model):
    """How often what a team may do has changed; `scope` is the team, or `catalog` for all of them. Triggers count."""

    __tablename__ = "rights_versions"

    scope: Mapped[PrimaryId]
    version: Mapped[int] = mapped_column(BigInteger)


class PlanHistory(Model):
    """Every state that a team's subscriptions were in, as our mirror learned of it. A trigger writes it."""

    __tablename__ = "plan_history"
    __table_args__ = (Index("ix_plan_history_team_id", "team_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    team_id: Mapped[str] = mapped_column(PrefixedId)
    subscription_stripe_id: Mapped[str] = mapped_column(PrefixedId)
    plan_key: Mapped[str | None]
    interval: Mapped[str | None]
    status: Mapped[str]
    duplicate: Mapped[bool]
    at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


TRIAL_IDENTITIES = ("user", "email", "card", "team")


class TrialUse(Model):
    """That somebody has had a trial, and in which subscription: each identity once, as a keyed digest of it.

    `used_at` is when that trial began. No link to users or teams: the row outlives whoever is deleted.
    """

    __tablename__ = "trial_uses"
    __table_args__ = (
        CheckConstraint("kind in ('" + "', '".join(TRIAL_IDENTITIES) + "')", name="kind"),
        CheckConstraint("length(digest) = 64", name="digest"),
        Index("ix_trial_uses_subscription", "subscription_stripe_id"),
    )

    kind: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    subscription_stripe_id: Mapped[str] = mapped_column(PrefixedId)
    used_at: Mapped[UtcDateTime]
