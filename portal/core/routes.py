"""Routes of the core: health."""

from portal.core.health import bp

BLUEPRINTS = [bp]
