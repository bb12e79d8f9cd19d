"""What is done with an invoice after it was sent: somebody asks for it to be charged, and it is corrected."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.billing.leased_work import OPEN_STATES
from portal.billing.mirrored import Mirrored
from portal.core.clock import app_now
from portal.core.database import Model, PrefixedId, PrimaryId, UtcDateTime

TRY_STATES = (*OPEN_STATES, "paid", "failed")
_OPEN = "state in ('" + "', '".join(OPEN_STATES) + "')"


class PaymentTry(Model):
    """Somebody has asked for an open invoice to be charged, which the worker does: one open try of an invoice.

    `amount` is what was to be paid when it was asked for: more is not charged. `order_key` is made for the page that has
    the button, so that a second press is the same try. The states are those of a change (`change_models.py`): `sending`,
    Stripe may have been asked; `unknown`, it was and did not say what became of it; `requires_action`, the bank asks.
    """

    __tablename__ = "payment_tries"
    __table_args__ = (
        CheckConstraint("state in ('" + "', '".join(TRY_STATES) + "')", name="state"),
        CheckConstraint(f"(finished_at is not null) = (not {_OPEN})", name="finished_at"),
        CheckConstraint("state <> 'requires_action' or confirm_url is not null", name="confirm_url"),
        CheckConstraint("(failure_code is not null) = (state = 'failed')", name="failure_code"),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("attempts >= 0", name="attempts"),
        UniqueConstraint("invoice_id", "order_key"),
        Index("uq_payment_tries_one_open", "invoice_id", unique=True, postgresql_where=text(_OPEN)),
        Index("ix_payment_tries_team_id", "team_id", "created_at"),
        Index("ix_payment_tries_user_id", "user_id", "created_at"),
        Index("ix_payment_tries_due", "run_at", postgresql_where=text(_OPEN)),
    )

    id: Mapped[PrimaryId]
    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    user_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("users.id"))
    invoice_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("invoices.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    order_key: Mapped[str | None]
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default="pending")
    # Where the buyer answers the bank, while it waits for that.
    confirm_url: Mapped[str | None]
    failure_code: Mapped[str | None]
    first_sent_at: Mapped[UtcDateTime | None]
    created_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    finished_at: Mapped[UtcDateTime | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    run_at: Mapped[UtcDateTime] = mapped_column(server_default=app_now())
    lease_until: Mapped[UtcDateTime | None]
    lease_token: Mapped[str | None]
    lease_holder: Mapped[int | None] = mapped_column(BigInteger)


class CreditNote(Mirrored, Model):
    """A correction of an invoice. `amount` is positive, as Stripe has it: what it took off an open invoice, or gave back of
    a paid one.
    """

    __tablename__ = "credit_notes"
    __table_args__ = (
        CheckConstraint("least(amount, before_payment, after_payment) >= 0", name="amount"),
        CheckConstraint("status in ('issued', 'void')", name="status"),
        CheckConstraint("voided_at is null or status = 'void'", name="voided_at"),
        Index("ix_credit_notes_team_id", "team_id", "created_at"),
        Index("ix_credit_notes_invoice_id", "invoice_id"),
    )

    team_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("teams.id"))
    invoice_id: Mapped[str] = mapped_column(PrefixedId, ForeignKey("invoices.id"))
    number: Mapped[str | None]
    status: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    before_payment: Mapped[int] = mapped_column(BigInteger)
    after_payment: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    reason: Mapped[str | None]
    memo: Mapped[str | None]
    pdf: Mapped[str | None]
    created_at: Mapped[UtcDateTime]
    voided_at: Mapped[UtcDateTime | None]
