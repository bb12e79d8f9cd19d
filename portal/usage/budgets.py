"""Budgets of API keys and members: kept to under the account's lock, told of off the hot path.

A budget is in credits, or in units of a metered meter, for a month of the plan (`periods.py`); a use counts towards the month
in which it happened. What was used is read from the daily totals, so that it costs the same however many uses there were.
Credits that a key has held count towards its budget of credits too, and those held for a member towards the member's: since it
may be settled, what is held now, and what was settled of those held for no meter, which only keys have and which is added up
hold by hold.
`stop` refuses what would go beyond it, whole; `warn` only tells. Since it is whole uses that are refused, a budget may refuse
all there are before it is used up: its first refusal in a month leaves a mark, and the look that tells of thresholds tells of
that too, once, beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from portal.billing.billing_mail import tell
from portal.core.addresses import own_address
from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits.told import mark_told, newly_reached
from portal.notifications import messages
from portal.usage.uses import BudgetExceeded, Use

# Of a budget `b`, in a `month`.
_SPENT = (
    " cross join lateral ("
    "   select cast(coalesce(sum(case when b.meter is null then d.cost else d.quantity end), 0) as bigint) as units"
    "   from usage_daily d where d.team_id = b.team_id and d.starts_at >= month.starts and d.starts_at < month.ends"
    "   and d.meter = coalesce(b.meter, d.meter)"
    "   and (b.api_key_id is null or d.api_key_id = b.api_key_id) and (b.user_id is null or d.user_id = b.user_id)"
    " ) recorded"
    " cross join lateral ("
    "   select cast(coalesce(sum(h.settled), 0) as bigint) as units from credit_holds h"
    "   where h.api_key_id = b.api_key_id and h.meter is null and b.meter is null"
    "   and h.closed_at >= month.starts and h.closed_at < month.ends"
    " ) settled"
)
# What its key has held now, whatever for, or what is held for its member: credits.
_HELD = (
    "(select cast(coalesce(sum(h.amount), 0) as bigint) from credit_holds h where h.team_id = b.team_id and b.meter is null"
    " and h.state = 'open' and h.expires_at > app_now() and (h.api_key_id = b.api_key_id or h.user_id = b.user_id))"
)
# What a budget of that month is told under, and whether it has refused a use in it.
_FACT = "'budget:' || b.id || ':' || b.credits || ':' || cast(floor(extract(epoch from month.starts)) as bigint)"
_REFUSED = (
    f"exists (select from threshold_notices t where t.team_id = b.team_id and t.fact = {_FACT} || ':' || 'refused')"
)
_USED = f" cross join lateral usage_month_of(b.team_id, app_now()) month{_SPENT}"
# Moments mostly lie in one month: sums are made for each month, not for each moment.
STOPPING = Statement(
    "with moments as materialized ("  # noqa: S608  all of it is ours
    "  select asked.at, month.starts, month.ends from unnest(cast(:moments as timestamptz[])) as asked (at)"
    "  cross join lateral usage_month_of(:team_id, asked.at) month"
    "), stopping as materialized ("
    "  select b.api_key_id, b.user_id, b.meter, b.credits as most, month.starts, recorded.units + settled.units + case"
    f"    when app_now() >= month.starts and app_now() < month.ends then {_HELD} else 0 end as used,"
    f"    case when {_REFUSED} then '' else {_FACT} end as unmarked"
    f"  from usage_budgets b cross join (select distinct starts, ends from moments) month{_SPENT}"
    "  where b.team_id = :team_id and b.action = 'stop'"
    "  and (b.api_key_id = any(cast(:keys as text[])) or b.user_id = any(cast(:users as text[])))"
    ")"
    " select moments.at, stopping.* from stopping join moments using (starts)"
)
OF_TEAM = Statement(
    "select b.id, b.api_key_id, b.user_id, b.meter, b.credits as most, b.action,"  # noqa: S608  all of it is ours
    f" {_FACT} as fact, {_REFUSED} as refused,"
    f" recorded.units + settled.units as used, {_HELD} as held,"
    " coalesce(k.name, nullif(u.name, ''), u.email) as subject_name, k.last4, coalesce(m.name, b.meter) as meter_name"
    " from usage_budgets b left join api_keys k on k.id = b.api_key_id left join users u on u.id = b.user_id"
    " left join meters m on m.key = b.meter"
    f"{_USED} where b.team_id = :team_id order by b.api_key_id is null, subject_name, m.position nulls first, b.id"
)
WITH_BUDGETS = Statement("select distinct team_id from usage_budgets order by team_id")


# A key or a member, the meter whose units are counted (none: credits), and when the month began.
Place = tuple[str, str, str | None, datetime]


@dataclass
class StoppingBudgets:
    """What is left of the budgets that stop these uses, while the account's lock is held."""

    months: dict[datetime, datetime] = field(default_factory=dict)
    left: dict[Place, int] = field(default_factory=dict)
    limits: dict[Place, int] = field(default_factory=dict)
    unmarked: dict[Place, str] = field(default_factory=dict)

    def refusal(self, use: Use, takes: int, at: datetime, meter: str | None = None) -> BudgetExceeded | None:
        """Why a use of that moment must not be recorded; None when it may be.

        `takes` is what it takes of a budget: credits, or units of its `meter`.
        """
        for place in self._places(use, at, meter):
            if takes > self.left[place]:
                used = self.limits[place] - self.left[place]
                return BudgetExceeded(place[0], self.limits[place], used, takes, self.unmarked[place], meter)
        return None

    @contextmanager
    def taken(self, use: Use, takes: int, at: datetime, meter: str | None = None) -> Iterator[None]:
        """Take a use within this block: it is counted if that succeeds. Raises `BudgetExceeded` before, if it must not be."""
        refusal = self.refusal(use, takes, at, meter)
        if refusal is not None:
            raise refusal
        yield
        for place in self._places(use, at, meter):
            self.left[place] -= takes

    def _places(self, use: Use, at: datetime, meter: str | None) -> list[Place]:
        month = self.months.get(at)
        subjects = [("api_key", use.api_key_id), ("member", use.user_id)]
        places = [(kind, subject, meter, month) for kind, subject in subjects if subject and month]
        return [place for place in places if place in self.left]


def stopping_budgets(team_id: str, uses: Iterable[tuple[Use, datetime]]) -> StoppingBudgets:
    """The budgets that may stop these uses of these moments, in one round trip.

    With the account's lock held no two pass together; without it, this is how things stand now.
    """
    asked = list(uses)
    keys = list({use.api_key_id for use, _at in asked if use.api_key_id})
    users = list({use.user_id for use, _at in asked if use.user_id})
    found = StoppingBudgets()
    if not keys and not users:
        return found
    moments = list({at.isoformat() for _use, at in asked})
    for row in send(STOPPING, team_id=team_id, keys=keys, users=users, moments=moments):
        kind, subject = ("api_key", row.api_key_id) if row.api_key_id else ("member", row.user_id)
        place = kind, subject, row.meter, row.starts
        found.months[row.at] = row.starts
        found.limits[place], found.left[place] = row.most, row.most - row.used
        found.unmarked[place] = row.unmarked
    return found


def mark_refused(team_id: str, outcomes: Iterable[object]) -> None:
    """Keep, in the current unit, which budgets have refused one of these, so that they are told of.

    The unit of a refused use leaves nothing behind: call this in another one, or where what is written stays.
    """
    facts = {one.unmarked for one in outcomes if isinstance(one, BudgetExceeded) and one.unmarked}
    mark_told(team_id, [f"{fact}:refused" for fact in sorted(facts)])


@dataclass(frozen=True)
class BudgetRow:
    """A budget with what is used of it this month, and what is held now that counts towards it: units of a meter of this name,
    or credits.

    `refused`: it has stopped a use this month, which may have been larger than what is left. `narrowed` is how an address is
    narrowed to the use that counts towards it.
    """

    id: str
    kind: str
    subject_name: str
    meter_name: str | None
    limit: int
    stops: bool
    used: int
    held: int
    refused: bool
    fact: str
    narrowed: dict[str, str]

    @property
    def left(self) -> int:
        return max(self.limit - self.used - self.held, 0)

    @property
    def units(self) -> str:
        return self.meter_name or "credits"

    @property
    def within(self) -> int:
        return min(self.used, self.limit)


def budgets_of(team_id: str) -> list[BudgetRow]:
    return [_row(row) for row in send(OF_TEAM, team_id=team_id)]


def teams_with_budgets() -> list[str]:
    return [row.team_id for row in send(WITH_BUDGETS)]


def tell_of_budgets(team_id: str) -> int:
    """Tell which budgets have reached a threshold or refused a use before, in the current unit; returns how many."""
    return sum(_tell(team_id, budget) for budget in budgets_of(team_id))


def _tell(team_id: str, budget: BudgetRow) -> int:
    """Where a threshold and a refusal are both new, the refusal alone is told: it has the figures too."""
    refusal = f"{budget.fact}:refused_told"
    stopped_early = budget.refused and budget.used < budget.limit and bool(mark_told(team_id, [refusal]))
    percent = newly_reached(team_id, budget.fact, budget.used, budget.limit)
    if percent is None and not stopped_early:
        return 0
    link = own_address("usage.budgets", team_id=team_id)
    tell(
        team_id,
        refusal if stopped_early else f"{budget.fact}:{percent}",
        lambda to: messages.budget_threshold(
            to,
            percent=percent,
            subject_name=budget.subject_name,
            used=f"{budget.used:,}",
            budget=f"{budget.limit:,}",
            units=budget.units,
            stops=budget.stops,
            stopped_early=stopped_early,
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
        meter_name=row.meter_name,
        limit=row.most,
        stops=row.action == "stop",
        used=row.used,
        held=row.held,
        refused=row.refused and row.action == "stop",
        fact=row.fact,
        narrowed=({"key": row.api_key_id} if row.api_key_id else {"member": row.user_id})
        | ({"meter": row.meter} if row.meter else {}),
    )
