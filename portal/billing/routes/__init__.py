"""Pages of the billing feature: the dashboard, and the way to and back from Stripe's checkout page."""

from portal.billing.routes import checkout, overview

BLUEPRINTS = [overview.bp]

__all__ = ["BLUEPRINTS", "checkout"]
