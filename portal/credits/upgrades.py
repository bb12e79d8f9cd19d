"""Credits of an upgrade within a period: what a dearer plan gives more than the one that the period was begun with.

The rule. Every change of plan that was paid within a month adds what its new plan gives for the rest of the month and takes
off what its old plan would have given for it, to the second, as the bill does. The sum of all of them, at least 0 and
rounded down, is what changes of plan come to in that month, however often the plan went up and down: up and down within a
second is nothing. What the month was begun with is never taken back: a cheaper plan acts from the next period on.

That is the policy `difference`. With `full` the whole difference is given however little of the month is left, and with
`none` nothing until the next month begins. Of a paid year the months that are still to come have the whole difference in
any case, since the year was paid for.

What is given is a lot of its own, keyed by the change's invoice and the month, and ends with the month; when the sum falls,
such lots are taken back, the last first. The sum depends on the paid lines alone, so the order of their news, and that of
changes within one second, does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import select

from portal.billing.models import PaidPeriod
from portal.billing.paid_change_models import PaidChange
from portal.billing.paid_changes import changes_of, period_of
from portal.catalog.queries import plan_by_key
from portal.core.database import db, send
from portal.core.statements import Row, Statement
from portal.credits import ledger
from portal.credits.models import CreditGrant
from portal.credits.plan_months import steps
from portal.credits.storage import lock_account

UNDONE = "upgrade_undone:"

# What changes of plan gave in a month, and what of it was taken back because the plan went down again.
LOTS = Statement(
    "select g.cause_key, g.amount, coalesce(r.undone, 0) as undone, coalesce(r.orders, 0) as orders"
    " from credit_grants g left join lateral ("
    "   select cast(sum(amount) as bigint) as undone, count(*) as orders from credit_reversals"
    "   where team_id = g.team_id and grant_id = g.id and starts_with(cause_key, :undone)) r on true"
    " where g.team_id = :team_id and g.cause_key = any(cast(:causes as text[])) order by g.id"
)


@dataclass(frozen=True)
class Rise:
    """By how many credits one paid change moves the sum of a month: above 0 it gives, below 0 it takes back."""

    invoice_stripe_id: str
    plan_key: str
    since: datetime
    credits: int

    def cause_key(self, subscription_stripe_id: str, start: datetime) -> str:
        return f"upgrade:{self.invoice_stripe_id}:{subscription_stripe_id}:{int(start.timestamp())}"


def rises(changes: Iterable[PaidChange], start: datetime, end: datetime) -> list[Rise]:
    """What each change comes to in the month from `start` to `end`; `changes` are in their order."""
    length, total, found = _seconds(start, end), 0, []
    for invoice, lines in groupby(changes, key=lambda change: change.invoice_stripe_id):
        of_invoice = list(lines)
        before, total = total, total + sum(line.credits * _counted(line, start, end) for line in of_invoice)
        newest = max(of_invoice, key=lambda line: (line.credits, line.line))
        found.append(Rise(invoice, newest.plan_key, newest.since, max(total, 0) // length - max(before, 0) // length))
    return found


def _counted(line: PaidChange, start: datetime, end: datetime) -> int:
    """For how many seconds of the month a line counts."""
    since, until = max(line.since, start), min(line.until, end)
    if since >= until:
        return 0
    if line.since > start and line.policy != "difference":
        return 0 if line.policy == "none" else _seconds(start, until)
    return _seconds(since, until)


def _seconds(start: datetime, end: datetime) -> int:
    return int((end - start).total_seconds())


def settle_upgrades(paid: PaidPeriod, now: datetime, ended_at: datetime | None) -> list[str]:
    """Bring the months of a paid period that have begun in line with its changes of plan.

    Returns the invoices whose lots are new. Months that are over are left out, as those that went by in a pause, unless a
    change has become known since they began: what was paid for is found in the ledger.
    """
    changes = _changes_of(paid)
    if not changes:
        return []
    granted: list[str] = []
    for start, end in steps(paid):
        if (ended_at is not None and start >= ended_at) or start > max(now, paid.period_start):
            break
        if end > now or any(change.created_at >= start for change in changes):
            granted += _settle_month(paid, rises(changes, start, end), start, end)
    return granted


def _changes_of(paid: PaidPeriod) -> list[PaidChange]:
    """A trial was not paid for, so that nothing of it can be given back or charged."""
    if paid.kind == "trial":
        return []
    return changes_of(paid)


def _settle_month(paid: PaidPeriod, found: Sequence[Rise], start: datetime, end: datetime) -> list[str]:
    """Grant what is missing of the sum of a month, or take back what is beyond it. The account is locked for that.

    Each change gives its own step of the sum where it can. One that has given already does not give again, so that what
    is still missing after that, as when a plan went up twice within a second, is given by any other.
    """
    lock_account(paid.team_id)
    causes = {rise.invoice_stripe_id: rise.cause_key(paid.subscription_stripe_id, start) for rise in found}
    lots = send(LOTS, team_id=paid.team_id, causes=list(causes.values()), undone=UNDONE)
    given = {row.cause_key for row in lots}
    missing = sum(rise.credits for rise in found) - sum(row.amount - row.undone for row in lots)
    granted = []
    free = [rise for rise in found if causes[rise.invoice_stripe_id] not in given]
    for rise in free:
        if (part := min(rise.credits, missing)) > 0:
            granted.append(rise.invoice_stripe_id)
            missing -= part
            _grant(paid, rise, part, start, end)
    for rise in free:
        if missing > 0 and rise.invoice_stripe_id not in granted:
            granted.append(rise.invoice_stripe_id)
            _grant(paid, rise, missing, start, end)
            missing = 0
    if missing < 0:
        _take_back(paid.team_id, found[-1], lots, -missing)
    return granted


def _grant(paid: PaidPeriod, rise: Rise, amount: int, start: datetime, end: datetime) -> None:
    plan = plan_by_key(rise.plan_key)
    ledger.grant(
        paid.team_id,
        kind="subscription",
        amount=amount,
        cause_key=rise.cause_key(paid.subscription_stripe_id, start),
        source=f"{plan.name if plan else rise.plan_key}, upgrade",
        effective_at=max(rise.since, start),
        expires_at=end,
    )


def _take_back(team_id: str, rise: Rise, lots: Sequence[Row], amount: int) -> None:
    """Order `amount` back from what changes of plan gave, the last first."""
    for row in reversed(lots):
        if (part := min(row.amount - row.undone, amount)) > 0:
            cause = f"{UNDONE}{rise.invoice_stripe_id}:{row.orders + 1}:{row.cause_key}"
            ledger.reverse(team_id, row.cause_key, part, cause)
            amount -= part


def lots_of_change(invoice_stripe_id: str) -> list[tuple[str, int]]:
    """The lots that an invoice gives for a change of plan, of months to come as well: their causes and amounts."""
    query = select(PaidChange).where(PaidChange.invoice_stripe_id == invoice_stripe_id).limit(1)
    change = db.session.execute(query).scalar_one_or_none()
    if change is None:
        return []
    lots = select(CreditGrant.cause_key, CreditGrant.amount).where(
        CreditGrant.team_id == change.team_id, CreditGrant.cause_key.like(f"upgrade:{invoice_stripe_id}:%")
    )
    given = {row.cause_key: row.amount for row in db.session.execute(lots)}
    paid = period_of(change)
    if paid is None:
        return []
    found: list[tuple[str, int]] = []
    changes = _changes_of(paid)
    for start, end in steps(paid):
        for rise in rises(changes, start, end):
            cause = rise.cause_key(paid.subscription_stripe_id, start)
            amount = given.get(cause, rise.credits)
            if rise.invoice_stripe_id == invoice_stripe_id and amount > 0:
                found.append((cause, amount))
    return found


def more_in_month(subscription_stripe_id: str, moment: datetime) -> int:
    """How many credits the changes of plan so far add to the month of a paid year that begins at `moment`."""
    around = (PaidPeriod.period_start <= moment) & (PaidPeriod.period_end > moment)
    query = select(PaidPeriod).where(PaidPeriod.subscription_stripe_id == subscription_stripe_id, around)
    return sum(
        rise.credits
        for paid in db.session.execute(query).scalars()
        for start, end in steps(paid)
        if start == moment
        for rise in rises(_changes_of(paid), start, end)
    )
