"""Why one entry of the history is what it is: which grants it drew on or filled, and the balance before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from portal.core.database import send
from portal.core.statements import Row, Statement
from portal.credits.derivations import Derivation, Source, Term, derivation
from portal.credits.explain_balance import KIND_WORDS, grant_words

ENTRY = Statement(
    "select e.id, e.version, e.kind, e.amount, e.balance_after, e.cause_key, e.spend_order, e.at, e.grant_id,"
    " g.cause_key as grant_cause, g.kind as grant_kind, g.source, h.id as hold_id, h.amount as held, h.meter"
    " from credit_entries e left join credit_grants g on g.team_id = e.team_id and g.id = e.grant_id"
    " left join credit_holds h on h.team_id = e.team_id and h.entry_id = e.id"
    " where e.team_id = :team_id and e.version = :version"
)
TAKES = Statement(
    "select c.amount, g.id, g.cause_key, g.kind, g.source, g.expires_at from credit_consumptions c"
    " join credit_grants g on g.team_id = c.team_id and g.id = c.grant_id"
    " where c.team_id = :team_id and c.entry_id = :entry_id order by g.expires_at nulls last, g.id"
)

USE = "usage:"
ORDER_WORDS = {
    "expiry": "What ends first is spent first.",
    "kind": "Plan credits are spent first, then gifts, then bundles.",
}


@dataclass(frozen=True)
class SettledHold:
    """The hold that an entry has settled. `plain`: it was for no meter, and there is no use beside the entry."""

    id: str
    amount: int
    plain: bool


@dataclass(frozen=True)
class EntryExplained:
    """`use_key` is the key under which the use was reported or the hold was settled, None for what is neither."""

    version: int
    at: datetime
    kind: str
    words: str
    amount: int
    rule: str
    use_key: str | None
    hold: SettledHold | None
    grant: Source | None
    balance: Derivation
    parts: Derivation | None


def explain_entry(team_id: str, version: int) -> EntryExplained | None:
    """None when the team has no such entry."""
    found = send(ENTRY, team_id=team_id, version=version)
    if not found:
        return None
    entry = found[0]
    takes = send(TAKES, team_id=team_id, entry_id=entry.id)
    used = entry.kind == "spent"
    return EntryExplained(
        version=entry.version,
        at=entry.at,
        kind=entry.kind,
        words="Usage" if used else grant_words(entry.kind, entry.grant_kind, entry.source),
        amount=entry.amount,
        rule=ORDER_WORDS.get(entry.spend_order or "", ""),
        use_key=entry.cause_key.removeprefix(USE) if used and entry.cause_key.startswith(USE) else None,
        hold=SettledHold(entry.hold_id, entry.held, plain=entry.meter is None) if entry.hold_id else None,
        grant=Source("grant", {"cause": entry.grant_cause}) if entry.grant_cause else None,
        balance=_balance(entry),
        parts=_parts(entry, takes),
    )


def _balance(entry: Row) -> Derivation:
    before = entry.balance_after - entry.amount
    earlier = Source("entry", {"version": entry.version - 1}) if entry.version > 1 else None
    words = "Used" if entry.kind == "spent" else KIND_WORDS[entry.kind]
    terms = [Term("Balance before", before, "", earlier), Term(words, entry.amount)]
    return derivation("The balance", terms, "Balance after", entry.balance_after)


def _parts(entry: Row, takes: Sequence[Row]) -> Derivation | None:
    """What it was taken from; of a grant, what of it went into a debt at once."""
    if entry.kind == "frozen":
        return None
    if entry.amount > 0:
        repaid = sum(take.amount for take in takes)
        if not repaid:
            return None
        terms = [Term(KIND_WORDS[entry.kind], entry.amount), Term("Repaid what was owed", -repaid)]
        return derivation("What was left to spend of it", terms, "To spend", entry.amount - repaid)
    terms = [
        Term(
            grant_words("granted", take.kind, take.source),
            take.amount,
            _place(entry, take),
            Source("grant", {"cause": take.cause_key}),
        )
        for take in takes
    ]
    owed = -entry.amount - sum(take.amount for take in takes) if entry.kind == "reversed" else 0
    debt = Term("Spent already, and owed from then on", owed)
    total = {"spent": "Used", "expired": "Expired", "reversed": "Taken back"}[entry.kind]
    return derivation("What it was taken from", [*terms, debt], total, -entry.amount)


def _place(entry: Row, take: Row) -> str:
    if entry.kind == "reversed":
        return "What was left of it" if take.id == entry.grant_id else "In its place, as its own were spent"
    return f"until {take.expires_at:%-d %b %Y}" if take.expires_at else "does not expire"
