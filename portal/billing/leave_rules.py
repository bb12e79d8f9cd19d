"""Which of leaving a plan, staying, pausing and going on is possible in which state of its subscription."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from portal.billing.change_refused import ChangeRefused
from portal.billing.models import LIVE_STATUSES
from portal.catalog.definition import CancelNow

# Something runs in these states, so that there is an end to wait for; in the other live ones a plan can only end at once.
RUNNING = ("trialing", "active", "past_due")


@dataclass(frozen=True)
class Standing:
    """A subscription as far as leaving it goes. `ending`: it is to end by itself. The last two are the catalog's word."""

    status: str
    ending: bool
    cancel_now: CancelNow
    may_pause: bool


def refuse(act: str, standing: Standing) -> None:
    """Raises `ChangeRefused` when the act (a key of `LEAVE_KINDS`) is not possible."""
    reason = "no_plan" if standing.status not in LIVE_STATUSES else _RULES[act](standing)
    if reason is not None:
        raise ChangeRefused(reason)


def may(act: str, standing: Standing) -> bool:
    try:
        refuse(act, standing)
    except ChangeRefused:
        return False
    return True


def _cancel(standing: Standing) -> str | None:
    if standing.status not in RUNNING:
        return "only_now"
    return "ending_already" if standing.ending else None


def _cancel_now(standing: Standing) -> str | None:
    """Where nothing runs there is nothing to give back either, so that the catalog's word on that does not matter."""
    return "only_at_the_end" if standing.cancel_now == "no" and standing.status in RUNNING else None


def _resume(standing: Standing) -> str | None:
    return None if standing.ending else "not_ending"


def _pause(standing: Standing) -> str | None:
    if standing.status == "paused":
        return "paused_already"
    if not standing.may_pause:
        return "no_pause"
    if standing.ending:
        return "ending"
    return {"active": None, "trialing": "trial"}.get(standing.status, "past_due")


def _unpause(standing: Standing) -> str | None:
    return None if standing.status == "paused" else "not_paused"


_RULES: dict[str, Callable[[Standing], str | None]] = {
    "cancel": _cancel,
    "cancel_now": _cancel_now,
    "resume": _resume,
    "pause": _pause,
    "unpause": _unpause,
}
