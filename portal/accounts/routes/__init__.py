"""Pages of the accounts feature."""

from portal.accounts.routes.api_keys import bp as api_keys
from portal.accounts.routes.people import bp as people

BLUEPRINTS = [people, api_keys]
