"""Pages of the billing feature: the dashboard, payments and invoices, and the ways to Stripe's pages and back."""

from portal.billing.routes import checkout, history, overview, portal

BLUEPRINTS = [overview.bp]

__all__ = ["BLUEPRINTS", "checkout", "history", "portal"]
