"""Where events go: webhook endpoints of API v1, and event destinations of API v2, which may ask for thin events."""

from portal.sandbox.call import Call
from portal.sandbox.ids import new_id
from portal.sandbox.store import Object, Store

TYPES = ("webhook_endpoint", "v2.core.event_destination")


def all_of(call: Call) -> list[Object]:
    """Return every destination, of each kind the oldest first."""
    return [one for type_name in TYPES for one in call.store.find(type_name, oldest_first=True)]


def enabled(call: Call) -> list[Object]:
    """Return every destination that is to be sent events."""
    return [one for one in all_of(call) if one["status"] == "enabled"]


def find(store: Store, destination_id: str) -> Object | None:
    """Return a destination of either kind."""
    return next((one for type_name in TYPES if (one := store.get(type_name, destination_id)) is not None), None)


def wants(destination: Object, event_type: str) -> bool:
    """Say whether a destination asked for this type of event; thin ones have names of their own."""
    asked = destination["enabled_events"]
    return "*" in asked or (f"v1.{event_type}" if is_thin(destination) else event_type) in asked


def is_thin(destination: Object) -> bool:
    """Say whether a destination is told only what happened to which object."""
    return destination.get("event_payload") == "thin"


def address(destination: Object) -> str:
    """Return where a destination listens."""
    return str(destination.get("url") or destination["webhook_endpoint"]["url"])


def secrets(destination: Object, now: int) -> list[str]:
    """Return what signs for a destination: the present secret, and the one before it while that is still good."""
    old_until = destination.get("_old_secret_until") or 0
    return [destination["_secret"], *([destination["_old_secret"]] if old_until > now else [])]


def roll_secret(call: Call, destination: Object, overlap_seconds: int) -> Object:
    """Give a destination a new secret; the old one signs too for `overlap_seconds` by the sandbox's clock."""
    old_until = call.now() + overlap_seconds
    rolled = {"_secret": new_id("whsec", 32), "_old_secret": destination["_secret"], "_old_secret_until": old_until}
    return call.store.save(destination | rolled)


def drop_pending(call: Call, destination_id: str) -> None:
    """Send nothing more of what still waits for a destination."""
    call.store.execute(
        "UPDATE deliveries SET state = 'canceled' WHERE endpoint_id = ? AND state = 'pending'", (destination_id,)
    )
