"""What the ledger refuses. Whoever catches one of these may be sure that nothing of the refused act was done."""

from __future__ import annotations


class LedgerError(Exception):
    """The parent of everything the ledger raises on purpose."""


class InsufficientCredits(LedgerError):
    """A spend costs more than is available; all is in credits. A spend happens whole or not at all.

    `debt` is owed, and repaid from the next credits before any can be spent; `reserved` is held. `buys`: an auto-purchase
    waits to be begun, and this is a reason to.
    """

    def __init__(self, available: int, cost: int, *, debt: int = 0, reserved: int = 0, buys: bool = False) -> None:
        super().__init__(f"{cost} credits are needed, {available} are available and {debt} are owed")
        self.available = available
        self.cost = cost
        self.debt = debt
        self.reserved = reserved
        self.buys = buys

    @property
    def balance(self) -> int:
        """As an entry has it: with what is held, less what is owed."""
        return self.available + self.reserved - self.debt

    @property
    def shortfall(self) -> int:
        """How many more there must be for it to be paid."""
        return self.cost + self.debt - self.available


class CauseConflict(LedgerError):
    """The cause key already stands for something else, such as another amount. Answer it with 409."""


class UnknownGrant(LedgerError):
    """The team has no grant of this cause (yet): an event that came early may be tried again later."""


class CreditOverflow(LedgerError):
    """The balance or the debt would leave the range of a 64-bit integer."""


class UnknownHold(LedgerError):
    """The team has no hold of this name."""


class HoldClosed(LedgerError):
    """The hold was closed before: `state` is settled, released or expired."""

    def __init__(self, hold_id: str, state: str) -> None:
        super().__init__(f"the hold {hold_id} is {state}")
        self.state = state
