"""The charts of the usage page, made of its daily totals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta

from portal.core.charts import AHEAD, OTHER_COLOUR, SERIES_MAX, Chart, Place, Series
from portal.usage.chosen_period import UsagePeriod
from portal.usage.figures import Figure
from portal.usage.forecast import Forecast
from portal.usage.names import MeterName

Days = Mapping[tuple[date, str], Figure]


def credits_chart(period: UsagePeriod, days: Days, meters: Sequence[MeterName], ahead: Forecast | None) -> Chart:
    """Credits by day or month and meter; what is foreseen of the days to come is a series of its own."""
    return _chart("credits", "Credits", period, days, meters, lambda figure: figure.cost, ahead)


def quantity_chart(period: UsagePeriod, days: Days, meter: MeterName, ahead: Forecast | None) -> Chart:
    return _chart(f"units-{meter.key}", meter.name, period, days, [meter], lambda figure: figure.quantity, ahead)


def _chart(
    chart_id: str,
    what: str,
    period: UsagePeriod,
    days: Days,
    meters: Sequence[MeterName],
    value: Callable[[Figure], int],
    ahead: Forecast | None,
) -> Chart:
    sums = _by_place(period, days, value)
    shown = _largest(meters, sums)
    others = len(meters) > len(shown)
    series = [Series(meter.name, str(number)) for number, meter in enumerate(shown, 1)]
    if others:
        series.append(Series("Other", OTHER_COLOUR))
    foreseen = _foreseen(period, ahead)
    if foreseen:
        series.append(Series("Forecast", AHEAD))
    places = [
        Place(label, [*_row(sums.get(first, {}), shown, others=others), *([foreseen.get(first)] if foreseen else [])])
        for first, label in _labels(period)
    ]
    every = "month" if period.by_month else "day"
    return Chart(
        id=chart_id,
        kind="bars",
        finding=f"{what} by {every}, {period.words}. {_highest(places, len(series) - bool(foreseen))}",
        caption=f"{what} by {every}, {period.words}",
        head=every.capitalize(),
        series=series,
        places=places,
    )


def _labels(period: UsagePeriod) -> list[tuple[date, str]]:
    """The places of the axis: the first day of each, and its words."""
    if not period.by_month:
        return [(day, f"{day.day} {day:%b}") for day in period.days]
    return [(first, f"{first:%b %Y}") for first in dict.fromkeys(day.replace(day=1) for day in period.days)]


def _by_place(period: UsagePeriod, days: Days, value: Callable[[Figure], int]) -> dict[date, dict[str, int]]:
    found: dict[date, dict[str, int]] = {}
    for (day, meter), figure in days.items():
        place = found.setdefault(day.replace(day=1) if period.by_month else day, {})
        place[meter] = place.get(meter, 0) + value(figure)
    return found


def _largest(meters: Sequence[MeterName], sums: Mapping[date, Mapping[str, int]]) -> list[MeterName]:
    """All of them while they can be told apart, else the largest, each in the catalog's order."""
    if len(meters) <= SERIES_MAX + 1:
        return list(meters)
    total = {meter.key: sum(place.get(meter.key, 0) for place in sums.values()) for meter in meters}
    kept = sorted(meters, key=lambda meter: -total[meter.key])[:SERIES_MAX]
    return [meter for meter in meters if meter in kept]


def _row(sums: Mapping[str, int], shown: Sequence[MeterName], *, others: bool) -> list[int]:
    row = [sums.get(meter.key, 0) for meter in shown]
    return [*row, sum(sums.values()) - sum(row)] if others else row


def _foreseen(period: UsagePeriod, ahead: Forecast | None) -> dict[date, int]:
    """A mean day for each day to come, and for the rest of today and of the last one their share of it."""
    if ahead is None or period.by_month:
        return {}
    found: dict[date, int] = {}
    for day in period.days:
        begin = datetime.combine(day, time(), period.now.tzinfo)
        seconds = (min(begin + timedelta(days=1), period.until) - max(begin, period.now)).total_seconds()
        if seconds > 0 and (share := ahead.per_day * int(seconds) // (24 * 3600)):
            found[day] = share
    return found


def _highest(places: Sequence[Place], counted: int) -> str:
    sums = [(sum(value or 0 for value in place.values[:counted]), place.label) for place in places]
    most, label = max(sums, key=lambda pair: pair[0], default=(0, ""))
    return f"Highest is {label} with {most:,}." if most else "Nothing was used."
