"""Pages of the credits feature, all on one blueprint."""

from portal.credits.routes import explain
from portal.credits.routes.credits_page import bp

BLUEPRINTS = [bp]

__all__ = ["BLUEPRINTS", "explain"]
