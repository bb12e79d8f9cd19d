"""What was left at the end of each day, as a line."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import dropwhile

from portal.core.charts import Chart, Place, Series
from portal.credits.daily import CreditDay, credit_days
from portal.credits.queries import Summary


def burn_down(team_id: str, first: date, now: datetime, now_left: Summary) -> Chart | None:
    """From `first`, or the day on which the account began, until today, whose figure is what is left now.

    None where there is no line to be drawn: there was never anything, or it began today.
    """
    all_days = credit_days(team_id, first, now.astimezone(UTC).date())
    days = list(dropwhile(lambda day: not (day.left or day.added or day.spent), all_days))
    if len(days) < 2:
        return None
    left = [day.left for day in days[:-1]] + [now_left.available + now_left.reserved - now_left.debt]
    spent = sum(day.spent for day in days)
    frozen = any(day.frozen for day in days)
    return Chart(
        id="left",
        kind="line",
        finding=f"Credits left at the end of each of the last {len(days)} days: {left[-1]:,} now, after {spent:,} were used.",
        caption=f"Credits left and used by day, {days[0].day:%-d %b} to {days[-1].day:%-d %b %Y}, days in UTC",
        head="Day",
        series=[
            Series("Left at its end", "1"),
            Series("Added", ""),
            Series("Used", ""),
            Series("Ended or taken back", ""),
            *([Series("Frozen, less what was set free", "")] if frozen else []),
        ],
        places=[
            Place(f"{day.day.day} {day.day:%b}", _values(day, rest, frozen=frozen))
            for day, rest in zip(days, left, strict=True)
        ],
        sums=False,
    )


def _values(day: CreditDay, rest: int, *, frozen: bool) -> list[int]:
    values = [rest, day.added, day.spent, day.expired + day.taken_back]
    return [*values, day.frozen] if frozen else values
