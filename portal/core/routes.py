"""Routes of the core: health and metrics."""

from portal.core.health import bp as health
from portal.core.metrics import bp as metrics

BLUEPRINTS = [health, metrics]
