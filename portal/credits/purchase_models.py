"""Auto-purchase: what a team has agreed to, the rule that follows from it, and every purchase that it has brought about.

Money is in the minor unit of its currency. Nothing is charged but what stands in a purchase intent, one of which a team
has open at a time; what it charges was frozen when it was made.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime

COUNTS = ("total", "subscription")
RULE_STATES = ("armed", "stopped", "capped")
BEGINNINGS = ("threshold", "refused", "forced")
OPEN_STATES = ("pending", "charging", "unknown", "requires_action")
INTENT_STATES = (*OPEN_STATES, "granted", "failed", "canceled")
# What Stripe takes in one payment, in the minor unit.
CENTS_MAX = 99_999_999


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} in ('" + "', '".join(values) + "')"


_OPEN = _one_of("state", OPEN_STATES)


class AutoPurchaseConsent(Model):
    """What somebody agreed to, for ever: the words that were shown to them, and the terms they were about."""

    __tablename__ = "auto_purchase_consents"
    __table_args__ = (
        UniqueConstraint("team_id", "id"),
        CheckConstraint("text_version > 0", name="text_version"),
        CheckConstraint("words <> ''", name="words"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    text_version: Mapped[int]
    words: Mapped[str]
    terms: Mapped[dict[str, Any]] = mapped_column(JSONB)
    at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())


class AutoPurchaseRule(Model):
    """A team's rule. It buys only while it is `enabled`, `armed` and not paused by the staff.

    `stopped`: something happened that a person has to look at; `capped`: a limit was reached, until `capped_until`.
    `arming` counts how often it was armed: of each time at most one purchase may fail. No purchase is begun before
    `not_before`. What is bought and for how much is what was agreed to: another price of the bundle, or less for it, stops
    it.
    """

    __tablename__ = "auto_purchase_rules"
    __table_args__ = (
        ForeignKeyConstraint(
            ["team_id", "consent_id"], ["auto_purchase_consents.team_id", "auto_purchase_consents.id"]
        ),
        CheckConstraint("threshold > 0", name="threshold"),
        CheckConstraint(_one_of("counts", COUNTS), name="counts"),
        CheckConstraint("day_count_max between 1 and month_count_max", name="counts_max"),
        CheckConstraint(
            f"day_cents_max > 0 and month_cents_max between day_cents_max and {CENTS_MAX}", name="cents_max"
        ),
        CheckConstraint(_one_of("state", RULE_STATES), name="state"),
        CheckConstraint("(state = 'armed') = (reason is null)", name="reason"),
        CheckConstraint("(state = 'capped') = (capped_until is not null)", name="capped_until"),
        CheckConstraint("stopped_fingerprint is null or state = 'stopped'", name="stopped_fingerprint"),
        CheckConstraint("(paused_at is null) = (paused_reason is null)", name="paused"),
        CheckConstraint("arming > 0", name="arming"),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"), primary_key=True)
    consent_id: Mapped[str] = mapped_column(PrefixedId)
    enabled: Mapped[bool]
    threshold: Mapped[int] = mapped_column(BigInteger)
    counts: Mapped[str]
    price_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("prices.id"))
    day_count_max: Mapped[int]
    month_count_max: Mapped[int]
    day_cents_max: Mapped[int] = mapped_column(BigInteger)
    month_cents_max: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(default="armed")
    reason: Mapped[str | None]
    state_since: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    stopped_fingerprint: Mapped[str | None]
    capped_until: Mapped[UtcDateTime | None]
    not_before: Mapped[UtcDateTime | None]
    arming: Mapped[int] = mapped_column(default=1, server_default="1")
    paused_at: Mapped[UtcDateTime | None]
    paused_reason: Mapped[str | None]


class PurchaseIntent(Model):
    """One purchase that a rule has brought about, and what has become of it.

    It is written in the unit of the spend that made it necessary; `params` is what Stripe is asked for, frozen then.
    `charging`: Stripe may have been asked; `unknown`: it was, and did not say what became of it; `requires_action`: the
    bank wants to ask the card's holder. `granted` if and only if the payment has succeeded.
    """

    __tablename__ = "purchase_intents"
    __table_args__ = (
        ForeignKeyConstraint(
            ["team_id", "consent_id"], ["auto_purchase_consents.team_id", "auto_purchase_consents.id"]
        ),
        UniqueConstraint("idempotency_key"),
        UniqueConstraint("payment_intent_stripe_id"),
        CheckConstraint(_one_of("began_by", BEGINNINGS), name="began_by"),
        CheckConstraint(_one_of("state", INTENT_STATES), name="state"),
        CheckConstraint("least(credits, quantity, amount, arming) > 0", name="positive"),
        CheckConstraint("expires_after_months > 0", name="expires_after_months"),
        CheckConstraint(f"(finished_at is not null) = (not {_OPEN})", name="finished_at"),
        CheckConstraint("(failure_code is not null) = (state in ('failed', 'canceled'))", name="failure_code"),
        CheckConstraint("(state = 'requires_action') = (confirm_url is not null)", name="confirm_url"),
        CheckConstraint("state <> 'granted' or payment_intent_stripe_id is not null", name="granted"),
        CheckConstraint("attempts >= 0", name="attempts"),
        Index("uq_purchase_intents_one_open", "team_id", unique=True, postgresql_where=text(_OPEN)),
        Index(
            "uq_purchase_intents_one_failure_an_arming",
            "team_id",
            "arming",
            unique=True,
            postgresql_where=text("state = 'failed'"),
        ),
        Index("ix_purchase_intents_team_id", "team_id", "created_at"),
        Index("ix_purchase_intents_due", "run_at", postgresql_where=text(_OPEN)),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    consent_id: Mapped[str] = mapped_column(PrefixedId)
    began_by: Mapped[str]
    arming: Mapped[int]
    price_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("prices.id"))
    quantity: Mapped[int]
    credits: Mapped[int] = mapped_column(BigInteger)
    expires_after_months: Mapped[int | None]
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    card_fingerprint: Mapped[str | None]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    idempotency_key: Mapped[str]
    state: Mapped[str] = mapped_column(default="pending")
    payment_intent_stripe_id: Mapped[str | None] = mapped_column(PrefixedId)
    # Where the card's holder answers the bank, while it waits for that.
    confirm_url: Mapped[str | None]
    # When they were first told that the bank asks.
    asked_at: Mapped[UtcDateTime | None]
    failure_code: Mapped[str | None]
    first_sent_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    finished_at: Mapped[UtcDateTime | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    run_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    lease_until: Mapped[UtcDateTime | None]
    lease_token: Mapped[str | None]
    lease_holder: Mapped[int | None] = mapped_column(BigInteger)
