"""Pages of the credits feature, all on one blueprint."""

from portal.credits.routes import explain
from portal.credits.routes.credits_page import bp

assert explain.bp is bp, "one blueprint"

BLUEPRINTS = [bp]
