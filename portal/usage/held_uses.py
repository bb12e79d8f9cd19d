"""Holds as the reporter of uses asks for them: with a key for each request, for credits or for a use of a meter.

All that one does is done in the caller's unit of work with the answer that is kept of it: the same key with the same
request is answered as it was then, byte for byte (I8). The keys are those of `metering.py`: a settlement of a hold for
a meter is a report of use, recorded as any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from portal.core.database import send
from portal.core.ids import new_id
from portal.core.statements import Statement
from portal.core.unit_of_work import after_commit
from portal.credits import holds
from portal.credits.auto_purchase import intend_if_crossed
from portal.credits.errors import CauseConflict
from portal.credits.held_credits import find_hold
from portal.credits.holds import Held
from portal.credits.models import CreditHold
from portal.credits.queries import balance
from portal.credits.storage import lock_account
from portal.usage import storage
from portal.usage.budgets import stopping_budgets
from portal.usage.metering import CONSUMED, refusal_of
from portal.usage.storage import CREATED, Found, Stored
from portal.usage.uses import (
    Answer,
    CreditsFrozen,
    KeyReused,
    MeteringError,
    Recorded,
    UnknownMember,
    UnknownMeter,
    Use,
)

KEEP = Statement(
    "insert into usage_keys (team_id, key, request_hash, status, body, created_at)"
    " values (:team_id, :key, :request_hash, :status, :body, :at) on conflict do nothing returning 1"
)


class NoCreditsTaken(MeteringError):
    """The meter is billed by Stripe: its uses take no credits that could be held."""


class NoSuchHold(MeteringError):
    """The team has no hold of this name."""


class MoreThanHeld(MeteringError):
    """More was used than is held; `unit` is `amount` or `quantity`, `held` how much of it there is."""

    def __init__(self, unit: str, held: int) -> None:
        super().__init__(f"{held} are held")
        self.unit, self.held = unit, held


class WrongUnit(MeteringError):
    """A hold for a meter is settled by its `quantity`, one for credits by its `amount`: `unit` is the one to give."""

    def __init__(self, unit: str) -> None:
        super().__init__(f"this hold is settled by its {unit}")
        self.unit = unit


@dataclass(frozen=True)
class Asked:
    """A request about a hold: the reporter's `key` for it, and what is asked for.

    To hold takes an `amount` of credits, or a `meter` and a `quantity`, which may be for a member (`user_id`). To settle takes
    `hold_id` and one of the two.
    """

    team_id: str
    key: str
    act: str
    hold_id: str | None = None
    amount: int | None = None
    meter: str | None = None
    quantity: int | None = None
    expires_in: timedelta | None = None
    api_key_id: str | None = None
    user_id: str | None = None

    @property
    def request_hash(self) -> str:
        """What makes two requests the same one."""
        seconds = self.expires_in.total_seconds() if self.expires_in else None
        content: list[object] = [self.act, self.hold_id, self.amount, self.meter, self.quantity, seconds]
        if self.user_id is not None:
            content.append(self.user_id)
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True)
class Done:
    """What became of a hold. `available` is what can be spent now, in credits; `use_id` the use that was recorded."""

    held: Held
    available: int
    use_id: str | None = None


Tell = Callable[[Done], str]


def hold(asked: Asked, tell: Tell) -> Answer:
    """Hold credits, and keep what `tell` says of it.

    Raises `KeyReused`, `UnknownMeter`, `NoCreditsTaken`, `UnknownMember`, `CreditsFrozen`, `BudgetExceeded`, and the
    ledger's `InsufficientCredits`.
    """
    assert asked.expires_in is not None
    found = _find(asked)
    if found.budgeted:
        # No two may pass a budget together, and one that was held meanwhile under the same key is not held again.
        lock_account(asked.team_id)
        found = _find(asked)
    stored = _stored(asked, found)
    if stored:
        return stored
    amount = _amount_asked(asked, found)
    if asked.user_id is not None and asked.user_id not in found.members:
        raise UnknownMember(f"{asked.user_id} is no member of the team")
    if found.frozen:
        raise CreditsFrozen(f"the credits of {asked.team_id} are frozen")
    if found.budgeted:
        _keep_to_budget(asked, amount, found.now)
    try:
        held = holds.hold(
            asked.team_id,
            amount,
            _cause(asked),
            asked.expires_in,
            meter=asked.meter,
            quantity=asked.quantity,
            api_key_id=asked.api_key_id,
            user_id=asked.user_id,
        )
    except CauseConflict as error:
        raise KeyReused from error
    intend_if_crossed(asked.team_id, needs_purchase=held.needs_purchase)
    return _keep(asked, Done(held, balance(asked.team_id).available), held.created_at, tell)


def hold_for(use: Use, expires_in: timedelta) -> str | None:
    """Hold what a use that is about to happen will cost, in the current unit; returns the hold's id.

    None where nothing is to be held: it is recorded already, or costs nothing. Raises as `metering.record` would.
    """
    lock_account(use.team_id)
    found = storage.find(use.team_id, [use])
    if (refusal := refusal_of(use, found)) is not None:
        raise refusal
    amount = (found.meters[use.meter].cost or 0) * use.quantity
    if use.key in found.stored or not amount:
        return None
    whose = {"api_key_id": use.api_key_id, "user_id": use.user_id}
    held = holds.hold(use.team_id, amount, new_id("call"), expires_in, meter=use.meter, quantity=use.quantity, **whose)
    intend_if_crossed(use.team_id, needs_purchase=held.needs_purchase)
    return held.id


def settle(asked: Asked, tell: Tell) -> Answer:
    """Spend what was used of a hold and give back the rest, and keep what `tell` says of it.

    What a meter's use costs is what it cost when it was held. Raises `KeyReused`, `NoSuchHold`, `WrongUnit`,
    `MoreThanHeld`, and the ledger's `HoldClosed`.
    """
    stored = _stored(asked, _find(asked))
    if stored:
        return stored
    row = _hold_of(asked)
    amount = _amount_used(asked, row)
    try:
        spent = holds.settle(asked.team_id, row.id, amount, _cause(asked))
    except CauseConflict as error:
        raise KeyReused from error
    # Whoever had the account's lock before us may have used the key for what makes no entry.
    stored = _stored(asked, _find(asked))
    if stored:
        return stored
    assert spent.at is not None
    held = replace(holds.as_held(row), state="settled", settled=amount, closed_at=spent.at)
    available = balance(asked.team_id).available
    if row.meter is None or asked.quantity is None:
        return _keep(asked, Done(held, available), spent.at, tell)
    # It counts towards the budgets of the key that has it held and of the member it is for, which were asked then.
    use = Use(asked.team_id, asked.key, row.meter, asked.quantity, row.api_key_id or asked.api_key_id, row.user_id)
    recorded = Recorded(new_id("use"), use, amount, spent.balance, spent.at, occurred_at=spent.at)
    body = tell(Done(held, available, recorded.id))
    after_commit(CONSUMED.labels(meter=use.meter).inc, amount)
    storage.save(asked.team_id, [(recorded, Stored(asked.request_hash, CREATED, body), spent.entry_id)], spent.at)
    return Answer(CREATED, body, replayed=False)


def release(asked: Asked, tell: Tell) -> Answer:
    """Give back all that is held, and keep what `tell` says of it. Raises `KeyReused`, `NoSuchHold`, and `HoldClosed`."""
    stored = _stored(asked, _find(asked))
    if stored:
        return stored
    held = holds.release(asked.team_id, _hold_of(asked).id)
    assert held.closed_at is not None
    return _keep(asked, Done(held, balance(asked.team_id).available), held.closed_at, tell)


def _cause(asked: Asked) -> str:
    """Holds and uses share their keys, so they share their causes."""
    return f"usage:{asked.key}"


def _keep_to_budget(asked: Asked, amount: int, now: datetime) -> None:
    """Raises `BudgetExceeded`. What is held may all be used, so all of it must fit. The account's lock is held."""
    use = _use(asked)
    refusal = stopping_budgets(asked.team_id, [(use, now)]).refusal(use, amount, now)
    if refusal is not None:
        raise refusal


def _use(asked: Asked) -> Use:
    return Use(asked.team_id, asked.key, asked.meter or "", asked.quantity or 1, asked.api_key_id, asked.user_id)


def _find(asked: Asked) -> Found:
    return storage.find(asked.team_id, [_use(asked)])


def _stored(asked: Asked, found: Found) -> Answer | None:
    stored = found.stored.get(asked.key)
    if stored is None:
        return None
    if stored.request_hash != asked.request_hash:
        raise KeyReused
    return Answer(stored.status, stored.body, replayed=True)


def _amount_asked(asked: Asked, found: Found) -> int:
    """In credits: as many as are asked for, or what the use of a meter costs."""
    if asked.meter is None or asked.quantity is None:
        return asked.amount or 0
    terms = found.meters.get(asked.meter)
    if terms is None:
        raise UnknownMeter(f"there is no meter {asked.meter!r}")
    if terms.cost is None:
        raise NoCreditsTaken(f"uses of {asked.meter!r} take no credits")
    return terms.cost * asked.quantity


def _hold_of(asked: Asked) -> CreditHold:
    row = find_hold(asked.team_id, asked.hold_id or "")
    if row is None:
        raise NoSuchHold(asked.hold_id)
    return row


def _amount_used(asked: Asked, row: CreditHold) -> int:
    """In credits. Of a meter's use each unit costs what it did when it was held."""
    if row.quantity is None:
        return _at_most(asked.amount, "amount", row.amount)
    return _at_most(asked.quantity, "quantity", row.quantity) * (row.amount // row.quantity)


def _at_most(used: int | None, unit: str, held: int) -> int:
    if used is None:
        raise WrongUnit(unit)
    if used > held:
        raise MoreThanHeld(unit, held)
    return used


def _keep(asked: Asked, done: Done, at: datetime, tell: Tell) -> Answer:
    """Keep the answer. Of two that came with the key at once, the second finds that of the first."""
    body = tell(done)
    values = {
        "team_id": asked.team_id,
        "key": asked.key,
        "request_hash": asked.request_hash,
        "status": CREATED,
        "body": body,
        "at": at,
    }
    if send(KEEP, **values):
        return Answer(CREATED, body, replayed=False)
    stored = _stored(asked, _find(asked))
    assert stored is not None
    return stored
