"""The view model of the usage page: figures of a time, from daily totals alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from portal.billing.entitlements import MeterRight, effective
from portal.core.charts import Chart
from portal.core.estimates import SAMPLE_DAYS, last_full_days
from portal.usage.chosen_period import UsagePeriod
from portal.usage.figures import EVERYTHING, NOTHING, Figure, Narrowed, by_api_key, by_day, by_member, by_meter
from portal.usage.forecast import Forecast, forecast
from portal.usage.names import MeterName, api_key_names, member_names, meter_names
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
    """An API key's or a member's use; `id` is None for the line of all further ones."""

    id: str | None
    name: str
    figure: Figure
    share: Decimal


@dataclass(frozen=True)
class IncludedRow:
    """A metered meter against what the plan includes of it, in units. `over` is charged on top, or refused."""

    meter: MeterName
    quantity: int
    included: int
    more_allowed: bool
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
    """`included` is filled only for a month of the plan, which is what the plan's figures are for."""

    period: UsagePeriod
    narrowed: Narrowed
    total: Figure
    credits: Chart | None
    units: list[Chart]
    meters: list[MeterRow]
    api_keys: list[NamedRow]
    members: list[NamedRow]
    included: list[IncludedRow]
    ahead: Forecast | None

    @property
    def empty(self) -> bool:
        return not self.total.events


def build(team_id: str, period: UsagePeriod, narrowed: Narrowed = EVERYTHING) -> UsagePage:
    days = by_day(team_id, period.since, period.until, narrowed)
    used = by_meter(days)
    names = meter_names(used)
    shown = [meter for meter in names.values() if narrowed.meter in (None, meter.key)]
    total = sum(used.values(), NOTHING)
    ahead = _cost_ahead(team_id, period, narrowed, total.cost)
    paid = [meter for meter in shown if not meter.metered]
    counted = [meter for meter in shown if meter.metered]
    included = [] if narrowed.api_key_id or narrowed.user_id else _included(team_id, period, names, used, counted)
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
        api_keys=_named(by_api_key(team_id, period.since, period.until, narrowed), total.cost, team_id),
        members=_named(by_member(team_id, period.since, period.until, narrowed), total.cost),
        included=included,
        ahead=ahead,
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


def _included(
    team_id: str,
    period: UsagePeriod,
    names: Mapping[str, MeterName],
    used: Mapping[str, Figure],
    counted: list[MeterName],
) -> list[IncludedRow]:
    if period.choice not in ("this", "last"):
        return []
    keys = {meter.key for meter in counted}
    rights = [right for right in effective(team_id).meters if right.mode == "metered" and right.key in keys]
    return [_included_row(team_id, period, names[right.key], right, used.get(right.key, NOTHING)) for right in rights]


def _included_row(team_id: str, period: UsagePeriod, meter: MeterName, right: MeterRight, used: Figure) -> IncludedRow:
    ahead = None
    if period.under_way:
        days = lately(team_id, period, Narrowed(meter=meter.key))
        sample = last_full_days({day: figure.quantity for (day, _meter), figure in days.items()}, period.now)
        ahead = forecast(sample, used.quantity, period.now, period.until) if any(sample) else None
    return IncludedRow(meter, used.quantity, right.included or 0, right.more_allowed, ahead)


def _row_ahead(included: list[IncludedRow], meter: MeterName) -> Forecast | None:
    return next((row.ahead for row in included if row.meter.key == meter.key), None)


def _of(days: Days, meters: list[MeterName]) -> Days:
    keys = {meter.key for meter in meters}
    return {place: figure for place, figure in days.items() if place[1] in keys}


def _meter_row(meter: MeterName, figure: Figure, cost: int) -> MeterRow:
    each = Decimal(figure.cost) / figure.events if figure.events and not meter.metered else None
    return MeterRow(meter, figure, each and each.quantize(Decimal("0.01"), ROUND_HALF_UP), _share(figure.cost, cost))


def _named(found: Mapping[str, Figure], cost: int, team_id: str | None = None) -> list[NamedRow]:
    """The first rows with their names, and one line for the others."""
    first, others = list(found.items())[:ROWS_MAX], list(found.items())[ROWS_MAX:]
    ids = [row_id for row_id, _figure in first]
    names = api_key_names(team_id, ids) if team_id is not None else member_names(ids)
    rows = [NamedRow(row_id, names[row_id], figure, _share(figure.cost, cost)) for row_id, figure in first]
    if others:
        rest = sum((figure for _id, figure in others), NOTHING)
        rows.append(NamedRow(None, f"{len(others):,} more", rest, _share(rest.cost, cost)))
    return rows


def _share(part: int, whole: int) -> Decimal:
    return (Decimal(100) * part / whole).quantize(Decimal("0.1"), ROUND_HALF_UP) if whole else Decimal(0)
