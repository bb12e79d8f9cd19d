"""The tables of the core, gathered so that migrations see them."""

from portal.core.alarms import Alarm
from portal.core.clock import ClockOffset
from portal.core.idempotency import IdempotencyKey
from portal.core.readings import StoredReading
from portal.core.schedule import ScheduledTask

__all__ = ["Alarm", "ClockOffset", "IdempotencyKey", "ScheduledTask", "StoredReading"]
