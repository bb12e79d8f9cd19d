"""The web process: `gunicorn wsgi:app`, `flask --app wsgi …`."""

import sys

from portal import create_app
from portal.settings import SettingsError

try:
    app = create_app()
except SettingsError as error:
    sys.exit(f"turnpike: {error}")
