"""Test clocks on their way: what comes due for their customers is carried out, and then the clock is ready.

A clock is looked at twice, each time before some request is answered: the first time it gets where it is going, the
second time it says so. Whoever asks for it at once is told that it is still advancing, as at Stripe.
"""

from portal.sandbox import agenda, events, refunding, subscription_life
from portal.sandbox.agenda import Source
from portal.sandbox.call import Call
from portal.sandbox.customer_time import on_clock
from portal.sandbox.resources import quotes
from portal.sandbox.resources.test_clocks import TYPE
from portal.sandbox.store import Object, equals

_SOURCES: tuple[Source, ...] = (quotes.due, subscription_life.due, refunding.due)


def advance_clocks(call: Call) -> None:
    """Move every clock on that is on its way."""
    moving = equals("status", "advancing")
    if not call.store.find(TYPE, [moving], limit=1):
        return
    with call.store.transaction():
        for clock in call.store.find(TYPE, [moving], oldest_first=True):
            _advance(call, clock)


def _advance(call: Call, clock: Object) -> None:
    target = clock["status_details"]["advancing"]["target_frozen_time"]
    if clock["frozen_time"] < target:
        agenda.carry_out(on_clock(call, clock["id"], target), _SOURCES)
        call.store.save(clock | {"frozen_time": target})
        return
    clock |= {"status": "ready", "status_details": {}}
    call.store.save(clock)
    events.emit(call, f"{TYPE}.ready", clock)
