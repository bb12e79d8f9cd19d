"""Pages of the billing feature: the dashboard, and the way to and back from Stripe's checkout page."""

from portal.billing.routes.checkout import bp as checkout
from portal.billing.routes.overview import bp as overview

BLUEPRINTS = [overview]

assert checkout is overview, "both modules put their views on one blueprint"
