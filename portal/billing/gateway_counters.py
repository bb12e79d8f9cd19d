"""How often Stripe is asked for what, what comes of it, and how long that takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from portal.core.metrics import counter, histogram

CALLS = counter("billing_stripe_requests_total", "Calls to Stripe, by what came of them.", "operation", "outcome")
SECONDS = histogram("billing_stripe_request_duration_seconds", "How long calls to Stripe took.", "operation")


@contextmanager
def measured(operation: str) -> Iterator[None]:
    """`operation` is the name of one of the library's functions; the outcome is `ok`, or the error's class."""
    started, outcome = time.monotonic(), "ok"
    try:
        yield
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        CALLS.labels(operation=operation, outcome=outcome).inc()
        SECONDS.labels(operation=operation).observe(time.monotonic() - started)
