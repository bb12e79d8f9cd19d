"""Changes of a subscription: what was shown for one, and the one that was agreed to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from portal.billing.leased_work import OPEN_STATES
from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime

# Leaving a plan, taking that back, and the same for a while.
LEAVE_KINDS = ("cancel", "cancel_now", "resume", "pause", "unpause")
CHANGE_KINDS = ("plan", "seats", "undo", "addon", *LEAVE_KINDS)
CHANGE_TIMINGS = ("now", "period_end")
# A change in one of the open states holds the team's one place for changes.
CHANGE_STATES = (*OPEN_STATES, "done", "failed", "stale", "canceled")


def _one_of(name: str, words: tuple[str, ...]) -> str:
    return f"{name} in ('" + "', '".join(words) + "')"


class ChangePreview(Model):
    """What a change would bring, as it was shown: a contract until `expires_at`.

    `params` are what Stripe is asked for when somebody agrees, `basis` is what the subscription was made of, and `shown`
    are the sums. All three are frozen: another wish, or another subscription, is another preview. Only what is used until a
    plan is ended at once comes on top of the sums.
    """

    __tablename__ = "change_previews"
    __table_args__ = (
        CheckConstraint(_one_of("kind", CHANGE_KINDS), name="kind"),
        CheckConstraint(_one_of("timing", CHANGE_TIMINGS), name="timing"),
        CheckConstraint("seats > 0", name="seats"),
        CheckConstraint("amount_due >= 0", name="amount_due"),
        CheckConstraint(
            "(kind = 'addon') = (num_nonnulls(addon_key, addon_quantity) = 2)"
            " and num_nonnulls(addon_key, addon_quantity) <> 1",
            name="addon",
        ),
        CheckConstraint("addon_quantity >= 0", name="addon_quantity"),
        CheckConstraint("created_at < expires_at", name="expires_at"),
        Index("ix_change_previews_team_id", "team_id", "created_at"),
        Index("ix_change_previews_created_at", "created_at"),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    subscription_stripe_id: Mapped[str] = mapped_column(PrefixedId)
    kind: Mapped[str]
    timing: Mapped[str]
    plan_key: Mapped[str]
    interval: Mapped[str]
    # All seats that the team is to have, included ones too; null where a plan has any number.
    seats: Mapped[int | None]
    promotion_code: Mapped[str | None]
    # Of a change of an add-on: which one, and how many of it there are to be; 0 takes it away.
    addon_key: Mapped[str | None]
    addon_quantity: Mapped[int | None]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB)
    basis: Mapped[dict[str, Any]] = mapped_column(JSONB)
    shown: Mapped[dict[str, Any]] = mapped_column(JSONB)
    amount_due: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    proration_date: Mapped[UtcDateTime]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    expires_at: Mapped[UtcDateTime]


class PendingChange(Model):
    """A change that somebody agreed to, carried out by the worker: one of a preview, and one open of a team.

    `sending`: Stripe may have been asked. `unknown`: it was, and did not say what became of it. `stale`: what was shown
    does not hold any more, so nothing was done. `failed`: a bank, or Stripe, refused, and nothing has changed.
    """

    __tablename__ = "pending_changes"
    __table_args__ = (
        CheckConstraint(_one_of("state", CHANGE_STATES), name="state"),
        CheckConstraint("(finished_at is not null) = (state not in " + repr(OPEN_STATES) + ")", name="finished_at"),
        CheckConstraint("state <> 'requires_action' or confirm_url is not null", name="confirm_url"),
        CheckConstraint("attempts >= 0", name="attempts"),
        Index(
            "uq_pending_changes_one_open", "team_id", unique=True, postgresql_where=text(_one_of("state", OPEN_STATES))
        ),
        Index("ix_pending_changes_team_id", "team_id", "created_at"),
        Index("ix_pending_changes_due", "run_at", postgresql_where=text(_one_of("state", OPEN_STATES))),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    preview_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("change_previews.id"), unique=True)
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default="pending")
    invoice_stripe_id: Mapped[str | None] = mapped_column(PrefixedId)
    # Where the buyer answers the bank, while it waits for that.
    confirm_url: Mapped[str | None]
    failure_code: Mapped[str | None]
    withdrawn_at: Mapped[UtcDateTime | None]
    first_sent_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    finished_at: Mapped[UtcDateTime | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    run_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    lease_until: Mapped[UtcDateTime | None]
    lease_token: Mapped[str | None]
    lease_holder: Mapped[int | None] = mapped_column(BigInteger)
