"""Recording uses: their credits, events, totals and answers in one unit of work, once for each key.

The keys are the reporter's own and belong to the team. The same key with the same use is answered with the stored
answer, byte for byte (I8); a use that cannot be paid leaves nothing behind, so that its key may succeed later (I9).

Many uses come to what they would come to one after another: each is decided in order, under the account's lock, by what
the ones before it left. The lock is that of the credits for uses that take none, too, so that what a plan includes
cannot be passed by two at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from portal.core.ids import new_id
from portal.core.metrics import counter
from portal.core.unit_of_work import after_commit
from portal.credits.auto_purchase import intend_for_refused, intend_if_crossed
from portal.credits.errors import InsufficientCredits
from portal.credits.ledger import CauseConflict
from portal.credits.queries import shortage
from portal.credits.spending import Spending
from portal.credits.storage import lock_account
from portal.usage import storage
from portal.usage.budgets import StoppingBudgets, mark_refused, stopping_budgets
from portal.usage.storage import CREATED, Found, MeterTerms, Stored
from portal.usage.uses import (
    AHEAD_MAX,
    LATE_MAX,
    Answer,
    BudgetExceeded,
    CreditsFrozen,
    IncludedUsedUp,
    KeyReused,
    MeteringError,
    OutOfTime,
    Recorded,
    UnknownMember,
    UnknownMeter,
    Use,
)

__all__ = [
    "Answer",
    "BudgetExceeded",
    "CreditsFrozen",
    "IncludedUsedUp",
    "KeyReused",
    "MeteringError",
    "OutOfTime",
    "Recorded",
    "Refusal",
    "UnknownMember",
    "UnknownMeter",
    "Use",
    "record",
    "record_all",
    "refusal_of",
]

Body = Callable[[Recorded], str]
Refusal = MeteringError | InsufficientCredits

# A meter's name is the catalog's by the time it is counted.
CONSUMED = counter("billing_credits_consumed_total", "Credits that uses have taken.", "meter")


def record(use: Use, answer: Body) -> Answer:
    """Record a use and keep `answer` of it; a use that is recorded already is answered as it was then.

    Raises a `MeteringError`, or the ledger's `InsufficientCredits`.
    """
    outcome = record_gathered(use.team_id, lambda: [use], answer)[0]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def record_all(team_id: str, uses: Sequence[Use], answer: Body) -> list[Answer | Refusal]:
    """Record uses of one team in their order; for each its answer, or what `record` would raise for it.

    Where all of them are recorded already, or cannot be, that is told without the account's lock. Of many that come for the
    first time only the first one is looked for in vain.
    """
    first = storage.find(team_id, uses[:1])
    if not any(_is_open(use, first) for use in uses[:1]):
        found = storage.find(team_id, uses)
        if not any(_is_open(use, found) for use in uses):
            return [_settled(use, found) for use in uses]
    return record_gathered(team_id, lambda: uses, answer)


def record_gathered(team_id: str, gather: Callable[[], Sequence[Use]], answer: Body) -> list[Answer | Refusal]:
    """As `record_all`, of the uses that are there by the time the account's lock is ours: `gather` is called then."""
    lock_account(team_id)
    uses = gather()
    books = _Books(team_id, uses, storage.find(team_id, uses))
    outcomes = [books.outcome(use, answer) for use in uses]
    books.save()
    mark_refused(team_id, outcomes)
    _buy_more(team_id, uses, outcomes, needs_purchase=books.needs_purchase)
    return outcomes


def _buy_more(team_id: str, uses: Sequence[Use], outcomes: Sequence[Answer | Refusal], *, needs_purchase: bool) -> None:
    """Begin an auto-purchase, where there is to be one: for what is below the threshold, or for all that was refused.

    A use that is reported several times at once is refused each time, and wanted once.
    """
    by_key = {use.key: outcome for use, outcome in zip(uses, outcomes, strict=True)}
    refused = [outcome for outcome in by_key.values() if isinstance(outcome, InsufficientCredits)]
    if refused:
        missing, last = sum(one.cost for one in refused), refused[-1]
        buys = any(one.buys for one in refused)
        intend_for_refused(team_id, InsufficientCredits(last.available, missing, debt=last.debt, buys=buys))
    else:
        intend_if_crossed(team_id, needs_purchase=needs_purchase)


def refusal_of(use: Use, found: Found | None = None) -> Refusal | None:
    """Why the use would be refused as things are now; None when it would be recorded, or has been. It changes nothing.

    `found` is what stands under its key and so on, where that has been looked up.
    """
    found = found or storage.find(use.team_id, [use])
    if use.key in found.stored:
        outcome = _settled(use, found)
        return None if isinstance(outcome, Answer) else outcome
    fault = _fault(use, found)
    if fault is not None:
        return fault
    terms, at = found.meters[use.meter], use.occurred_at or found.now
    budgets = stopping_budgets(use.team_id, [(use, at)]) if found.budgeted else StoppingBudgets()
    if terms.mode == "credits":
        cost = (terms.cost or 0) * use.quantity
        return budgets.refusal(use, cost, at) or shortage(use.team_id, cost)
    refused = budgets.refusal(use, use.quantity, at, use.meter)
    if refused or terms.more_allowed:
        return refused
    [(_month, used)] = storage.used_in_month(use.team_id, [(use.meter, at)]).values()
    return IncludedUsedUp(terms.included, used) if used + use.quantity > terms.included else None


def _is_open(use: Use, found: Found) -> bool:
    """Whether the use may be recorded, whatever there is to spend."""
    return use.key not in found.stored and _fault(use, found) is None


def _settled(use: Use, found: Found) -> Answer | Refusal:
    """What comes of a use that is not to be recorded."""
    stored = found.stored.get(use.key)
    return _again(use, stored) if stored else _fault(use, found) or MeteringError("the use can be recorded")


def _again(use: Use, stored: Stored) -> Answer | Refusal:
    if stored.request_hash != use.request_hash:
        return KeyReused("the key stands for another use")
    return Answer(stored.status, stored.body, replayed=True)


def _fault(use: Use, found: Found) -> MeteringError | None:
    """What is wrong with a use that has not been recorded, whatever there is to spend."""
    if use.meter not in found.meters:
        return UnknownMeter(f"there is no meter {use.meter!r}")
    if use.user_id is not None and use.user_id not in found.members:
        return UnknownMember(f"{use.user_id} is no member of the team")
    if use.occurred_at is not None and not found.now - LATE_MAX <= use.occurred_at <= found.now + AHEAD_MAX:
        return OutOfTime(f"{use.occurred_at.isoformat()} is not within the time that is taken")
    if found.frozen:
        return CreditsFrozen(f"{use.team_id} may use nothing for now")
    return None


class _Books:
    """The team's books while its account's lock is held: the credits, what is used of what is included, the keys."""

    def __init__(self, team_id: str, uses: Sequence[Use], found: Found) -> None:
        self._team_id, self._found = team_id, found
        opened = [use for use in uses if _is_open(use, found)]
        paid = {f"usage:{use.key}" for use in opened if self._pays(use)}
        self._spending = Spending(team_id, sorted(paid)) if paid else None
        self._now = self._spending.now if self._spending else found.now
        self._budgets = StoppingBudgets()
        if self._found.budgeted:
            self._budgets = stopping_budgets(team_id, ((use, self._moment(use)) for use in opened))
        ending = (use for use in opened if not self._pays(use) and not self._terms(use).more_allowed)
        self._months = storage.used_in_month(team_id, {(use.meter, self._moment(use)) for use in ending})
        self._used = {(meter, month): used for (meter, _at), (month, used) in self._months.items()}
        self._made: list[tuple[Recorded, Stored, int | None]] = []

    def outcome(self, use: Use, answer: Body) -> Answer | Refusal:
        """What comes of the next use."""
        if not _is_open(use, self._found):
            return _settled(use, self._found)
        try:
            recorded, version = self._take(use)
        except CauseConflict:
            return KeyReused("the key stands for another use")
        except (InsufficientCredits, IncludedUsedUp, BudgetExceeded) as refused:
            return refused
        kept = Stored(use.request_hash, CREATED, answer(recorded))
        self._made.append((recorded, kept, version))
        # The same key may come again among the rest.
        self._found.stored[use.key] = kept
        return Answer(CREATED, kept.body, replayed=False)

    @property
    def needs_purchase(self) -> bool:
        """Whether what was taken leaves fewer credits than the threshold of an auto-purchase."""
        return self._spending is not None and self._spending.needs_purchase

    def save(self) -> None:
        """Write everything that was taken, and count it once it is committed."""
        ids = self._spending.save() if self._spending else {}
        if not self._made:
            return
        made = [(recorded, kept, ids[version] if version else None) for recorded, kept, version in self._made]
        storage.save(self._team_id, made, self._now)
        consumed: dict[str, int] = {}
        for recorded, _kept, _version in self._made:
            consumed[recorded.use.meter] = consumed.get(recorded.use.meter, 0) + recorded.cost
        for meter, cost in consumed.items():
            after_commit(CONSUMED.labels(meter=meter).inc, cost)

    def _pays(self, use: Use) -> bool:
        return self._terms(use).mode == "credits"

    def _terms(self, use: Use) -> MeterTerms:
        return self._found.meters[use.meter]

    def _moment(self, use: Use) -> datetime:
        """When it counts: a reporter whose clock is ahead means now."""
        return self._now if use.occurred_at is None else min(use.occurred_at, self._now)

    def _take(self, use: Use) -> tuple[Recorded, int | None]:
        """Take the use's credits, or its units of what is included. With it, the version of its entry."""
        terms, id_, occurred_at = self._terms(use), new_id("use"), self._moment(use)
        if terms.mode == "metered":
            with self._budgets.taken(use, use.quantity, occurred_at, use.meter):
                included, used = self._include(use, terms, occurred_at)
            return Recorded(id_, use, 0, None, self._now, occurred_at, included, used), None
        cost = (terms.cost or 0) * use.quantity
        assert self._spending is not None
        with self._budgets.taken(use, cost, occurred_at):
            spent = self._spending.spend(cost, f"usage:{use.key}")
        left = self._spending.available
        return Recorded(id_, use, cost, spent.balance, self._now, occurred_at, available=left), spent.version

    def _include(self, use: Use, terms: MeterTerms, at: datetime) -> tuple[int, int | None]:
        """Where there are no more than those included, whole or not at all. Raises `IncludedUsedUp`."""
        if terms.more_allowed:
            return terms.included, None
        place = (use.meter, self._months[use.meter, at][0])
        used = self._used[place] + use.quantity
        if used > terms.included:
            raise IncludedUsedUp(terms.included, self._used[place])
        self._used[place] = used
        return terms.included, used
