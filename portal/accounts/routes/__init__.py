"""Pages of the accounts feature, all on one blueprint."""

from portal.accounts.routes.api_keys import bp as api_keys
from portal.accounts.routes.people import bp as people

assert api_keys is people, "both modules put their views on one blueprint"

BLUEPRINTS = [people]
