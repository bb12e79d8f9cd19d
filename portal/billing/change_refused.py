"""The exception that says that a change cannot be made."""

from __future__ import annotations


class ChangeRefused(Exception):
    """The change cannot be made; nothing was charged. `reason` is a key of `change_refusals.WORDS`, `facts` fill it in."""

    def __init__(self, reason: str, **facts: object) -> None:
        super().__init__(reason)
        self.reason, self.facts = reason, facts
