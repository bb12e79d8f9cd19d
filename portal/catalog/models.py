"""The catalog in the database: what was ever sold. Things that left the file are archived, never deleted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime
from portal.core.ids import new_id


class Plan(Model):
    """`credits_monthly` is None in a product without credits, `seats_included` is None for any number.

    `seats_max` are the seats that a team can have at most, included ones too; None is no limit. `seat_billing` says when
    a further seat is paid for: `now`, or with the `next_invoice`.
    """

    __tablename__ = "plans"
    __table_args__ = (
        CheckConstraint("kind in ('free', 'paid', 'custom')", name="kind"),
        CheckConstraint("credits_monthly >= 0", name="credits_monthly"),
        CheckConstraint("seats_included > 0", name="seats_included"),
        CheckConstraint("seats_max >= seats_included", name="seats_max"),
        CheckConstraint("seat_billing in ('now', 'next_invoice')", name="seat_billing"),
        CheckConstraint("trial_days >= 0 and (trial_days = 0 or kind = 'paid')", name="trial_days"),
        Index("uq_plans_one_free", "kind", unique=True, postgresql_where=text("kind = 'free' and archived_at is null")),
    )

    id: Mapped[PrimaryId]
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str]
    position: Mapped[int]
    credits_monthly: Mapped[int | None] = mapped_column(BigInteger)
    seats_included: Mapped[int | None]
    seats_max: Mapped[int | None]
    seat_billing: Mapped[str] = mapped_column(default="now", server_default="now")
    trial_days: Mapped[int]
    stripe_product_id: Mapped[str | None] = mapped_column(PrefixedId, unique=True)
    archived_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("plan"))
        super().__init__(**values)


class Bundle(Model):
    """Credits sold by themselves; `expires_after_months` of None is never, `limit_per_month` of None no limit."""

    __tablename__ = "bundles"
    __table_args__ = (
        CheckConstraint("credits > 0", name="credits"),
        CheckConstraint("expires_after_months > 0", name="expires_after_months"),
        CheckConstraint("limit_per_month > 0", name="limit_per_month"),
    )

    id: Mapped[PrimaryId]
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    position: Mapped[int]
    credits: Mapped[int] = mapped_column(BigInteger)
    expires_after_months: Mapped[int | None]
    limit_per_month: Mapped[int | None]
    stripe_product_id: Mapped[str | None] = mapped_column(PrefixedId, unique=True)
    archived_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("bundle"))
        super().__init__(**values)


class Addon(Model):
    """Something sold beside a plan, up to `quantity_max` of it."""

    __tablename__ = "addons"
    __table_args__ = (CheckConstraint("quantity_max > 0", name="quantity_max"),)

    id: Mapped[PrimaryId]
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    description: Mapped[str]
    position: Mapped[int]
    quantity_max: Mapped[int]
    stripe_product_id: Mapped[str | None] = mapped_column(PrefixedId, unique=True)
    archived_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("addon"))
        super().__init__(**values)


class AddonPlan(Model):
    """That an add-on is sold with a plan."""

    __tablename__ = "addon_plans"

    addon_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("addons.id"), primary_key=True)
    plan_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("plans.id"), primary_key=True)


class AddonFeature(Model):
    """What each one of an add-on gives: a switch, or so much more of a limit (None: no limit at all)."""

    __tablename__ = "addon_features"
    __table_args__ = (CheckConstraint("limit_value > 0", name="limit_value"),)

    addon_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("addons.id"), primary_key=True)
    feature_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("features.id"), primary_key=True)
    limit_value: Mapped[int | None] = mapped_column(BigInteger)


class Price(Model):
    """What a plan, a further seat of it, an add-on, or a bundle costs, in the minor unit of `currency`.

    Of a plan's meter it is what 1,000 units cost beyond the `included` ones of a month.

    A trigger refuses to change what a price says: another amount is another row (and another price at Stripe), and the
    old one stays, inactive, for those who have subscribed to it. `attempts` counts the tries to make the price at
    Stripe whose outcome was never learned; it is a part of the idempotency key.
    """

    __tablename__ = "prices"
    __table_args__ = (
        CheckConstraint("purpose in ('plan', 'seat', 'bundle', 'addon', 'metered')", name="purpose"),
        CheckConstraint(
            "case purpose when 'metered' then num_nonnulls(meter_id, included, plan_id) = 3 and included >= 0"
            " and unit_amount_cents > 0 and interval = 'month' else num_nonnulls(meter_id, included) = 0 end",
            name="meter",
        ),
        CheckConstraint(
            "num_nonnulls(plan_id, bundle_id, addon_id) = 1 and (bundle_id is null) = (interval is not null)"
            " and case purpose when 'bundle' then bundle_id when 'addon' then addon_id else plan_id end is not null",
            name="owner",
        ),
        CheckConstraint("interval in ('month', 'year')", name="interval"),
        CheckConstraint("unit_amount_cents >= 0", name="unit_amount_cents"),
        CheckConstraint("currency ~ '^[a-z]{3}$'", name="currency"),
        Index("uq_prices_lookup_key", "lookup_key", unique=True, postgresql_where=text("active")),
        Index(
            "uq_prices_one_of_plan",
            *("plan_id", "interval", "currency", "purpose"),
            unique=True,
            postgresql_where=text("active and plan_id is not null and meter_id is null"),
        ),
        Index(
            "uq_prices_one_of_meter",
            *("plan_id", "meter_id", "currency"),
            unique=True,
            postgresql_where=text("active and meter_id is not null"),
        ),
        Index(
            "uq_prices_one_of_bundle",
            *("bundle_id", "currency"),
            unique=True,
            postgresql_where=text("active and bundle_id is not null"),
        ),
        Index(
            "uq_prices_one_of_addon",
            *("addon_id", "interval", "currency"),
            unique=True,
            postgresql_where=text("active and addon_id is not null"),
        ),
    )

    id: Mapped[PrimaryId]
    purpose: Mapped[str]
    plan_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("plans.id"))
    bundle_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("bundles.id"))
    addon_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("addons.id"))
    meter_id: Mapped[str | None] = mapped_column(PrefixedId, ForeignKey("meters.id"))
    included: Mapped[int | None] = mapped_column(BigInteger)
    interval: Mapped[str | None]
    unit_amount_cents: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    lookup_key: Mapped[str]
    stripe_price_id: Mapped[str | None] = mapped_column(PrefixedId, unique=True)
    active: Mapped[bool] = mapped_column(default=True)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    plan: Mapped[Plan | None] = relationship()
    bundle: Mapped[Bundle | None] = relationship()
    addon: Mapped[Addon | None] = relationship()
    meter: Mapped[Meter | None] = relationship()

    def __init__(self, **values: Any) -> None:
        # Not `price`: that is how Stripe's own identifiers begin.
        values.setdefault("id", new_id("prc"))
        super().__init__(**values)


class Feature(Model):
    """A right that plans may give: a switch, a limit counted in `unit`, or a text that is only shown."""

    __tablename__ = "features"
    __table_args__ = (CheckConstraint("kind in ('switch', 'limit', 'text')", name="kind"),)

    id: Mapped[PrimaryId]
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str]
    unit: Mapped[str | None]
    position: Mapped[int]
    archived_at: Mapped[UtcDateTime | None]

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("feat"))
        super().__init__(**values)


class PlanFeature(Model):
    """What a plan gives of a feature; no row is nothing. An enabled limit of None is no limit at all."""

    __tablename__ = "plan_features"
    __table_args__ = (CheckConstraint("limit_value >= 0", name="limit_value"),)

    plan_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("plans.id"), primary_key=True)
    feature_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("features.id"), primary_key=True)
    enabled: Mapped[bool]
    limit_value: Mapped[int | None] = mapped_column(BigInteger)
    text: Mapped[str | None]


class PlanAccess(Model):
    """What is left of a plan while its subscription is in `status`: all, reading only, or nothing (the free plan).

    `seats_kept`: its seats count all the same. `credits_frozen`: no credit of the team can be spent.
    """

    __tablename__ = "plan_access"
    __table_args__ = (
        CheckConstraint(
            "status in ('trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled')",
            name="status",
        ),
        CheckConstraint("access in ('full', 'read_only', 'none')", name="access"),
    )

    plan_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("plans.id"), primary_key=True)
    status: Mapped[str] = mapped_column(primary_key=True)
    access: Mapped[str]
    seats_kept: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    credits_frozen: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class Meter(Model):
    """Something the product counts: in mode `credits` a use takes `cost_credits`, in mode `metered` plans include some.

    `stripe_meter_id` is the Billing Meter that a metered one is counted by at Stripe, once there is one.
    """

    __tablename__ = "meters"
    __table_args__ = (
        CheckConstraint("mode in ('credits', 'metered')", name="mode"),
        CheckConstraint("(mode = 'credits') = (cost_credits is not null)", name="cost_of_mode"),
        CheckConstraint("cost_credits > 0", name="cost_credits"),
    )

    id: Mapped[PrimaryId]
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    mode: Mapped[str]
    cost_credits: Mapped[int | None] = mapped_column(BigInteger)
    position: Mapped[int]
    stripe_meter_id: Mapped[str | None] = mapped_column(PrefixedId, unique=True)
    archived_at: Mapped[UtcDateTime | None]

    def __init__(self, **values: Any) -> None:
        values.setdefault("id", new_id("meter"))
        super().__init__(**values)


class PlanMeter(Model):
    """Units of a metered meter a month that a plan includes, and what 1,000 more cost (None: there are no more)."""

    __tablename__ = "plan_meters"
    __table_args__ = (
        CheckConstraint("included >= 0", name="included"),
        CheckConstraint("overage_per_1000_cents > 0", name="overage_per_1000_cents"),
    )

    plan_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("plans.id"), primary_key=True)
    meter_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("meters.id"), primary_key=True)
    included: Mapped[int] = mapped_column(BigInteger)
    overage_per_1000_cents: Mapped[int | None] = mapped_column(BigInteger)
