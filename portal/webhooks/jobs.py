"""What the worker does for this feature: the sweep that finds what a lost hint or a dead worker left behind."""

from __future__ import annotations

from functools import partial

from portal.core.jobs import ROUND
from portal.webhooks.apply import drain

DRAINS = (partial(drain, ROUND),)
