"""Breaking the delivery of an event: what is to happen to it is decided when it is queued, and stands beside it."""

from dataclasses import dataclass

from portal.sandbox.chaos import book
from portal.sandbox.store import Store

_LOST = "Lost on the way: the sandbox was told to."


@dataclass(frozen=True)
class Disturbance:
    """What happens to one delivery. `copies` are still to be sent after it was taken, `lost` attempts come to nothing."""

    copies: int = 0
    lost: int = 0
    thin: bool = False
    api_version: str | None = None

    def loses(self, attempts: int) -> str | None:
        """Return the error of the next attempt if it is lost, after so many of them."""
        return _LOST if attempts < self.lost else None


def disturb(store: Store, delivery_id: int, event_type: str) -> float:
    """Decide what happens to a delivery and write it down; returns by how many seconds it is held back."""
    pause = 0.0
    for strike in book.strikes(store, "events", event_type):
        rule = strike.rule
        pause = max(pause, rule.milliseconds / 1000)
        value = rule.api_version if rule.fault == "old_version" else str(rule.count)
        sql = "INSERT OR REPLACE INTO disturbances (delivery_id, fault, value) VALUES (?, ?, ?)"
        store.execute(sql, (delivery_id, rule.fault, value))
        book.note(store, "events", rule.fault, event_type)
    return pause


def faults_of(store: Store, delivery_id: int) -> dict[str, str]:
    """Return the faults of a delivery with what belongs to each."""
    rows = store.query("SELECT fault, value FROM disturbances WHERE delivery_id = ?", (delivery_id,))
    return {row["fault"]: row["value"] for row in rows}


def of_delivery(store: Store, delivery_id: int) -> Disturbance:
    """Return what was decided for a delivery."""
    faults = faults_of(store, delivery_id)
    return Disturbance(
        copies=int(faults.get("duplicate", 0)),
        lost=int(faults.get("drop", 0)),
        thin="thin" in faults,
        api_version=faults.get("old_version"),
    )


def copy_sent(store: Store, delivery_id: int) -> None:
    """Count one copy less that is still to be sent."""
    sql = "UPDATE disturbances SET value = value - 1 WHERE delivery_id = ? AND fault = 'duplicate'"
    store.execute(sql, (delivery_id,))


def forget(store: Store, delivery_id: int) -> None:
    """Let a delivery go undisturbed from now on."""
    store.execute("DELETE FROM disturbances WHERE delivery_id = ?", (delivery_id,))


def let_go_before(store: Store, endpoint_id: str, delivery_id: int, now: float) -> None:
    """Send what was held back for a later event of its endpoint, now that one was taken."""
    sql = (
        "UPDATE deliveries SET next_at = ? WHERE endpoint_id = ? AND id < ? AND state = 'pending' AND attempts = 0"
        " AND id IN (SELECT delivery_id FROM disturbances WHERE fault = 'reorder')"
    )
    store.execute(sql, (now, endpoint_id, delivery_id))
