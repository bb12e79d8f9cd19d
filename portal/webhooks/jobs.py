"""What the worker does for this feature: the sweep that finds what a lost hint or a dead worker left behind."""

from __future__ import annotations

from portal.webhooks.apply import drain

DRAINS = (drain,)
