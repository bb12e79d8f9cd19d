"""Pages of the usage feature, all on one blueprint."""

from portal.usage.routes import budgets
from portal.usage.routes.usage_page import bp

BLUEPRINTS = [bp]

__all__ = ["BLUEPRINTS", "budgets"]
