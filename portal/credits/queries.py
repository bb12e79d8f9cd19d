"""Reads of the ledger. They take no lock and write nothing, and still show what the next writer will find: the book is
loaded in one statement and what is due is posted to it in memory. All amounts are credits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from portal.billing.models import Subscription
from portal.billing.subscriptions import live_subscription
from portal.catalog.queries import plan_by_key
from portal.core.database import db, send
from portal.core.statements import Statement
from portal.credits.book import SORT_KEYS, Book, Lot
from portal.credits.errors import InsufficientCredits
from portal.credits.free_months import free_credits_after
from portal.credits.models import CreditGrant
from portal.credits.storage import load_book, lot_from
from portal.credits.upgrades import more_in_month

# A lot that adds to the plan's own for the rest of its month.
UPGRADE = "upgrade:"

KIND_LABELS = {"subscription": "Plan", "bundle": "Bundle", "gift": "Gift", "adjustment": "Adjustment"}

USED_UP = Statement(
    "select id, kind, amount, remaining, effective_at, expires_at, state, cause_key, source, held, lapsed_version, frozen"
    " from credit_grants where team_id = :team_id and state = 'used' and kind = 'subscription' and expires_at > :now"
)

# What was spent since a grant began follows from the balance then, the balance now, and the few entries between that
# are no spends, which are read by an index of their own; nobody has to add up the spends themselves.
SPENT_SINCE = Statement(
    "with few as materialized (select * from credit_entries where team_id = :team_id and grant_id is not null)"
    " select start.balance_after - :balance + (select cast(coalesce(sum(other.amount), 0) as bigint)"
    "   from few other where other.version > start.version and other.version <= :version) as spent"
    " from credit_entries start where start.team_id = :team_id and start.cause_key = :cause_key"
    " and start.version <= :version"
)


@dataclass(frozen=True)
class Balance:
    """`available` may be spent, `reserved` is held, `debt` is owed and taken from what comes next.

    `frozen` is out of reach while a payment is disputed, and counted in none of the others.
    """

    available: int
    reserved: int
    debt: int
    version: int
    frozen: int = 0


@dataclass(frozen=True)
class Grant:
    """A grant as the team sees it. `live`: it has begun and not ended, though nothing of it may remain.

    Of what remains, `held` is kept for uses under way, and `frozen` cannot be spent while the payment for it is disputed.
    """

    kind: str
    source: str
    amount: int
    remaining: int
    effective_at: datetime
    expires_at: datetime | None
    live: bool
    cause_key: str
    held: int = 0
    frozen: int = 0

    @property
    def spendable(self) -> int:
        return self.remaining - self.held - self.frozen

    @property
    def kind_label(self) -> str:
        return KIND_LABELS[self.kind]

    def ends_within(self, span: timedelta, now: datetime) -> bool:
        """Whether something of it will be lost soon, that no new period makes good for."""
        lost = self.live and self.kind != "subscription" and self.remaining > 0
        return lost and self.expires_at is not None and self.expires_at - now <= span


@dataclass(frozen=True)
class Summary:
    """The credits card. `used_this_period` counts every spend since the plan's current grant began, 0 without one.

    `next_reset_at` is None where no plan credits are on their way.
    """

    available: int
    reserved: int
    debt: int
    plan_left: int
    bundle_left: int
    used_this_period: int
    next_reset_at: datetime | None
    next_reset_amount: int
    grants: list[Grant]
    frozen: int = 0


def balance(team_id: str) -> Balance:
    """What the team has now: overdue grants are out, due ones are in. All 0 for a team without an account."""
    book = load_book(team_id)
    if book is None:
        return Balance(0, 0, 0, 0)
    book.post_due()
    return Balance(book.available, book.reserved, book.debt, book.version, _frozen(book))


def shortage(team_id: str, cost: int) -> InsufficientCredits | None:
    """What a spend of `cost` would be refused with now; None when it could be paid."""
    book = load_book(team_id)
    if book is None:
        return InsufficientCredits(0, cost) if cost else None
    book.post_due()
    return None if cost <= book.available else book.insufficient(cost)


def grants_of(team_id: str) -> list[Grant]:
    """The team's present grants in the order they are spent, then those to come."""
    book = load_book(team_id)
    if book is None:
        return []
    book.post_due()
    return [_grant(lot) for lot in _present_lots(book)]


def summary(team_id: str) -> Summary:
    """What the dashboard's credits card shows."""
    book = load_book(team_id)
    if book is None:
        return Summary(0, 0, 0, 0, 0, 0, None, 0, [])
    posted = (book.version, book.balance)
    book.post_due()
    lots = _present_lots(book)
    plan = _current_plan(book, lots)
    next_reset_at, next_reset_amount = _next_reset(book, lots, plan)
    return Summary(
        available=book.available,
        reserved=book.reserved,
        debt=book.debt,
        plan_left=_left(book, "subscription"),
        bundle_left=_left(book, "bundle"),
        used_this_period=_spent_since(book.team_id, plan, *posted) if plan else 0,
        next_reset_at=next_reset_at,
        next_reset_amount=next_reset_amount,
        grants=[_grant(lot) for lot in lots],
        frozen=_frozen(book),
    )


def period_credits_granted(team_id: str, subscription_stripe_id: str) -> int:
    """The credits of the newest period granted for this subscription, 0 when there is none (yet)."""
    query = (
        select(CreditGrant.amount)
        .where(
            CreditGrant.team_id == team_id,
            func.starts_with(CreditGrant.cause_key, f"period:{subscription_stripe_id}:"),
        )
        .order_by(CreditGrant.effective_at.desc(), CreditGrant.id.desc())
        .limit(1)
    )
    return db.session.execute(query).scalar() or 0


def granted_for(team_id: str, cause_key: str) -> int:
    """The credits that were granted for this cause, 0 when there are none (yet)."""
    query = select(CreditGrant.amount).where(CreditGrant.team_id == team_id, CreditGrant.cause_key == cause_key)
    return db.session.execute(query).scalar() or 0


def _present_lots(book: Book) -> list[Lot]:
    """Everything with a rest or a future, and the plan's grant while its period lasts, even if all of it is spent."""
    begun = {row.id: lot_from(row) for row in send(USED_UP, team_id=book.team_id, now=book.now)}
    coming: list[Lot] = []
    for lot in book.lots.values():
        if lot.state == "waiting":
            coming.append(lot)
        elif lot.state == "live" or (lot.state == "used" and _is_current_plan(book, lot)):
            begun[lot.id] = lot
    in_order = sorted(begun.values(), key=SORT_KEYS[book.spend_order])
    return in_order + sorted(coming, key=lambda lot: (lot.effective_at, lot.id))


def _is_current_plan(book: Book, lot: Lot) -> bool:
    ends = lot.expires_at
    present = lot.effective_at <= book.now and ends is not None and ends > book.now
    return lot.kind == "subscription" and present and not lot.cause_key.startswith(UPGRADE)


def _current_plan(book: Book, lots: list[Lot]) -> Lot | None:
    """The plan's grant under way; of several, after a change of plan, the one that began last."""
    plans = [lot for lot in lots if _is_current_plan(book, lot)]
    return max(plans, key=lambda lot: (lot.effective_at, lot.id), default=None)


def current_plan_lot(book: Book) -> Lot | None:
    """The plan's grant whose period is under way, even if all of it is spent. What is due was posted to the book."""
    return _current_plan(book, _present_lots(book))


def _next_reset(book: Book, lots: list[Lot], plan: Lot | None) -> tuple[datetime | None, int]:
    """When plan credits come next and how many: a grant that waits already says so, else what is paid for then.

    A paused plan gives nothing until it goes on, and one that has ended by then never: the free plan's follow it.
    """
    at, waiting = _next_lot(book, lots) or (plan.expires_at if plan else None, None)
    subscription = live_subscription(book.team_id)
    if subscription is not None and subscription.status == "paused":
        return None, 0
    ends = subscription.cancel_at if subscription else None
    if ends is not None and (at is None or at >= ends):
        return free_credits_after(book.team_id, ends) or (None, 0)
    if at is None:
        return None, 0
    return at, waiting if waiting is not None else _amount_at(subscription, at, plan.amount if plan else 0)


def _next_lot(book: Book, lots: list[Lot]) -> tuple[datetime, int] | None:
    for lot in lots:
        if lot.kind == "subscription" and lot.effective_at > book.now and not lot.cause_key.startswith(UPGRADE):
            return lot.effective_at, lot.amount
    return None


def _amount_at(subscription: Subscription | None, moment: datetime, present: int) -> int:
    """Within what is paid for, and on the free plan, the present amount comes again; after it, the plan's of then."""
    if subscription is None or subscription.current_period_end is None:
        return present
    if moment < subscription.current_period_end:
        return present + more_in_month(subscription.stripe_id, moment)
    changes = subscription.scheduled_at is not None and subscription.scheduled_at <= moment
    plan = plan_by_key((subscription.scheduled_plan_key if changes else subscription.plan_key) or "")
    return present if plan is None or plan.credits_monthly is None else plan.credits_monthly


def _left(book: Book, kind: str) -> int:
    return sum(lot.free for lot in book.lots.values() if lot.state == "live" and lot.kind == kind)


def _frozen(book: Book) -> int:
    return sum(lot.frozen for lot in book.lots.values())


def _spent_since(team_id: str, plan: Lot, version: int, posted_balance: int) -> int:
    rows = send(SPENT_SINCE, team_id=team_id, cause_key=plan.cause_key, version=version, balance=posted_balance)
    return int(rows[0].spent) if rows else 0


def _grant(lot: Lot) -> Grant:
    return Grant(
        kind=lot.kind,
        source=lot.source,
        amount=lot.amount,
        remaining=lot.remaining,
        effective_at=lot.effective_at,
        expires_at=lot.expires_at,
        live=lot.state != "waiting",
        held=lot.held,
        frozen=lot.frozen,
        cause_key=lot.cause_key,
    )
