"""Pages of the credits feature, all on one blueprint."""

from portal.credits.routes import auto_purchase, explain
from portal.credits.routes.credits_page import bp

BLUEPRINTS = [bp]

__all__ = ["BLUEPRINTS", "auto_purchase", "explain"]
