"""What the worker does for the API: forgetting answers that nobody asks for again."""

from __future__ import annotations

from datetime import timedelta

from portal.core import idempotency
from portal.core.schedule import Task
from portal.core.unit_of_work import unit_of_work


def sweep_idempotency_keys() -> int:
    with unit_of_work():
        return idempotency.sweep()


SCHEDULE = {"api.idempotency_keys": Task(sweep_idempotency_keys, timedelta(minutes=15))}
