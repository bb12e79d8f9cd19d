"""A small catalog in TOML that the tests change one line at a time."""

from __future__ import annotations

import tomllib

from portal.catalog.definition import Catalog
from portal.catalog.loader import read_catalog

SOURCE = "small.toml"
SMALL = """
[portal]
name = "Fernway"
accent = "#4456d8"

[billing]
currency = "usd"

[[meters]]
key = "send_email"
name = "E-mails"
mode = "credits"
cost_credits = 1

[[meters]]
key = "api_calls"
name = "API calls"
mode = "metered"

[[features]]
key = "roles"
name = "Roles"
kind = "switch"

[[features]]
key = "history"
name = "History"
kind = "limit"
unit = "days"

[[features]]
key = "support"
name = "Support"
kind = "text"

[[plans]]
key = "free"
name = "Free"
pitch = "To try it."
monthly_cents = 0
credits_monthly = 100

[[plans]]
key = "pro"
name = "Pro"
pitch = "To work with it."
monthly_cents = 9900
yearly_cents = 99000
trial_days = 14
seats_included = 10
seat_monthly_cents = 1200
credits_monthly = 5000
meters.api_calls = { included = 1000, overage_per_1000_cents = 100 }
features = { roles = true, history = 365, support = "By mail" }

[[bundles]]
key = "some"
credits = 500
price_cents = 1000

[[compare]]
title = "All of it"
rows = ["@credits", "roles", "history", "support", "@included:api_calls"]

[[coupons]]
key = "launch"
name = "Launch offer"
percent_off = 20
applies_to = ["plan:pro", "bundle:some"]

[[promotion_codes]]
code = "LAUNCH20"
coupon = "launch"
max_redemptions = 100
expires_at = 2030-01-31T00:00:00Z
"""


def changed(old: str, new: str) -> str:
    """The small catalog with its one occurrence of `old` replaced; an empty `old` appends."""
    if not old:
        return SMALL + new
    assert SMALL.count(old) == 1, f"{old!r} is not there exactly once"
    return SMALL.replace(old, new)


def read(text: str) -> Catalog:
    return read_catalog(tomllib.loads(text), SOURCE)


def small(old: str = "", new: str = "") -> Catalog:
    return read(changed(old, new))
