"""When the first whole period of a subscription begins: at once, after a trial, or at a day that was chosen for it."""

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, datetime

from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import Hash, Integer
from portal.sandbox.periods import add_interval
from portal.sandbox.store import Object

TRIAL_DAYS_MAX = 730
ANCHOR_CONFIG = Hash(
    fields={
        "day_of_month": Integer(minimum=1, maximum=31, required=True),
        "hour": Integer(minimum=0, maximum=23),
        "minute": Integer(minimum=0, maximum=59),
        "month": Integer(minimum=1, maximum=12),
        "second": Integer(minimum=0, maximum=59),
    }
)
_MONTHS = 12


def trial_end_of(call: Call, values: Values) -> int | None:
    """Return when the trial ends that the parameters ask for, or None when there is none; `now` ends it at once."""
    if "trial_end" in values and "trial_period_days" in values:
        raise invalid("Send trial_end or trial_period_days, not both.", "trial_end")
    if "trial_period_days" in values:
        return call.now() + int(values["trial_period_days"]) * 86400
    end = values.get("trial_end")
    if end is None or end == "now":
        return None
    check_trial_end(call, end, "trial_end")
    return int(end)


def check_trial_end(call: Call, at: int, param: str) -> None:
    """Refuse a trial that is over, or longer than Stripe lets one be."""
    if at <= call.now():
        raise invalid(f"{param} must lie in the future.", param)
    if at > call.now() + TRIAL_DAYS_MAX * 86400:
        raise invalid(f"A trial may last {TRIAL_DAYS_MAX} days at most.", param)


def anchor_of(call: Call, values: Values, prices: Sequence[Object], trial_end: int | None) -> int | None:
    """Return the billing day that was chosen for new prices, or None when it is the day on which they begin."""
    names = [name for name in ("billing_cycle_anchor", "billing_cycle_anchor_config") if name in values]
    if not names:
        return None
    name = names[0]
    if len(names) > 1:
        raise invalid("Send billing_cycle_anchor or billing_cycle_anchor_config, not both.", name)
    if trial_end is not None:
        raise invalid("The sandbox bills from the end of a trial on; leave the billing day out.", name)
    rhythms = [price["recurring"] for price in prices]
    if name == "billing_cycle_anchor_config" and {one["interval"] for one in rhythms} - {"month", "year"}:
        raise invalid("Only what is billed by the month or the year has a day of the month.", name)
    at = values[name] if name == "billing_cycle_anchor" else _next(call, values[name])
    if at <= call.now():
        raise invalid("The billing day must lie in the future.", name)
    if any(at > add_interval(call.now(), one["interval"], one["interval_count"]) for one in rhythms):
        raise invalid("The billing day cannot be later than the first period would end without it.", name)
    return int(at)


def _next(call: Call, config: Values) -> int:
    """Return the next instant that looks so; what is not said of it is as it is now."""
    now = datetime.fromtimestamp(call.now(), UTC)
    for ahead in range(_MONTHS + 1):
        year, month = divmod(now.month - 1 + ahead, _MONTHS)
        year, month = now.year + year, month + 1
        if config.get("month", month) != month:
            continue
        if config["day_of_month"] > monthrange(year, month)[1]:
            # Later periods are counted from this day, and would never get to a longer month's last one.
            raise invalid("The month has no such day.", "billing_cycle_anchor_config[day_of_month]")
        time = {name: config.get(name, getattr(now, name)) for name in ("hour", "minute", "second")}
        at = int(datetime(year, month, config["day_of_month"], tzinfo=UTC, **time).timestamp())
        if at > call.now():
            return at
    raise invalid("There is no such day within a year.", "billing_cycle_anchor_config")
