"""Credits follow the money back: of what a payment has granted, as large a part as was refunded, or charged back, of it.

The rule. Of `granted` credits for `paid`, a total of `back` takes `granted * back / paid`, rounded down: it follows from
the total alone, however many refunds and lost disputes it came in; it never falls while the total rises; and everything
back takes everything. A month is one lot. A year is twelve, and its refund takes the last months first, down to the first:
what is refunded of a year is the time that is still to come. Months that are granted later are reversed in the moment they
are granted.

A dispute that is open freezes what it would take if it were lost now, as far as that is unspent (`frozen.py`). Lost, it is
a refund. Won, what was frozen can be spent again. An inquiry (`warning_*`) has moved no money and freezes nothing.

What was spent of it already becomes debt that the next grant repays; the ledger sees to that. A refund that fails in
the end gives back what it has taken, once, as an adjustment that lasts as long as the grant, and at least a month. So does
a lost dispute that is won on appeal.

What was taken back of a lot when the rest of its plan's time was given back (`given_back.py`) is not taken twice: that money
stands at Stripe to the customer's credit, and is paid out by a refund. So what is asked back after that takes only what goes
beyond it.

Each step is keyed by the claim and the lot, and runs under the account's lock, so that a refund, a dispute and a grant
that come at the same time see each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from portal.core.database import db
from portal.core.statements import Row
from portal.credits import ledger
from portal.credits.bought import Bought, Lot, by_invoice, on_page, with_intent
from portal.credits.claims import Claim, Step, claims_of, new_steps, steps_from_nothing, total
from portal.credits.frozen import Target, freeze_up_to, give_back_what_ended_frozen, thaw_down_to
from portal.credits.given_back import given_back_of
from portal.credits.lot_family import RETURNED, family_of, give_to_family
from portal.credits.storage import lock_account


def reversed_credits(granted: int, back: int, paid: int) -> int:
    """How many of `granted` credits are taken back when `back` of `paid` was given back; both in the minor unit."""
    if paid <= 0 or back >= paid:
        return granted if back > 0 else 0
    return granted * back // paid


def share_of(lots: Sequence[Lot], place: int, total: int) -> int:
    """How much of `total` credits to take back falls on one lot, when the last lots go first."""
    later = sum(lot.amount for lot in lots[place + 1 :])
    return min(max(total - later, 0), lots[place].amount)


def undo_invoice(team_id: str, invoice_stripe_id: str) -> None:
    """Bring the credits of an invoice in line with its refunds and disputes. Changes nothing when they are."""
    _undo(by_invoice(team_id, invoice_stripe_id))


def undo_page(team_id: str, checkout_stripe_id: str) -> bool:
    """The same for what was bought on a checkout page; returns whether its grant is there."""
    bought = on_page(team_id, checkout_stripe_id)
    _undo(bought)
    return bool(bought.lots())


def undo_purchase(team_id: str, grant_cause_key: str, payment_intent_stripe_id: str) -> bool:
    """The same for what an intent alone has paid for; returns whether its grant is there."""
    bought = with_intent(team_id, grant_cause_key, payment_intent_stripe_id)
    _undo(bought)
    return bool(bought.lots())


def _undo(bought: Bought) -> None:
    """Nearly all that is paid is never asked back, so the lock is taken only then, and all is read again under it."""
    if not claims_of(bought.payments()) or not bought.lots():
        return
    lock_account(bought.team_id)
    payments, lots = bought.payments(), bought.lots()
    if not (claims := claims_of(payments)) or not lots:
        return
    _Undoing(bought.team_id, sum(payment.amount for payment in payments), lots, claims).run()


class _Undoing:
    """One purchase, with the account locked."""

    def __init__(self, team_id: str, paid: int, lots: list[Lot], claims: list[Claim]) -> None:
        self.team_id, self.paid, self.lots, self.claims = team_id, paid, lots, claims
        self.granted = sum(lot.amount for lot in lots)
        self.counted = [claim for claim in claims if claim.counts]
        self.opened = [claim for claim in claims if claim.open]
        self.steps = new_steps(claims)
        self.given_back = given_back_of(team_id, [lot.cause_key for lot in lots])

    def run(self) -> None:
        """What is not disputed any more, or is to be taken now, is thawed first, so that no other lot's credits are."""
        disputes = [claim for claim in self.claims if claim.kind == "dispute"]
        if disputes:
            ledger.post_due(self.team_id)
        targets = [self._target(place, lot) for place, lot in enumerate(self.lots)] if disputes else []
        for place, target in enumerate(targets):
            thaw_down_to(target, disputes, self._to_take(place))
        for place, lot in enumerate(self.lots):
            self._reverse(place, lot)
        for step in self.steps:
            step.claim.row.effect = "taken" if step.begins else "returned"
        db.session.flush()
        for target in targets:
            freeze_up_to(target, disputes)
        for place, lot in enumerate(self.lots):
            for claim in disputes:
                if claim.won:
                    standing = self.counted + self.opened
                    share = self._due(place, [*standing, claim]) - self._due(place, standing)
                    give_back_what_ended_frozen(self.team_id, lot, claim, share)

    def _target(self, place: int, lot: Lot) -> Target:
        disputed = self._due(place, self.counted + self.opened) - self._due(place, self.counted)
        return Target(self.team_id, lot, disputed)

    def _to_take(self, place: int) -> int:
        """How many credits of a lot this run takes back, unless they were taken before."""
        return sum(max(self._due(place, step.after) - self._due(place, step.before), 0) for step in self.steps)

    def _due(self, place: int, claims: Iterable[Claim]) -> int:
        """How many credits of a lot these claims take, if they are what counts.

        Those made before its rest was given back have their share whatever came later; for others it was paid in advance.
        """
        claims = list(claims)
        share, given = self._share(place, total(claims)), self.given_back.get(self.lots[place].cause_key)
        if given is None:
            return share
        earlier = self._share(place, total(claim for claim in claims if claim.row.created_at < given.at))
        return earlier + max(share - earlier - given.credits, 0)

    def _share(self, place: int, back: int) -> int:
        return share_of(self.lots, place, reversed_credits(self.granted, back, self.paid))

    def _reverse(self, place: int, lot: Lot) -> None:
        family = family_of(self.team_id, lot)
        fresh = family and not any(row.undone for row in family)
        for step in steps_from_nothing(self.claims) if fresh else self.steps if family else ():
            before, after = self._due(place, step.before), self._due(place, step.after)
            if after > before:
                self._take(lot, after - before, step)
            elif before > after:
                self._give_back(lot, before - after, step)

    def _take(self, lot: Lot, amount: int, step: Step) -> None:
        """Order `amount` back, of the lot first and then of what was given back of it before."""
        family = family_of(self.team_id, lot)
        for row, part in zip(family, _parts(family, amount), strict=True):
            if part:
                ledger.reverse(self.team_id, row.cause_key, part, f"{step.claim.key}:{row.cause_key}")

    def _give_back(self, lot: Lot, amount: int, step: Step) -> None:
        """Give back what a claim has taken that was undone in the end: never more than was really taken."""
        family = family_of(self.team_id, lot)
        taken = sum(row.undone if row.state == "waiting" else row.taken for row in family)
        returned = sum(row.amount for row in family if row.cause_key.startswith(RETURNED))
        back = min(amount, taken - returned)
        why = "refund that did not go through" if step.claim.kind == "refund" else "dispute that was won after all"
        kind = "refund_failed" if step.claim.kind == "refund" else "dispute_returned"
        give_to_family(self.team_id, lot, family, back, f"{kind}:{step.claim.row.stripe_id}", why)


def _parts(family: Sequence[Row], amount: int) -> list[int]:
    """How `amount` falls on a lot and what was given back of it: on what has not ended, in this order.

    What that does not cover has ended by itself. It stays an order of the lot, which comes to nothing.
    """
    left, parts = amount, []
    for row in family:
        part = min(max(row.amount - row.ordered - row.expired, 0), left)
        parts.append(part)
        left -= part
    if parts:
        parts[0] += min(max(family[0].amount - family[0].ordered - parts[0], 0), left)
    return parts
