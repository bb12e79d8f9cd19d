"""What happens by itself when the sandbox's clock reaches its time.

Everything that is driven by the clock is listed in `TASKS`: each task looks for what is due and carries it out.
"""

from collections.abc import Callable

from portal.sandbox import disputing, refunding, settling
from portal.sandbox.call import Call
from portal.sandbox.clock_advance import advance_clocks
from portal.sandbox.resources import checkout_sessions, quotes
from portal.sandbox.scheduling import start_due
from portal.sandbox.subscription_life import carry_on, tell_of_trial_ends

TASKS: tuple[Callable[[Call], None], ...] = (
    checkout_sessions.expire_due,
    quotes.expire_due,
    tell_of_trial_ends,
    start_due,
    carry_on,
    advance_clocks,
    disputing.open_disputes,
    disputing.decide,
    refunding.answer_refunds,
    settling.settle_debits,
)


def run_due(call: Call) -> None:
    """Carry out every due task."""
    for task in TASKS:
        task(call)
