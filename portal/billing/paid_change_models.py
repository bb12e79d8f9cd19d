"""What a change of plan within a paid period has paid for."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, UtcDateTime


class PaidChange(Model):
    """A prorated line of a plan on a paid invoice: the plan's time was charged, or given back, from `since` until `until`.

    `credits` is what the plan gives a month, below 0 where its time was given back: what it gave when it was paid, so that
    a changed catalog does not change it afterwards. So is `policy`, the catalog's `upgrade_grant` of then. The changes of a
    subscription follow one another by `since` and `invoiced_at`.
    """

    __tablename__ = "paid_changes"
    __table_args__ = (
        CheckConstraint("since < until", name="order"),
        CheckConstraint("policy in ('difference', 'full', 'none')", name="policy"),
        CheckConstraint("line >= 0", name="line"),
        Index("ix_paid_changes_subscription", "subscription_stripe_id", "since"),
    )

    invoice_stripe_id: Mapped[str] = mapped_column(PrefixedId, primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    subscription_stripe_id: Mapped[str] = mapped_column(PrefixedId)
    plan_key: Mapped[str]
    since: Mapped[UtcDateTime]
    until: Mapped[UtcDateTime]
    credits: Mapped[int] = mapped_column(BigInteger)
    policy: Mapped[str]
    invoiced_at: Mapped[UtcDateTime]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
