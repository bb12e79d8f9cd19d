"""What was asked back of a payment: refunds, and disputes of the bank. All amounts are in the minor unit.

A refund counts from the moment it is known until it fails; a dispute counts once it is lost. While it is open it does not
count yet, and it is not nothing either: what it may take is kept out of reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from portal.billing.dispute_models import Dispute
from portal.billing.disputes import disputes_of
from portal.billing.models import Payment, Refund
from portal.billing.refunds import UNDONE, refunds_of


@dataclass(frozen=True)
class Claim:
    """`kind` is `refund` or `dispute`. `row` keeps what it has done to the team's credits so far."""

    kind: str
    row: Refund | Dispute
    counts: bool
    open: bool = False

    @property
    def key(self) -> str:
        """What its effects are keyed by, with the lot behind it."""
        return f"{self.kind}:{self.row.stripe_id}"

    @property
    def won(self) -> bool:
        """Decided so that the payment stands."""
        return self.kind == "dispute" and not self.counts and not self.open


@dataclass(frozen=True)
class Step:
    """One claim begins to count, or ceases to: the claims that count before and after."""

    claim: Claim
    before: tuple[Claim, ...]
    after: tuple[Claim, ...]

    @property
    def begins(self) -> bool:
        return len(self.after) > len(self.before)


def claims_of(payments: list[Payment]) -> list[Claim]:
    """Everything that was asked back of these payments: refunds, then disputes, each the oldest first."""
    return claims_on([payment.payment_intent_stripe_id for payment in payments if payment.payment_intent_stripe_id])


def claims_on(intents: list[str]) -> list[Claim]:
    """The same by the payments' intents."""
    refunds = [Claim("refund", refund, counts=refund.status not in UNDONE) for refund in refunds_of(intents)]
    disputes = [Claim("dispute", one, counts=one.lost, open=one.open) for one in disputes_of(intents)]
    return refunds + disputes


def total(claims: Iterable[Claim]) -> int:
    return sum(claim.row.amount for claim in claims)


def new_steps(claims: list[Claim]) -> list[Step]:
    """What is new: claims that have taken nothing back yet, then those that were undone after they had."""
    taken = [claim for claim in claims if claim.row.effect == "taken"]
    begun = [claim for claim in claims if claim.row.effect == "none" and claim.counts]
    return _walk(taken, begun + [claim for claim in taken if not claim.counts])


def steps_from_nothing(claims: list[Claim]) -> list[Step]:
    """All claims that count, for a lot of which none has taken anything back: it may have been granted just now."""
    return _walk([], [claim for claim in claims if claim.counts])


def _walk(counted: list[Claim], changes: list[Claim]) -> list[Step]:
    """A step for each change: what is counted already ceases to count, and anything else begins to."""
    steps, before = [], tuple(counted)
    for claim in changes:
        others = tuple(one for one in before if one is not claim)
        after = others if len(others) < len(before) else (*before, claim)
        steps.append(Step(claim, before, after))
        before = after
    return steps
