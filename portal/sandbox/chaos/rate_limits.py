"""Stripe's rate limits, when they are switched on: so many calls in each second, as many at one endpoint, and so many
changes of one subscription's quantities in each hour.
"""

from collections import Counter
from collections.abc import Callable
from threading import Lock

from portal.sandbox.endpoints import Values
from portal.sandbox.errors import RateLimitedError, rate_limited
from portal.sandbox.store import Store

# Stripe lets 25 a second through in a sandbox, and 25 at one endpoint in any case.
PER_ENDPOINT_MAX = 25
QUANTITY_CHANGES_MAX = 200
_HOUR = 3600


class RateLimits:
    """Counts the calls of the present second, and by subscription the changes of the present hour."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._lock = Lock()
        self._second = 0
        self._counts: Counter[str] = Counter()
        self._hour = 0
        self._changes: Counter[str] = Counter()

    def refusal(self, per_second: int, endpoint: str) -> RateLimitedError | None:
        """Count one call; returns the 429 when it is one too many. `per_second` is 0 while there is no limit."""
        if not per_second:
            return None
        with self._lock:
            second = int(self._wall())
            if second != self._second:
                self._second = second
                self._counts.clear()
            self._counts.update(("", endpoint))
            if self._counts[""] > per_second:
                return rate_limited("global-rate")
            return rate_limited("endpoint-rate") if self._counts[endpoint] > PER_ENDPOINT_MAX else None

    def refusal_of_change(self, subscription_id: str, now: int) -> RateLimitedError | None:
        """Count one change of a subscription's quantities; returns the 429 when it is one too many in this hour."""
        with self._lock:
            if now // _HOUR != self._hour:
                self._hour = now // _HOUR
                self._changes.clear()
            self._changes[subscription_id] += 1
            return rate_limited("resource-specific") if self._changes[subscription_id] > QUANTITY_CHANGES_MAX else None


def subscription_changed(store: Store, endpoint: str, ids: list[str], values: Values) -> str | None:
    """Return the subscription of which a request changes a quantity, or None when it changes none."""
    if endpoint == "POST /v1/subscriptions/{subscription}":
        sent = values.get("items", [])
    elif endpoint == "POST /v1/subscription_items/{item}":
        sent = [values | {"id": ids[0]}]
    else:
        return None
    for one in sent:
        item = store.get("subscription_item", one.get("id", "")) if "quantity" in one else None
        if item is not None and item["quantity"] != one["quantity"]:
            return str(item["subscription"])
    return None
