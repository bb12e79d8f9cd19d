"""The clocks, the sandbox's own and test clocks: what time it is by each, what comes next, and buttons to get there."""

from dataclasses import dataclass

from flask import Flask, Response, request

from portal.sandbox.call import Call
from portal.sandbox.control import advance
from portal.sandbox.customer_time import on_clock
from portal.sandbox.errors import invalid
from portal.sandbox.hosted.panel import addresses
from portal.sandbox.hosted.panel.frame import add_page, done, panel
from portal.sandbox.hosted.panel.linking import types_of
from portal.sandbox.periods import add_interval
from portal.sandbox.registry import fetch
from portal.sandbox.resources import test_clocks
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object
from portal.sandbox.upcoming import Upcoming, upcoming

_SHOWN = 25
_DAY = 86400


@dataclass(frozen=True)
class _TestClock:
    """A test clock, and what comes next by it."""

    clock: Object
    coming: Upcoming | None


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def clock() -> Response:
        if request.method == "POST":
            _advance(sandbox, request.form.get("clock", ""), request.form.get("by", ""))
            return done(addresses.CLOCK, "advanced")
        call = sandbox.call()
        coming = upcoming(call)
        clocks = [_TestClock(one, next(iter(upcoming(_by(call, one))), None)) for one in test_clocks.present(call)]
        shown = coming[:_SHOWN] + [one.coming for one in clocks if one.coming]
        return panel(
            sandbox,
            "panel_clock.html",
            "clock",
            now=call.now(),
            offset_seconds=sandbox.clock.offset_seconds(),
            coming=coming[:_SHOWN],
            more=max(0, len(coming) - _SHOWN),
            clocks=clocks,
            types=types_of(sandbox.store, {one.object_id for one in shown}),
        )

    add_page(app, sandbox, addresses.CLOCK, clock, ("GET", "POST"))


def _advance(sandbox: Sandbox, clock_id: str, by: str) -> None:
    """Move the sandbox's own clock, or the test clock that is named, which gets as far as one step may lead it."""
    call = sandbox.call()
    if not clock_id:
        advance(sandbox, _target(call, by) - call.now())
        return
    with sandbox.store.transaction():
        known = fetch(call, test_clocks.TYPE, clock_id)
        target = min(_target(_by(call, known), by), test_clocks.latest(call, known))
        test_clocks.advance(call, {"frozen_time": target}, clock_id)
    # It gets there at once, and is ready when the page is shown again.
    sandbox.settle()


def _by(call: Call, clock: Object) -> Call:
    return on_clock(call, clock["id"], clock["frozen_time"])


def _target(call: Call, by: str) -> int:
    """Return the instant that a button leads to."""
    now = call.now()
    if by == "day":
        return now + _DAY
    if by == "month":
        return add_interval(now, "month", 1)
    if by != "next":
        raise invalid("The clock moves by a day, a month, or to the next event.", "by")
    coming = upcoming(call)
    if not coming:
        raise invalid("Nothing is to come.", "by")
    return coming[0].at
