"""What the worker does for exports: their next steps, and clearing away those whose week is over."""

from __future__ import annotations

from datetime import timedelta

from portal.core.schedule import Task
from portal.core.unit_of_work import unit_of_work
from portal.exports import making

# Few, so that mails and Stripe's events wait for no file.
STEPS_A_ROUND = 3


def drain_exports() -> int:
    return making.drain(STEPS_A_ROUND)


def forget_old_exports() -> int:
    with unit_of_work():
        return making.forget_old()


DRAINS = (drain_exports,)
SCHEDULE = {"exports.old": Task(forget_old_exports, timedelta(hours=1))}
