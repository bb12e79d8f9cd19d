"""The tables that events bring about, in a form that two deliveries of the same history can be compared by."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from portal.core.database import db

# Everything that a delivery may write, and what of it depends on the order or the moment, with the reason.
ORDERED = "numbers and sums within an account follow the order in which things were applied"
RECEIVED = "when we heard of it or wrote it"
WRITES = "how often it was written"
LEFT_OUT: dict[str, dict[str, str]] = {
    "alarms": {"id": "random", "detail": "what was known then", "raised_at": RECEIVED, "mailed_at": RECEIVED},
    "card_declines": {"at": RECEIVED},
    "checkouts": {"completed_at": RECEIVED, "paid_at": RECEIVED},
    "credit_accounts": {"version": ORDERED, "as_of": RECEIVED},
    "credit_consumptions": {},
    "credit_entries": {"id": "random", "version": ORDERED, "balance_after": ORDERED, "at": RECEIVED},
    "credit_freezes": {"id": "random", "ordered_at": RECEIVED},
    "credit_grants": {"id": "random", "created_at": RECEIVED},
    "credit_reversals": {"id": "random", "ordered_at": RECEIVED},
    "customers": {"gen": WRITES, "synced_at": RECEIVED},
    "disputes": {"id": "random", "gen": WRITES, "synced_at": RECEIVED},
    "free_periods": {},
    "invoices": {"id": "random", "gen": WRITES, "synced_at": RECEIVED},
    "outbox": {"id": "random", "created_at": RECEIVED, "run_at": RECEIVED},
    "paid_changes": {"created_at": RECEIVED},
    "paid_periods": {"id": "random", "created_at": RECEIVED},
    "payment_methods": {"id": "random", "gen": WRITES, "synced_at": RECEIVED},
    "payments": {"id": "random", "gen": WRITES, "synced_at": RECEIVED},
    "refunds": {"id": "random", "gen": WRITES, "synced_at": RECEIVED},
    "stripe_events": {
        "id": "random",
        "received_at": RECEIVED,
        "run_at": RECEIVED,
        "finished_at": RECEIVED,
        "attempts": "how often it had to be tried",
        "last_error": "why it had to be",
    },
    "subscription_items": {"id": "random"},
    "subscriptions": {"id": "random", "gen": WRITES, "synced_at": RECEIVED},
    "trial_uses": {},
}
# A bundle's credits are there from when we hear that it was paid; every other grant begins when Stripe says.
FROM_RECEIPT = ("credit_grants", "effective_at", "bundle")
# A reference to a row with a random id is told by the name that the row has for good; in a mail it stands in a link, and in
# the cause of what ends a grant.
NAMES = {
    "invoice_id": "select id, stripe_id from invoices",
    "entry_id": "select id, cause_key from credit_entries",
    "grant_id": "select id, cause_key from credit_grants",
    "subscription_id": "select id, stripe_id from subscriptions",
}


def final_tables() -> dict[str, list[str]]:
    """Every row of every table, sorted, without what is left out."""
    names = {
        column: {str(row[0]): row[1] for row in db.session.execute(text(query))} for column, query in NAMES.items()
    }
    found = {}
    for table, left_out in LEFT_OUT.items():
        rows = db.session.execute(text(f"select * from {table}")).mappings()  # noqa: S608  our own names
        found[table] = sorted(_told(dict(row), _left_out(table, row, left_out), names) for row in rows)
    db.session.rollback()
    return found


def _left_out(table: str, row: Mapping[Any, Any], always: dict[str, str]) -> set[str]:
    some_table, column, kind = FROM_RECEIPT
    return {*always, column} if (table, row.get("kind")) == (some_table, kind) else set(always)


def _told(row: dict[str, Any], left_out: set[str], names: dict[str, dict[str, str]]) -> str:
    kept = {
        column: names[column].get(str(value), value) if column in names else value
        for column, value in row.items()
        if column not in left_out
    }
    words = json.dumps(kept, default=str, sort_keys=True)
    words = re.sub("inv_[0-9A-Z]{26}", lambda found: names["invoice_id"].get(found[0], found[0]), words)
    return re.sub(r"(?<=:grant:)\d+", lambda found: names["grant_id"].get(found[0], found[0]), words)


def differences(expected: dict[str, list[str]], found: dict[str, list[str]]) -> list[str]:
    """What stands in one of them only, by table; empty when they are equal."""
    told = []
    for table, rows in expected.items():
        missing, more = _without(rows, found[table]), _without(found[table], rows)
        told += [f"{table}: missing {row}" for row in missing] + [f"{table}: not expected {row}" for row in more]
    return told


def _without(rows: list[str], others: list[str]) -> list[str]:
    return sorted((Counter(rows) - Counter(others)).elements())
