"""Recording a use: its credits, its event and its answer in one unit of work, once for each key.

The keys are the reporter's own and belong to the team. The same key with the same use is answered with the stored
answer, byte for byte (I8); a use that cannot be paid leaves nothing behind, so that its key may succeed later (I9).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from portal.core.database import send
from portal.core.ids import new_id
from portal.core.metrics import counter
from portal.core.statements import Row, Statement
from portal.core.unit_of_work import after_commit
from portal.credits.auto_purchase import intend_if_crossed
from portal.credits.ledger import CauseConflict, spend
from portal.usage.queries import credit_meters

CREATED = 200

# A meter's name is the catalog's by the time it is counted.
CONSUMED = counter("billing_credits_consumed_total", "Credits that uses have taken.", "meter")

# One round trip before the account's lock: what stands under the key, what the meter costs, and whether the state of the
# team's subscription lets credits be spent.
FIND = Statement(
    "select k.request_hash, k.status, k.body, m.mode, m.cost_credits,"
    " (select st.credits_frozen from team_standing st where st.team_id = :team_id) as frozen"
    " from (values (1)) as one"
    " left join usage_keys k on k.team_id = :team_id and k.key = :key"
    " left join meters m on m.key = :meter and m.archived_at is null"
)

SAVE = Statement(
    "with kept as ("
    "  insert into usage_keys (team_id, key, request_hash, status, body, created_at)"
    "  values (:team_id, :key, :request_hash, :status, :body, :at)"
    ")"
    " insert into usage_events"
    "  (id, team_id, key, api_key_id, meter, quantity, cost, entry_id, occurred_at)"
    " values (:id, :team_id, :key, :api_key_id, :meter, :quantity, :cost, :entry_id, :at)"
)


class MeteringError(Exception):
    """The parent of what metering refuses. Nothing was recorded."""


class KeyReused(MeteringError):
    """The key stands for another use already."""


class UnknownMeter(MeteringError):
    """There is no meter of this name; `known` are those that take credits."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no meter {name!r}")
        self.name, self.known = name, known


class MeterNotAvailable(MeteringError):
    """The meter is billed by Stripe and not in credits, which uses cannot be reported for yet."""


class CreditsFrozen(MeteringError):
    """The state of the team's subscription lets no credit be spent."""


@dataclass(frozen=True)
class Use:
    """A report of use. `key` is the reporter's name for it; `api_key_id` says which key of the API it came with."""

    team_id: str
    key: str
    meter: str
    quantity: int
    api_key_id: str | None = None

    @property
    def request_hash(self) -> str:
        """What makes two reports the same one."""
        content = json.dumps({"meter": self.meter, "quantity": self.quantity}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Recorded:
    """A use that is in the books. `cost` and `balance` (what was left) are in credits."""

    id: str
    use: Use
    cost: int
    balance: int
    at: datetime


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    replayed: bool


def record(use: Use, answer: Callable[[Recorded], str]) -> Answer:
    """Record a use and keep `answer` of it; a use that is recorded already is answered as it was then.

    Raises `KeyReused`, `UnknownMeter`, `MeterNotAvailable`, `CreditsFrozen`, and the ledger's `InsufficientCredits`.
    """
    found = _find(use)
    stored = _stored(use, found)
    if stored:
        return stored
    cost = _cost(use, found)
    if found.frozen:
        raise CreditsFrozen(f"the credits of {use.team_id} are frozen")
    try:
        spent = spend(use.team_id, cost, f"usage:{use.key}")
    except CauseConflict:
        spent = None
    if spent is None or spent.at is None:
        # Somebody took the key while we waited for the account's lock, and is done: the key's row says what for.
        stored = _stored(use, _find(use))
        if stored is None:
            raise KeyReused
        return stored
    recorded = Recorded(id=new_id("use"), use=use, cost=cost, balance=spent.balance, at=spent.at)
    body = answer(recorded)
    after_commit(CONSUMED.labels(meter=use.meter).inc, cost)
    _save(recorded, body, spent.entry_id)
    intend_if_crossed(use.team_id, needs_purchase=spent.needs_purchase)
    return Answer(CREATED, body, replayed=False)


def _find(use: Use) -> Row:
    return send(FIND, team_id=use.team_id, key=use.key, meter=use.meter)[0]


def _stored(use: Use, found: Row) -> Answer | None:
    if found.request_hash is None:
        return None
    if found.request_hash != use.request_hash:
        raise KeyReused
    return Answer(found.status, found.body, replayed=True)


def _cost(use: Use, meter: Row) -> int:
    """What the use takes, in credits."""
    if meter.mode is None:
        raise UnknownMeter(use.meter, credit_meters())
    if meter.mode != "credits":
        raise MeterNotAvailable(f"the meter {use.meter!r} is not paid in credits")
    return int(meter.cost_credits) * use.quantity


def _save(recorded: Recorded, body: str, entry_id: int) -> None:
    use = recorded.use
    values = {
        "id": recorded.id,
        "team_id": use.team_id,
        "key": use.key,
        "api_key_id": use.api_key_id,
        "meter": use.meter,
        "quantity": use.quantity,
        "cost": recorded.cost,
        "entry_id": entry_id,
        "request_hash": use.request_hash,
        "status": CREATED,
        "body": body,
        "at": recorded.at,
    }
    send(SAVE, **values)
