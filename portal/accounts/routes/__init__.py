"""Pages of the accounts feature, all on one blueprint."""

from portal.accounts.routes import account, api_keys, audit, invitations, members, teams, two_factor
from portal.accounts.routes.people import bp

assert all(module.bp is bp for module in (account, api_keys, audit, invitations, members, teams, two_factor)), (
    "one blueprint"
)

BLUEPRINTS = [bp]
