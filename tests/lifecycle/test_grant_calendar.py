"""400 days of several customers at once: every grant of the portal against a calendar that is worked out here.

`Calendar` knows nothing of the portal: months counted from an anchor, what a plan gives, what an upgrade adds, and when a
free month stands in. The customers begin in the last days of a January before a leap day, so that their months end on the
29th, 30th and 31st, and live by one clock, which goes from one instant at which something is due to the next.
"""

from __future__ import annotations

import os
from calendar import isleap, monthrange
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from portal.accounts.models import Team
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits.models import CreditGrant
from tests.cast import Person
from tests.plan_changes import now
from tests.purchases import make_buyer, violations
from tests.stage import Stage

DAYS = 400
CREDITS = {"free": 100, "starter": 1_000, "pro": 5_000, "business": 20_000}
TRIAL = {"starter": timedelta(days=14), "pro": timedelta(days=14), "business": timedelta()}
SOON = timedelta(minutes=2)

Lot = tuple[str, datetime, datetime, int]


def months_after(anchor: datetime, count: int) -> datetime:
    """The anchor's day of another month, or that month's last day where it has no such day."""
    years, month = divmod(anchor.month - 1 + count, 12)
    last = monthrange(anchor.year + years, month + 1)[1]
    return anchor.replace(year=anchor.year + years, month=month + 1, day=min(anchor.day, last))


@dataclass
class Calendar:
    """What a team must have been granted: kind, start, end and amount of each lot."""

    born: datetime
    plan: str
    interval: str
    start: datetime
    # Instants at which the plan becomes another one, those that are dearer at once, the others when the period ends.
    changes: list[tuple[datetime, str]] = field(default_factory=list)
    canceled_at: datetime | None = None
    # When months became years; the month that runs then keeps its credits beside those of the year.
    yearly_from: datetime | None = None

    @property
    def anchor(self) -> datetime:
        return self.start + TRIAL[self.plan]

    def periods(self, until: datetime) -> list[tuple[datetime, datetime]]:
        """The periods that are paid for, as long as the plan lives."""
        found = self._periods_from(self.anchor, 12 if self.interval == "year" else 1, until)
        if self.yearly_from is None:
            return found
        months = [period for period in found if period[0] < self.yearly_from]
        return months + self._periods_from(self.yearly_from, 12, until)

    def _periods_from(self, anchor: datetime, step: int, until: datetime) -> list[tuple[datetime, datetime]]:
        found, count = [], 0
        while (begins := months_after(anchor, count * step)) <= until:
            if self.canceled_at is not None and begins >= self.canceled_at:
                break
            found.append((begins, months_after(anchor, (count + 1) * step)))
            count += 1
        return found

    def ends(self, until: datetime) -> datetime | None:
        """When a plan that is canceled ends: with the period in which that was done."""
        if self.canceled_at is None:
            return None
        return next((end for start, end in self.periods(until) if start <= self.canceled_at < end), self.anchor)

    def lots(self, until: datetime) -> list[Lot]:
        return sorted(self._of_trial() + self._of_plan(until) + self._of_upgrades(until) + self._of_free_plan(until))

    def boundaries(self, until: datetime) -> list[datetime]:
        starts = [start for _kind, start, _end, _amount in self.lots(until + timedelta(days=40))]
        ends = self.ends(until)
        return starts + ([ends] if ends else [])

    def _of_trial(self) -> list[Lot]:
        return [("trial", self.start, self.anchor, CREDITS[self.plan])] if self.anchor > self.start else []

    def _months(self, period: tuple[datetime, datetime], until: datetime) -> list[tuple[datetime, datetime]]:
        start, end = period
        if end - start < timedelta(days=40):
            return [period]
        months = [(months_after(start, k), min(months_after(start, k + 1), end)) for k in range(12)]
        return [month for month in months if month[0] <= until]

    def _plan_at(self, moment: datetime) -> str:
        """The plan of a period that begins then: of changes within a period the last one says it."""
        return next((plan for at, plan in reversed(self.changes) if at < moment), self.plan)

    def _of_plan(self, until: datetime) -> list[Lot]:
        return [
            ("plan", start, end, CREDITS[self._plan_at(period[0])])
            for period in self.periods(until)
            for start, end in self._months(period, until)
        ]

    def _of_upgrades(self, until: datetime) -> list[Lot]:
        """A dearer plan adds its difference to the rest of the month, and to the months of a paid year that follow. What all
        of them come to in a month is rounded down, and not each for itself.
        """
        found: list[Lot] = []
        for period in self.periods(until):
            turn = self.yearly_from
            last = turn if turn and period[0] < turn < period[1] else period[1]
            for start, end in self._months(period, until):
                plan, total = self._plan_at(period[0]), 0
                for at, dearer in self.changes:
                    more = CREDITS[dearer] - CREDITS[plan]
                    if period[0] <= at < min(end, last) and more > 0:
                        begins = max(at, start)
                        rest, whole = (int((end - since).total_seconds()) for since in (begins, start))
                        found.append(("upgrade", begins, end, (total + more * rest) // whole - total // whole))
                        plan, total = dearer, total + more * rest
        return found

    def _of_free_plan(self, until: datetime) -> list[Lot]:
        """The month of the birth, which the plan ends; after the plan, the month that runs unless it was had, and more."""
        ended, count, found = self.ends(until), 0, []
        while (begins := months_after(self.born, count)) <= until:
            ends = months_after(self.born, count + 1)
            if count == 0 or (ended is not None and ends > ended):
                found.append(("free", begins, ends, CREDITS["free"]))
            count += 1
        return found


@dataclass
class Customer:
    """A team and what it does: `acts` are days after its beginning and what happens then."""

    name: str
    day: int
    plan: str
    interval: str = "month"
    acts: tuple[tuple[float, str], ...] = ()
    zone: str = "UTC"
    person: Person = field(init=False)
    team_id: str = field(init=False)
    calendar: Calendar = field(init=False)
    subscription: str = field(init=False)


# In `make test` a few that have everything once; with `GRANT_CALENDAR=all` every anchor and both rhythms.
FEW = [
    Customer("some months from the 31st", 31, "business", acts=((100.5, "cancel"),), zone="America/New_York"),
    Customer("a year from the 30th, upgraded", 30, "pro", "year", ((75.25, "business"),)),
    Customer(
        "a trial from the 29th, up, down and away", 29, "starter",
        acts=((24.5, "pro"), (60.1, "business"), (100.7, "starter"), (200.3, "cancel")), zone="Europe/Berlin",
    ),
    Customer(
        "up, on to a year and up again within a month", 30, "starter",
        acts=((20.5, "pro"), (23.25, "year"), (25.1, "business")),
    ),
]  # fmt: skip
MORE = [
    Customer("a month from the 31st", 31, "business"),
    Customer("a month from the 29th", 29, "business", zone="Australia/Lord_Howe"),
    Customer("a month from the 30th, away on a leap day", 30, "business", acts=((29.98, "cancel"),)),
    Customer("a year from the 29th", 29, "business", "year"),
    Customer("a year from the 31st, away", 31, "business", "year", ((120.0, "cancel"),)),
    Customer("a trial of a month from the 31st, away within it", 31, "pro", acts=((3.0, "cancel"),)),
    Customer("up twice in a month", 30, "starter", acts=((20.0, "pro"), (25.0, "business"))),
    Customer("a year of a trial from the 31st, upgraded twice", 31, "starter", "year", ((40.0, "pro"), (41.0, "business"))),
]  # fmt: skip
ALL = os.environ.get("GRANT_CALENDAR") == "all"


@dataclass
class Town:
    """All customers, and what is due when."""

    stage: Stage
    customers: list[Customer]
    due: list[tuple[datetime, Callable[[], None]]] = field(default_factory=list)
    seen: datetime = datetime(2000, 1, 1, tzinfo=UTC)

    def begin(self, customer: Customer) -> None:
        customer.person, customer.team_id = make_buyer(self.stage.app, customer.name)
        with unit_of_work() as session:
            session.execute(
                text("update teams set time_zone = :zone where id = :id"),
                {"zone": customer.zone, "id": customer.team_id},
            )
        self.stage.drain()
        self.pass_to(now() + timedelta(minutes=16))  # until the rare look for teams that were never looked at
        self.stage.subscribe(customer.person, customer.team_id, customer.plan, customer.interval)
        self.stage.deliver_all()
        customer.subscription, started = self._subscription_of(customer)
        born = db.session.execute(select(Team.created_at).where(Team.id == customer.team_id)).scalar_one()
        db.session.remove()
        customer.calendar = Calendar(born, customer.plan, customer.interval, started)
        for days, what in customer.acts:
            self.due.append((started + timedelta(days=days), lambda what=what: self.act(customer, what)))  # type: ignore[misc]

    def _subscription_of(self, customer: Customer) -> tuple[str, datetime]:
        query = text("select stripe_id, started_at from subscriptions where team_id = :team")
        row = db.session.execute(query, {"team": customer.team_id}).one()
        db.session.remove()
        return row.stripe_id, row.started_at

    def act(self, customer: Customer, what: str) -> None:
        """What the seller or the customer does at Stripe."""
        moment = now().replace(microsecond=0)
        live = self.stage.stripe("GET", f"/v1/subscriptions/{customer.subscription}")
        address = f"/v1/subscriptions/{customer.subscription}"
        if what == "cancel":
            # The items of a meter end with each month, and `cancel_at_period_end` means the first end of all.
            ends = max(item["current_period_end"] for item in live["items"]["data"])
            self.stage.stripe("POST", address, cancel_at=str(ends))
            customer.calendar.canceled_at = moment
            return
        before = customer.calendar.changes[-1:]
        plan = before[0][1] if before else customer.plan
        interval = "year" if customer.calendar.yearly_from else customer.interval
        if what == "year":
            items = self._item(live, self._price(plan, "year"))
            turned = self.stage.stripe("POST", address, **items, proration_behavior="always_invoice")
            begins = turned["items"]["data"][0]["current_period_start"]
            customer.calendar.yearly_from = datetime.fromtimestamp(begins, UTC)
            return
        customer.calendar.changes.append((moment, what))
        price = self._price(what, interval)
        if CREDITS[what] > CREDITS[plan]:
            more = {"proration_behavior": "always_invoice", "proration_date": str(int(moment.timestamp()))}
            self.stage.stripe("POST", address, **self._item(live, price), **more)
        else:
            self._plan_for_later(live, price)

    def _price(self, plan: str, interval: str) -> str:
        key = f"turnpike_plan_{plan}_{interval}"
        return str(self.stage.stripe("GET", "/v1/prices", **{"lookup_keys[]": key})["data"][0]["id"])

    def _item(self, live: dict[str, Any], price: str) -> dict[str, str]:
        return {"items[0][id]": live["items"]["data"][0]["id"], "items[0][price]": price}

    def _plan_for_later(self, live: dict[str, object], price: str) -> None:
        schedule = self.stage.stripe("POST", "/v1/subscription_schedules", from_subscription=live["id"])
        first = schedule["phases"][0]
        sent = {f"phases[0][{name}]": first[name] for name in ("start_date", "end_date")}
        sent |= {f"phases[0][items][0][{name}]": first["items"][0][name] for name in ("price", "quantity")}
        sent |= {"phases[1][items][0][price]": price, "phases[1][duration][interval]": "month"}
        self.stage.stripe("POST", f"/v1/subscription_schedules/{schedule['id']}", end_behavior="release", **sent)

    def pass_to(self, moment: datetime) -> None:
        if moment > now():
            self.stage.advance(moment - now() + timedelta(seconds=1))
        self.stage.deliver_all()
        self.stage.drain()

    def live(self, until: datetime) -> None:
        """From one instant at which something is due to the next, however many customers that concerns."""
        while True:
            begun = [customer for customer in self.customers if hasattr(customer, "calendar")]
            boundaries = [at + SOON for customer in begun for at in customer.calendar.boundaries(until)]
            coming = [at for at in (*boundaries, *(at for at, _ in self.due)) if self.seen < at <= until]
            if not coming:
                break
            self.seen = min(coming)
            self.pass_to(self.seen)
            for at, act in [each for each in self.due if each[0] <= self.seen]:
                self.due.remove((at, act))
                act()
                self.stage.deliver_all()
        self.pass_to(until)


def next_leap_january(after: datetime) -> datetime:
    year = after.year
    while not isleap(year) or datetime(year, 1, 29, 9, 30, tzinfo=UTC) <= after + timedelta(days=1):
        year += 1
    return datetime(year, 1, 29, 9, 30, tzinfo=UTC)


def granted(team_id: str) -> list[Lot]:
    """Every lot there ever was, each by what its cause says it is."""
    query = select(CreditGrant).where(CreditGrant.team_id == team_id)
    found = []
    for lot in db.session.execute(query).scalars():
        what, whose, kind = lot.cause_key.split(":")[:3]
        assert lot.expires_at is not None
        name = "upgrade" if what == "upgrade" else "free" if whose == "free" else kind
        found.append((name, lot.effective_at.astimezone(UTC), lot.expires_at.astimezone(UTC), lot.amount))
    db.session.remove()
    return sorted(found)


@pytest.mark.lifecycle
def test_the_grants_of_400_days_are_those_of_the_calendar(stage: Stage) -> None:
    town = Town(stage, FEW + (MORE if ALL else []))
    first = next_leap_january(now())
    for day in sorted({customer.day for customer in town.customers}):
        begins = first.replace(day=day)
        town.live(begins)
        for customer in town.customers:
            if customer.day == day:
                town.begin(customer)
    until = first + timedelta(days=DAYS)
    town.live(until)
    for customer in town.customers:
        expected = [lot for lot in customer.calendar.lots(until) if lot[1] <= until]
        assert granted(customer.team_id) == expected, customer.name
    assert violations() == []
    assert town.due == []
