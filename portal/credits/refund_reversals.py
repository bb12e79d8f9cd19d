"""Refunds take credits back: of what a payment has granted, as large a part as was refunded of the payment.

The rule. Of `granted` credits for `paid`, a total of `refunded` takes back `granted * refunded / paid`, rounded down:
it follows from the total alone, however many refunds it came in; it never falls while the total rises; and a full
refund takes back everything. A month is one lot. A year is twelve, and its refund takes the last months first, down to
the first: what is refunded of a year is the time that is still to come. Months that are granted later are reversed in
the moment they are granted.

What was spent of it already becomes debt that the next grant repays; the ledger sees to that. A refund that fails in
the end gives back what it has taken, once, as an adjustment that lasts as long as the grant, and at least a month.

Each step is keyed by the refund and the lot, and runs under the account's lock, so that a refund and a grant that come
at the same time see each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from sqlalchemy import select

from portal.billing.models import PaidPeriod, Payment, Refund
from portal.billing.payments import paid_by_intent, paid_for_invoice, paid_on_page
from portal.billing.refunds import UNDONE, refunds_of
from portal.core import clock
from portal.core.database import db, send
from portal.core.statements import Row, Statement
from portal.credits import ledger
from portal.credits.models import CreditGrant
from portal.credits.plan_months import cause_key, steps
from portal.credits.storage import lock_account

GIVEN_BACK_FOR_AT_LEAST = timedelta(days=31)

# A lot and what was given back of it. Of each: what was ordered back by anybody, what by refunds, and what refunds have
# really taken so far, since what has expired is not taken. An order for a grant that waits for its start will be.
FAMILY = Statement(
    "select g.cause_key, g.kind, g.source, g.amount, g.effective_at, g.expires_at, g.state,"
    " (select cast(coalesce(sum(r.amount), 0) as bigint) from credit_reversals r"
    "   where r.team_id = g.team_id and r.grant_id = g.id) as ordered,"
    " (select cast(coalesce(sum(r.amount), 0) as bigint) from credit_reversals r"
    "   where r.team_id = g.team_id and r.grant_id = g.id and r.cause_key like 'refund:%') as refunded,"
    " (select cast(coalesce(-sum(e.amount), 0) as bigint) from credit_entries e"
    "   where e.team_id = g.team_id and e.grant_id = g.id and e.kind = 'reversed'"
    "   and e.cause_key like 'refund:%') as taken"
    " from credit_grants g where g.team_id = :team_id"
    " and (g.cause_key = :lot or (g.kind = 'adjustment' and g.cause_key like 'refund_failed:%'"
    "   and right(g.cause_key, length(:lot) + 1) = ':' || :lot))"
    " order by g.id"
)


@dataclass(frozen=True)
class Lot:
    """Credits that a payment grants: the cause of their grant, and how many."""

    cause_key: str
    amount: int


def reversed_credits(granted: int, refunded: int, paid: int) -> int:
    """How many of `granted` credits are taken back when `refunded` of `paid` was given back; both in the minor unit."""
    if paid <= 0 or refunded >= paid:
        return granted if refunded > 0 else 0
    return granted * refunded // paid


def share_of(lots: Sequence[Lot], place: int, total: int) -> int:
    """How much of `total` credits to take back falls on one lot, when the last lots go first."""
    later = sum(lot.amount for lot in lots[place + 1 :])
    return min(max(total - later, 0), lots[place].amount)


def reverse_refunded_invoice(team_id: str, invoice_stripe_id: str) -> None:
    """Bring the credits of an invoice in line with its refunds. Changes nothing when they are."""
    _reverse(team_id, lambda: paid_for_invoice(invoice_stripe_id), lambda: _lots_of_invoice(invoice_stripe_id))


def reverse_refunded_page(team_id: str, checkout_stripe_id: str) -> bool:
    """The same for what was bought on a checkout page; returns whether its grant is there."""
    lot = _granted_on(team_id, checkout_stripe_id)
    if lot is not None:
        _reverse(team_id, lambda: paid_on_page(checkout_stripe_id), lambda: [lot])
    return lot is not None


def reverse_refunded_purchase(team_id: str, purchase_cause_key: str, payment_intent_stripe_id: str) -> None:
    """The same for what auto-purchase has bought with one payment; its grant is there."""
    lot = _granted_as(team_id, purchase_cause_key)
    if lot is not None:
        _reverse(team_id, lambda: paid_by_intent(payment_intent_stripe_id), lambda: [lot])


def _lots_of_invoice(invoice_stripe_id: str) -> list[Lot]:
    query = (
        select(PaidPeriod).where(PaidPeriod.invoice_stripe_id == invoice_stripe_id).order_by(PaidPeriod.period_start)
    )
    return [
        Lot(cause_key(paid.subscription_stripe_id, paid.kind, start), paid.credits_monthly)
        for paid in db.session.execute(query).scalars()
        if paid.credits_monthly
        for start, _end in steps(paid)
    ]


def _granted_on(team_id: str, checkout_stripe_id: str) -> Lot | None:
    return _granted_as(team_id, f"bundle:{checkout_stripe_id}")


def _granted_as(team_id: str, cause: str) -> Lot | None:
    query = select(CreditGrant.amount).where(CreditGrant.team_id == team_id, CreditGrant.cause_key == cause)
    amount = db.session.execute(query).scalar()
    return Lot(cause, amount) if amount is not None else None


def _reverse(team_id: str, payments_of: Callable[[], list[Payment]], lots_of: Callable[[], list[Lot]]) -> None:
    """Nearly all that is paid is never refunded, so the lock is taken only then, and all is read again under it."""
    if not _refunds_of(payments_of()) or not lots_of():
        return
    lock_account(team_id)
    payments, lots = payments_of(), lots_of()
    if not (refunds := _refunds_of(payments)) or not lots:
        return
    steps_taken = _steps(refunds)
    paid, granted = sum(payment.amount for payment in payments), sum(lot.amount for lot in lots)
    for place, lot in enumerate(lots):
        family = _family(team_id, lot)
        fresh = family and not any(row.refunded for row in family)
        for step in _steps_from_nothing(refunds) if fresh else steps_taken if family else ():
            before, after = (
                share_of(lots, place, reversed_credits(granted, total, paid)) for total in (step.before, step.after)
            )
            if after > before:
                _take(team_id, lot, after - before, step.refund)
            elif before > after:
                _give_back(team_id, lot, before - after, step.refund)
    for step in steps_taken:
        step.refund.effect = "taken" if step.after > step.before else "returned"
    db.session.flush()


def _refunds_of(payments: list[Payment]) -> list[Refund]:
    return refunds_of([payment.payment_intent_stripe_id for payment in payments if payment.payment_intent_stripe_id])


@dataclass(frozen=True)
class Step:
    """One refund changes the total that is refunded of a payment, in the minor unit."""

    refund: Refund
    before: int
    after: int


def _steps(refunds: list[Refund]) -> list[Step]:
    """What is new: refunds that have taken nothing back yet, then those that failed after they had."""
    counted = sum(refund.amount for refund in refunds if refund.effect == "taken")
    begun = [refund for refund in refunds if refund.effect == "none" and refund.status not in UNDONE]
    failed = [refund for refund in refunds if refund.effect == "taken" and refund.status in UNDONE]
    return _walk(
        counted, [(refund, refund.amount) for refund in begun] + [(refund, -refund.amount) for refund in failed]
    )


def _steps_from_nothing(refunds: list[Refund]) -> list[Step]:
    """All refunds that count, for a lot of which none has taken anything back: it may have been granted just now."""
    return _walk(0, [(refund, refund.amount) for refund in refunds if refund.status not in UNDONE])


def _walk(total: int, changes: list[tuple[Refund, int]]) -> list[Step]:
    totals = list(accumulate((change for _, change in changes), initial=total))
    return [Step(refund, before, before + change) for (refund, change), before in zip(changes, totals, strict=False)]


def _family(team_id: str, lot: Lot) -> Sequence[Row]:
    return send(FAMILY, team_id=team_id, lot=lot.cause_key)


def _take(team_id: str, lot: Lot, amount: int, refund: Refund) -> None:
    """Order `amount` back, of the lot first and then of what was given back of it before."""
    for row in _family(team_id, lot):
        part = min(row.amount - row.ordered, amount)
        if part > 0:
            ledger.reverse(team_id, row.cause_key, part, f"refund:{refund.stripe_id}:{row.cause_key}")
            amount -= part


def _give_back(team_id: str, lot: Lot, amount: int, refund: Refund) -> None:
    """Give back what a refund has taken that failed in the end: never more than was really taken."""
    family = _family(team_id, lot)
    taken = sum(row.refunded if row.state == "waiting" else row.taken for row in family)
    back = min(amount, taken - sum(row.amount for row in family if row.cause_key != lot.cause_key))
    if back <= 0:
        return
    now, original = clock.now(), family[0]
    ledger.grant(
        team_id,
        kind="adjustment",
        amount=back,
        cause_key=f"refund_failed:{refund.stripe_id}:{lot.cause_key}",
        source=f"{original.source}, refund that did not go through",
        effective_at=max(now, original.effective_at),
        expires_at=_end(now, original.expires_at),
    )


def _end(now: datetime, expires_at: datetime | None) -> datetime | None:
    return None if expires_at is None else max(expires_at, now + GIVEN_BACK_FOR_AT_LEAST)
