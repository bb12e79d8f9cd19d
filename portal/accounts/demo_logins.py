"""The published logins of the demo data, which is never made in production (`flask demo seed`)."""

from __future__ import annotations

DEMO_PASSWORD = "turnpike-demo"  # noqa: S105  known to everybody, for development only
DEMO_LOGINS = [
    (name.capitalize(), f"{name}@example.com") for name in ("owner", "admin", "billing", "member", "outsider", "staff")
]
