"""Budgets of API keys and members: kept to under the account's lock, told of off the hot path.

A budget is in credits, for a month of the plan (`periods.py`). What was used of it is read from the daily totals, so that it
costs the same however much was used. `stop` refuses a use that would go beyond it, whole; `warn` only tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from portal.billing.billing_mail import tell
from portal.core.addresses import own_address
from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits.told import newly_reached
from portal.notifications import messages
from portal.usage.uses import BudgetExceeded, Use

_USED = (
    " cross join lateral usage_month_of(b.team_id, app_now()) month"
    " cross join lateral ("
    "   select cast(coalesce(sum(d.cost), 0) as bigint) as used from usage_daily d"
    "   where d.team_id = b.team_id and d.starts_at >= month.starts and d.starts_at < month.ends"
    "   and (b.api_key_id is null or d.api_key_id = b.api_key_id) and (b.user_id is null or d.user_id = b.user_id)"
    " ) spent"
)
STOPPING = Statement(
    "select b.api_key_id, b.user_id, b.credits, spent.used from usage_budgets b"  # noqa: S608  all of it is ours
    f"{_USED} where b.team_id = :team_id and b.action = 'stop'"
    " and (b.api_key_id = any(cast(:keys as text[])) or b.user_id = any(cast(:users as text[])))"
)
OF_TEAM = Statement(
    "select b.id, b.api_key_id, b.user_id, b.credits, b.action, month.starts, spent.used,"  # noqa: S608  all of it is ours
    " coalesce(k.name, nullif(u.name, ''), u.email) as subject_name, k.last4"
    " from usage_budgets b left join api_keys k on k.id = b.api_key_id left join users u on u.id = b.user_id"
    f"{_USED} where b.team_id = :team_id order by b.api_key_id is null, subject_name, b.id"
)
WITH_BUDGETS = Statement("select distinct team_id from usage_budgets order by team_id")


@dataclass
class StoppingBudgets:
    """What is left of the budgets that stop these uses, while the account's lock is held."""

    left: dict[tuple[str, str], int] = field(default_factory=dict)
    credits: dict[tuple[str, str], int] = field(default_factory=dict)

    @contextmanager
    def taken(self, use: Use, cost: int) -> Iterator[None]:
        """Pay a use within this block: it is counted if that succeeds. Raises `BudgetExceeded` before, if it must not be."""
        mine = [subject for subject in _subjects(use) if subject in self.left]
        for subject in mine:
            if cost > self.left[subject]:
                used = self.credits[subject] - self.left[subject]
                raise BudgetExceeded(subject[0], self.credits[subject], used, cost)
        yield
        for subject in mine:
            self.left[subject] -= cost


def stopping_budgets(team_id: str, uses: Sequence[Use]) -> StoppingBudgets:
    """The budgets that may stop these uses: one round trip, with the account's lock held, so that no two pass together."""
    keys = list({use.api_key_id for use in uses if use.api_key_id})
    users = list({use.user_id for use in uses if use.user_id})
    found = StoppingBudgets()
    for row in send(STOPPING, team_id=team_id, keys=keys, users=users) if keys or users else []:
        subject = ("api_key", row.api_key_id) if row.api_key_id else ("member", row.user_id)
        found.credits[subject], found.left[subject] = row.credits, row.credits - row.used
    return found


@dataclass(frozen=True)
class BudgetRow:
    """A budget with what is used of it this month, in credits."""

    id: str
    kind: str
    subject_name: str
    credits: int
    stops: bool
    used: int
    fact: str

    @property
    def left(self) -> int:
        return max(self.credits - self.used, 0)

    @property
    def within(self) -> int:
        return min(self.used, self.credits)


def budgets_of(team_id: str) -> list[BudgetRow]:
    return [_row(row) for row in send(OF_TEAM, team_id=team_id)]


def teams_with_budgets() -> list[str]:
    return [row.team_id for row in send(WITH_BUDGETS)]


def tell_of_budgets(team_id: str) -> int:
    """Tell which budgets have reached a threshold, in the current unit; returns how many."""
    return sum(_tell(team_id, budget) for budget in budgets_of(team_id))


def _tell(team_id: str, budget: BudgetRow) -> int:
    percent = newly_reached(team_id, budget.fact, budget.used, budget.credits)
    if percent is None:
        return 0
    link = own_address("usage.budgets", team_id=team_id)
    tell(
        team_id,
        f"{budget.fact}:{percent}",
        lambda to: messages.budget_threshold(
            to,
            percent=percent,
            subject_name=budget.subject_name,
            used=f"{budget.used:,}",
            budget=f"{budget.credits:,}",
            stops=budget.stops,
            link=link,
        ),
    )
    return 1


def _row(row: Row) -> BudgetRow:
    of_key = row.api_key_id is not None
    return BudgetRow(
        id=row.id,
        kind="API key" if of_key else "Member",
        subject_name=f"{row.subject_name} …{row.last4}" if of_key else row.subject_name,
        credits=row.credits,
        stops=row.action == "stop",
        used=row.used,
        fact=f"budget:{row.id}:{row.credits}:{int(row.starts.timestamp())}",
    )


def _subjects(use: Use) -> list[tuple[str, str]]:
    found = [("api_key", use.api_key_id), ("member", use.user_id)]
    return [(kind, subject) for kind, subject in found if subject]
