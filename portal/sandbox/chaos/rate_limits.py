"""Stripe's rate limits, when they are switched on: so many calls in each second, and as many at one endpoint."""

from collections import Counter
from collections.abc import Callable
from threading import Lock

from portal.sandbox.errors import RateLimitedError, rate_limited

# Stripe lets 25 a second through in a sandbox, and 25 at one endpoint in any case.
PER_ENDPOINT_MAX = 25


class RateLimits:
    """Counts the calls of the present second."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._lock = Lock()
        self._second = 0
        self._counts: Counter[str] = Counter()

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
