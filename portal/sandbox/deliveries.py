"""What is to be sent where: one row for each event and each destination that asked for it."""

import time

from portal.sandbox import destinations
from portal.sandbox.call import Call
from portal.sandbox.chaos import deliveries as chaos
from portal.sandbox.store import Object


def queue(call: Call, event: Object) -> None:
    """Queue an event for every destination that wants it, undisturbed or as chaos has it."""
    for endpoint in destinations.enabled(call):
        if destinations.wants(endpoint, event["type"]):
            call.store.execute(
                "INSERT INTO deliveries (event_id, endpoint_id, next_at) VALUES (?, ?, ?)",
                (event["id"], endpoint["id"], time.time()),
            )
            number = call.store.query("SELECT last_insert_rowid() AS id")[0]["id"]
            pause = chaos.disturb(call.store, number, event["type"])
            if pause:
                call.store.execute("UPDATE deliveries SET next_at = next_at + ? WHERE id = ?", (pause, number))


def send_again(call: Call, event: Object, endpoint_id: str | None = None) -> int:
    """Send an event once more, undisturbed, to one enabled destination or to all; returns to how many.

    Also to those that had not asked for it, or that were not there when it happened: somebody wants it sent now.
    """
    chosen = [one for one in destinations.enabled(call) if endpoint_id in (None, one["id"])]
    for endpoint in chosen:
        call.store.execute(
            "INSERT INTO deliveries (event_id, endpoint_id, next_at) VALUES (?, ?, ?)"
            " ON CONFLICT (event_id, endpoint_id) DO UPDATE SET state = 'pending', next_at = excluded.next_at",
            (event["id"], endpoint["id"], time.time()),
        )
        same = (event["id"], endpoint["id"])
        found = call.store.query("SELECT id FROM deliveries WHERE event_id = ? AND endpoint_id = ?", same)
        chaos.forget(call.store, found[0]["id"])
    return len(chosen)
