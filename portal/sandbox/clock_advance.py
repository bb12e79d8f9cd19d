"""Test clocks on their way: what comes due for their customers is carried out, and then the clock is ready.

A clock is looked at twice, each time before some request is answered: the first time it gets where it is going, the
second time it says so. Whoever asks for it at once is told that it is still advancing, as at Stripe.
"""

from collections.abc import Callable

from portal.sandbox import events
from portal.sandbox.call import Call
from portal.sandbox.customer_time import on_clock
from portal.sandbox.refunding import answer_refunds
from portal.sandbox.resources.quotes import expire_due
from portal.sandbox.resources.test_clocks import TYPE
from portal.sandbox.scheduling import start_due
from portal.sandbox.store import Object, equals
from portal.sandbox.subscription_life import carry_on, tell_of_trial_ends

_TASKS: tuple[Callable[[Call], None], ...] = (expire_due, tell_of_trial_ends, start_due, carry_on, answer_refunds)


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
        for task in _TASKS:
            task(on_clock(call, clock["id"], target))
        call.store.save(clock | {"frozen_time": target})
        return
    clock |= {"status": "ready", "status_details": {}}
    call.store.save(clock)
    events.emit(call, f"{TYPE}.ready", clock)
