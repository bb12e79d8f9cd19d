"""The view model of the usage page: figures of a time, from daily totals, and beside them what settled holds have taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from portal.core.charts import Chart
from portal.core.estimates import SAMPLE_DAYS, last_full_days
from portal.usage.chosen_period import UsagePeriod
from portal.usage.figures import (
    EVERYTHING,
    NOTHING,
    ByMeter,
    Figure,
    Narrowed,
    by_api_key,
    by_day,
    by_member,
    by_meter,
    whole_of,
)
from portal.usage.forecast import Forecast, forecast
from portal.usage.included import Included, included_in
from portal.usage.names import MeterName, api_key_names, member_names, meter_names
from portal.usage.overage import Overage, overages
from portal.usage.settled import Settled
from portal.usage.settled_holds import SettledHolds, settled_holds
from portal.usage.usage_charts import Days, credits_chart, quantity_chart

ROWS_MAX = 10


@dataclass(frozen=True)
class MeterRow:
    """A meter with its use. `each` is the mean cost of a call, None without calls; `share` of all credits, in tenths."""

    meter: MeterName
    figure: Figure
    each: Decimal | None
    share: Decimal


@dataclass(frozen=True)
class NamedRow:
    """An API key's or a member's use, and the `units` of it by meter; `id` is None for the line of all further ones."""

    id: str | None
    name: str
    figure: Figure
    share: Decimal
    units: list[tuple[MeterName, int]]


@dataclass(frozen=True)
class IncludedRow:
    """A metered meter against what the plan includes of it, in units. `over` is charged on top, or refused.

    `quantity` is what counts: without what was `settled` before, when the plan was changed.
    """

    meter: MeterName
    quantity: int
    included: int
    more_allowed: bool
    settled: Settled
    ahead: Forecast | None

    @property
    def within(self) -> int:
        return min(self.quantity, self.included)

    @property
    def over(self) -> int:
        return max(self.quantity - self.included, 0)

    @property
    def left(self) -> int:
        return max(self.included - self.quantity, 0)


@dataclass(frozen=True)
class UsagePage:
    """`included` is filled only for a month of the plan, which is what the plan's figures are for; `overages` only for the
    one under way.
    """

    period: UsagePeriod
    narrowed: Narrowed
    total: Figure
    credits: Chart | None
    units: list[Chart]
    meters: list[MeterRow]
    api_keys: list[NamedRow]
    members: list[NamedRow]
    included: list[IncludedRow]
    overages: list[Overage]
    ahead: Forecast | None
    holds: SettledHolds

    @property
    def empty(self) -> bool:
        return not self.total.events and not self.holds.holds

    @property
    def spent(self) -> int:
        """All credits that were used."""
        return self.total.cost + self.holds.credits


def build(team_id: str, period: UsagePeriod, narrowed: Narrowed = EVERYTHING) -> UsagePage:
    days = by_day(team_id, period.since, period.until, narrowed)
    used = by_meter(days)
    names = meter_names(used)
    shown = [meter for meter in names.values() if narrowed.meter in (None, meter.key)]
    total = sum(used.values(), NOTHING)
    ahead = _cost_ahead(team_id, period, narrowed, total.cost)
    paid = [meter for meter in shown if not meter.metered]
    counted = [meter for meter in shown if meter.metered]
    sold = overages(team_id) if period.under_way and narrowed.of_team else []
    included = _included(team_id, period, used, counted, sold) if narrowed.of_team else []
    return UsagePage(
        period=period,
        narrowed=narrowed,
        total=total,
        credits=credits_chart(period, _of(days, paid), paid, ahead) if paid else None,
        units=[
            quantity_chart(period, _of(days, [meter]), meter, _row_ahead(included, meter))
            for meter in counted
            if used.get(meter.key, NOTHING).quantity
        ],
        meters=[_meter_row(meter, used.get(meter.key, NOTHING), total.cost) for meter in shown],
        api_keys=_named(by_api_key(team_id, period.since, period.until, narrowed), shown, total.cost, team_id),
        members=_named(by_member(team_id, period.since, period.until, narrowed), shown, total.cost),
        included=included,
        overages=[] if narrowed.any else sold,
        ahead=ahead,
        holds=settled_holds(team_id, period.since, period.until, narrowed),
    )


def lately(team_id: str, period: UsagePeriod, narrowed: Narrowed) -> Days:
    """The days that an estimate is made of, which may lie before the period."""
    today = period.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return by_day(team_id, today - timedelta(days=SAMPLE_DAYS), today, narrowed)


def _cost_ahead(team_id: str, period: UsagePeriod, narrowed: Narrowed, used: int) -> Forecast | None:
    if not period.under_way:
        return None
    by_date: dict[date, int] = {}
    for (day, _meter), figure in lately(team_id, period, narrowed).items():
        by_date[day] = by_date.get(day, 0) + figure.cost
    sample = last_full_days(by_date, period.now)
    return forecast(sample, used, period.now, period.until) if any(sample) else None


def included_rows(team_id: str, period: UsagePeriod, narrowed: Narrowed, days: Days) -> list[IncludedRow]:
    """Of the meter that is narrowed to, what counts against what the plan includes."""
    if narrowed.meter is None or not narrowed.of_team:
        return []
    used = by_meter(days)
    counted = [meter for meter in meter_names(used).values() if meter.metered and meter.key == narrowed.meter]
    return _included(team_id, period, used, counted, overages(team_id) if period.under_way else [])


def _included(
    team_id: str, period: UsagePeriod, used: Mapping[str, Figure], counted: list[MeterName], sold: list[Overage]
) -> list[IncludedRow]:
    quantities = {meter: figure.quantity for meter, figure in used.items()}
    found = included_in(team_id, period, quantities, sold) if counted else {}
    return [_included_row(team_id, period, meter, found[meter.key]) for meter in counted if meter.key in found]


def _included_row(team_id: str, period: UsagePeriod, meter: MeterName, found: Included) -> IncludedRow:
    ahead = found.ahead
    if period.under_way and ahead is None:
        days = lately(team_id, period, Narrowed(meter=meter.key))
        sample = last_full_days({day: figure.quantity for (day, _meter), figure in days.items()}, period.now)
        ahead = forecast(sample, found.counted, period.now, period.until) if any(sample) else None
    return IncludedRow(meter, found.counted, found.included, found.more_allowed, found.settled, ahead)


def _row_ahead(included: list[IncludedRow], meter: MeterName) -> Forecast | None:
    return next((row.ahead for row in included if row.meter.key == meter.key), None)


def _of(days: Days, meters: list[MeterName]) -> Days:
    keys = {meter.key for meter in meters}
    return {place: figure for place, figure in days.items() if place[1] in keys}


def _meter_row(meter: MeterName, figure: Figure, cost: int) -> MeterRow:
    each = Decimal(figure.cost) / figure.events if figure.events and not meter.metered else None
    return MeterRow(meter, figure, each and each.quantize(Decimal("0.01"), ROUND_HALF_UP), _share(figure.cost, cost))


def _named(
    found: Mapping[str, ByMeter], meters: list[MeterName], cost: int, team_id: str | None = None
) -> list[NamedRow]:
    """The first rows with their names, and one line for the others."""
    first, others = list(found.items())[:ROWS_MAX], list(found.items())[ROWS_MAX:]
    ids = [row_id for row_id, _figure in first]
    names = api_key_names(team_id, ids) if team_id is not None else member_names(ids)
    rows = [_named_row(row_id, names[row_id], figures, meters, cost) for row_id, figures in first]
    if others:
        rest: dict[str, Figure] = {}
        for _id, figures in others:
            for meter, figure in figures.items():
                rest[meter] = rest.get(meter, NOTHING) + figure
        rows.append(_named_row(None, f"{len(others):,} more", rest, meters, cost))
    return rows


def _named_row(row_id: str | None, name: str, figures: ByMeter, meters: list[MeterName], cost: int) -> NamedRow:
    whole = whole_of(figures)
    units = [(meter, figures[meter.key].quantity) for meter in meters if meter.key in figures]
    return NamedRow(row_id, name, whole, _share(whole.cost, cost), units)


def _share(part: int, whole: int) -> Decimal:
    return (Decimal(100) * part / whole).quantize(Decimal("0.1"), ROUND_HALF_UP) if whole else Decimal(0)
