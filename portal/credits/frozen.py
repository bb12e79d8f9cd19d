"""What an open dispute keeps out of reach of the lot that its payment bought.

As much as would be taken if the dispute were lost now, as far as the lot still has it: what is spent already becomes debt
only when the dispute is lost, and no other lot stands in. Time goes on meanwhile: a lot that ends while it is frozen ends
whole. If the dispute is won after that, the payment stands and its credits could not be used, so what was frozen at the end
is given back, once, for at least a month.
"""

from __future__ import annotations

from dataclasses import dataclass

from portal.core.statements import Row
from portal.credits import ledger
from portal.credits.bought import Lot
from portal.credits.claims import Claim
from portal.credits.lot_family import ENDED_FROZEN, family_of, give_to_family


@dataclass(frozen=True)
class Target:
    """How many credits of a lot are disputed, spent ones too."""

    team_id: str
    lot: Lot
    credits: int


def thaw_down_to(target: Target, disputes: list[Claim], to_take: int) -> None:
    """Thaw what is frozen beyond the target, and what is `to_take` of the lot in a moment.

    The account is locked, and what is due is posted.
    """
    for row in family_of(target.team_id, target.lot)[:1]:
        beyond = _frozen(row) - min(target.credits, max(int(row.remaining) - to_take, 0))
        if beyond > 0:
            ledger.thaw(target.team_id, row.cause_key, beyond, _cause(row, disputes, opened=False))


def freeze_up_to(target: Target, disputes: list[Claim]) -> None:
    """Freeze what is missing of the target. What is held stays with its hold, and is frozen when it comes back."""
    for row in family_of(target.team_id, target.lot)[:1]:
        missing = min(target.credits, int(row.remaining - row.held)) - _frozen(row)
        if missing > 0:
            ledger.freeze(target.team_id, row.cause_key, missing, _cause(row, disputes, opened=True))


def give_back_what_ended_frozen(team_id: str, lot: Lot, claim: Claim, share: int) -> None:
    """Give back, once, the share of a dispute that was won in what was frozen when the lot ended."""
    family = family_of(team_id, lot)
    if not family or not family[0].ended_frozen:
        return
    cause = f"{ENDED_FROZEN}{claim.row.stripe_id}"
    given = [row for row in family if row.cause_key.startswith(ENDED_FROZEN)]
    if any(row.cause_key == f"{cause}:{lot.cause_key}" for row in given):
        return
    back = min(share, family[0].ended_frozen - sum(row.amount for row in given))
    give_to_family(team_id, lot, family, back, cause, "could not be used while the payment was disputed")


def _frozen(row: Row) -> int:
    """Of a lot that has not begun, what is to be frozen then."""
    return int(row.to_freeze if row.state == "waiting" else row.frozen)


def _cause(row: Row, disputes: list[Claim], *, opened: bool) -> str:
    """The newest dispute that is open, or that is not, and a number: a lot may be frozen and thawed more than once."""
    fitting = [claim for claim in disputes if claim.open is opened] or disputes
    newest = max(fitting, key=lambda claim: (claim.row.synced_at, claim.row.created_at, claim.row.stripe_id))
    return f"{newest.key}:{'frozen' if opened else 'thawed'}:{row.freezes + 1}:{row.cause_key}"
