"""Meter event summaries: what a customer used in a time, whole or by the hour or the day."""

import hashlib
from collections.abc import Iterator

from portal.sandbox import metering
from portal.sandbox.call import Call
from portal.sandbox.endpoints import LIMIT_DEFAULT, Endpoint, Values
from portal.sandbox.errors import invalid, no_such
from portal.sandbox.parameters import PAGING, Choice, Text, Timestamp
from portal.sandbox.registry import fetch, list_object
from portal.sandbox.resources import billing_meters
from portal.sandbox.store import Object

_WINDOWS = {"hour": 3600, "day": 86400}
_MINUTE = 60
LIST = PAGING | {
    "customer": Text(required=True),
    "end_time": Timestamp(required=True),
    "start_time": Timestamp(required=True),
    "value_grouping_window": Choice(options=tuple(_WINDOWS)),
}


def index(call: Call, values: Values, meter_id: str) -> Object:
    """`GET /v1/billing/meters/{id}/event_summaries`, the newest window first; windows without events are left out."""
    meter = fetch(call, billing_meters.TYPE, meter_id)
    fetch(call, "customer", values["customer"], "customer")
    start, end = values["start_time"], values["end_time"]
    window = _WINDOWS.get(values.get("value_grouping_window", ""))
    _check(start, end, window or _MINUTE)
    found = metering.events_between(call, meter, values["customer"], start, end)
    summaries = [
        _summary(meter, values["customer"], begin, until, events)
        for begin, until, events in _grouped(found, start, end, window)
    ]
    return _page(summaries, values, f"/v1/billing/meters/{meter_id}/event_summaries")


def _check(start: int, end: int, grid: int) -> None:
    for name, instant in (("start_time", start), ("end_time", end)):
        if instant % grid:
            raise invalid(f"'{name}' must lie on a boundary of {grid} seconds, counted in UTC.", name)
    if start >= end:
        raise invalid("'end_time' must lie after start_time.", "end_time")


def _grouped(found: list[Object], start: int, end: int, window: int | None) -> Iterator[tuple[int, int, list[Object]]]:
    """Yield each window that has events, the newest first."""
    if window is None:
        if found:
            yield start, end, found
        return
    for begin in sorted({event["timestamp"] // window * window for event in found}, reverse=True):
        yield begin, begin + window, [event for event in found if begin <= event["timestamp"] < begin + window]


def _summary(meter: Object, customer_id: str, start: int, end: int, found: list[Object]) -> Object:
    value = metering.aggregate(meter, found)
    # The same question has the same answer, and under the same id.
    digest = hashlib.sha256(f"{meter['id']} {customer_id} {start} {end}".encode()).hexdigest()
    return {
        "id": f"mtrusg_test_{digest}",
        "object": "billing.meter_event_summary",
        "aggregated_value": int(value) if value == value.to_integral_value() else float(value),
        "end_time": end,
        "livemode": False,
        "meter": meter["id"],
        "start_time": start,
    }


def _page(summaries: list[Object], values: Values, url: str) -> Object:
    """Return one page of what is nowhere stored, by the same cursors as other lists."""
    if "starting_after" in values and "ending_before" in values:
        raise invalid("Send starting_after or ending_before, not both.", "starting_after")
    limit = values.get("limit", LIMIT_DEFAULT)
    if "starting_after" in values:
        rest = summaries[_place(summaries, values, "starting_after") + 1 :]
    elif "ending_before" in values:
        before = summaries[: _place(summaries, values, "ending_before")]
        return list_object(before[-limit:], url, has_more=len(before) > limit)
    else:
        rest = summaries
    return list_object(rest[:limit], url, has_more=len(rest) > limit)


def _place(summaries: list[Object], values: Values, name: str) -> int:
    for place, summary in enumerate(summaries):
        if summary["id"] == values[name]:
            return place
    raise no_such("meter event summary", values[name], name, in_path=False)


ENDPOINTS = (
    Endpoint("GET", "/v1/billing/meters/{id}/event_summaries", LIST, index, "billing.meter_event_summary", lists=True),
)
