"""The clock: what time it is, what comes next, and buttons to get there."""

from flask import Flask, Response, request

from portal.sandbox.control import advance
from portal.sandbox.errors import invalid
from portal.sandbox.hosted.panel import addresses
from portal.sandbox.hosted.panel.frame import add_page, done, panel
from portal.sandbox.hosted.panel.linking import types_of
from portal.sandbox.periods import add_interval
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.upcoming import upcoming

_SHOWN = 25
_DAY = 86400


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def clock() -> Response:
        if request.method == "POST":
            advance(sandbox, _seconds(sandbox, request.form.get("by", "")))
            return done(addresses.CLOCK, "advanced")
        call = sandbox.call()
        coming = upcoming(call)
        return panel(
            sandbox,
            "panel_clock.html",
            "clock",
            now=call.now(),
            offset_seconds=sandbox.clock.offset_seconds(),
            coming=coming[:_SHOWN],
            more=max(0, len(coming) - _SHOWN),
            types=types_of(sandbox.store, {one.object_id for one in coming[:_SHOWN]}),
        )

    add_page(app, sandbox, addresses.CLOCK, clock, ("GET", "POST"))


def _seconds(sandbox: Sandbox, by: str) -> int:
    call = sandbox.call()
    now = call.now()
    if by == "day":
        return _DAY
    if by == "month":
        return add_interval(now, "month", 1) - now
    if by != "next":
        raise invalid("The clock moves by a day, a month, or to the next event.", "by")
    coming = upcoming(call)
    if not coming:
        raise invalid("Nothing is to come.", "by")
    return coming[0].at - now
