"""What the holder of a card, or its bank, has against a payment."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from portal.billing.mirrored import Mirrored
from portal.core.database import Model, PrefixedId, UtcDateTime

# The bank has not decided, and holds the money meanwhile. Whoever only asks (`warning_*`) has taken nothing yet.
OPEN_STATUSES = ("needs_response", "under_review")
# A decision is looked at again: until that is done, what followed from it stands.
APPEAL_STATUSES = ("appeal_needs_response", "appeal_under_review")


class Dispute(Mirrored, Model):
    """A dispute of a payment. `amount` is what is disputed of it, `withdrawn` what the bank holds or has kept of that.

    `effect` is what a lost one has done to the team's credits: nothing yet, `taken` some back, or, since it was won after
    that, `returned` them. What is frozen while it is open is not told here but by the ledger.
    """

    __tablename__ = "disputes"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("effect in ('none', 'taken', 'returned')", name="effect"),
        Index("ix_disputes_team_id", "team_id"),
        Index("ix_disputes_payment_intent", "payment_intent_stripe_id"),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    payment_intent_stripe_id: Mapped[str | None] = mapped_column(PrefixedId)
    charge_stripe_id: Mapped[str | None]
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    status: Mapped[str]
    reason: Mapped[str | None]
    withdrawn: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    respond_by: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime]
    effect: Mapped[str] = mapped_column(default="none", server_default="none")

    @property
    def open(self) -> bool:
        """Whether it may still be won or lost, so that what the payment bought is kept out of reach."""
        return self.status in OPEN_STATUSES or (self.status in APPEAL_STATUSES and self.effect == "none")

    @property
    def lost(self) -> bool:
        return self.status == "lost" or (self.status in APPEAL_STATUSES and self.effect == "taken")
