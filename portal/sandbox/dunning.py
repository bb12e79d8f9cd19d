"""When a payment that was refused is tried again, and what becomes of the plan when every try has failed.

The days are counted from the first failure. Both settings can be changed while the sandbox runs; what was changed is
kept in the state and goes before what the sandbox was started with.
"""

import json
from dataclasses import dataclass

from portal.sandbox.call import Call
from portal.sandbox.resources import invoices
from portal.sandbox.store import Object

AFTERWARDS = ("cancel", "past_due", "unpaid")
RETRIES_MAX = 8
_STATE = "dunning"
_TRIED_AGAIN = ("subscription_create", "subscription_cycle", "subscription_update")


@dataclass(frozen=True)
class Policy:
    """The days after the first failure on which it is tried again, and what comes `afterwards`."""

    retry_days: tuple[int, ...]
    afterwards: str


def policy(call: Call) -> Policy:
    """Return the policy at work."""
    kept = json.loads(call.store.read_state(_STATE, "{}"))
    return Policy(
        tuple(kept.get("retry_days", call.configuration.retry_days)),
        kept.get("afterwards", call.configuration.after_retries),
    )


def change(call: Call, chosen: Policy) -> None:
    """Keep another policy; invoices that are being tried already go on by it after their next try."""
    call.store.write_state(_STATE, json.dumps({"retry_days": chosen.retry_days, "afterwards": chosen.afterwards}))


def is_possible(retry_days: tuple[int, ...]) -> bool:
    """Say whether retries can fall on these days: each after the one before, and not too many."""
    ordered = all(earlier < later for earlier, later in zip((0, *retry_days), retry_days, strict=False))
    return ordered and len(retry_days) <= RETRIES_MAX


def next_attempt(call: Call, invoice: Object) -> int | None:
    """Return when an invoice is tried again after another failure, or None when that was the last try."""
    subscription = invoices.subscription_of(call, invoice)
    # What is incomplete is not tried again: who began to subscribe is still there, or has gone.
    if subscription is None or subscription["status"] == "incomplete" or invoice["billing_reason"] not in _TRIED_AGAIN:
        return None
    days = policy(call).retry_days
    tried_again = invoice["attempt_count"] - 1
    if tried_again >= len(days):
        return None
    return int(invoice["_first_tried_at"]) + days[tried_again] * 86400
