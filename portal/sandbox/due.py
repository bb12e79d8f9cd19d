"""What happens by itself when the sandbox's clock reaches its time.

Everything that is driven by the clock is listed here: each source finds what is due, and `agenda.py` carries it out.
"""

from portal.sandbox import agenda, disputing, refunding, settling, subscription_life
from portal.sandbox.agenda import Source
from portal.sandbox.call import Call
from portal.sandbox.clock_advance import advance_clocks
from portal.sandbox.resources import checkout_sessions, quotes

BY_TIME: tuple[Source, ...] = (
    checkout_sessions.due,
    quotes.due,
    subscription_life.due,
    refunding.due,
    settling.due,
)
# What banks dispute may have been paid a moment before.
AFTERWARDS: tuple[Source, ...] = (disputing.disputed, disputing.decided)


def run_due(call: Call) -> None:
    """Carry out all that is due."""
    agenda.carry_out(call, BY_TIME)
    advance_clocks(call)
    agenda.carry_out(call, AFTERWARDS)
