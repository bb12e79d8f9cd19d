"""Pages of the billing feature: the dashboard, payments and invoices, changes of plan and seats, and the ways to Stripe's
pages and back.
"""

from portal.billing.routes import addons, checkout, history, leave, overview, plan, portal, seats

BLUEPRINTS = [overview.bp]

__all__ = ["BLUEPRINTS", "addons", "checkout", "history", "leave", "plan", "portal", "seats"]
