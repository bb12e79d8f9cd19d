"""Pages of the billing feature: the dashboard, payments and invoices, changes of plan and seats, billing details, and the
ways to Stripe's pages and back.
"""

from portal.billing.routes import addons, checkout, details, history, invoice, leave, overview, plan, portal, seats

BLUEPRINTS = [overview.bp]

__all__ = ["BLUEPRINTS", "addons", "checkout", "details", "history", "invoice", "leave", "plan", "portal", "seats"]
