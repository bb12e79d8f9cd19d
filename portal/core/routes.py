"""Routes of the core: health, metrics, and the style and the scripts of every page."""

from portal.core.bundles import bp as bundles
from portal.core.health import bp as health
from portal.core.metrics import bp as metrics

BLUEPRINTS = [health, metrics, bundles]
