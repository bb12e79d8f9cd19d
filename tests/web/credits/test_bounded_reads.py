"""A long history costs the pages no more than a short one: how many entries they read follows from days and grants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import thresholds
from portal.credits.daily import credit_days
from portal.credits.explain_balance import explain_balance
from portal.credits.explain_grant import explain_grant
from portal.credits.queries import summary
from portal.usage.metering import Use, record_all
from tests.cast import Cast
from tests.conftest import owner_engine
from tests.web.usage.uses import give

SPENDS = 3_000
READ = text(
    "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables"
    " where relname = 'credit_entries'"
)


def days(team_id: str) -> None:
    today = clock.now().astimezone(UTC).date()
    credit_days(team_id, today - timedelta(days=29), today)


READS: dict[str, Callable[[str], object]] = {
    "summary": summary,
    "days": days,
    "balance": explain_balance,
    "grant": lambda team_id: explain_grant(team_id, "gift:test"),
    "thresholds": thresholds.look_at,
}


@pytest.fixture
def spent(app: Flask, cast: Cast) -> str:
    give(cast.team_id, 2 * SPENDS)
    for first in range(0, SPENDS, 1_000):
        uses = [Use(cast.team_id, f"key-{first + number}", "send_email", 1) for number in range(1_000)]
        with unit_of_work():
            record_all(cast.team_id, uses, lambda recorded: recorded.id)
    db.session.remove()
    # PostgreSQL plans by what it knows of a table, and learns that by itself only after a while.
    with owner_engine(app.config["SETTINGS"].database_owner_url).begin() as connection:
        connection.execute(text("analyze credit_entries"))
    return cast.team_id


def test_no_read_of_a_page_goes_through_the_spends(spent: str) -> None:
    read = {}
    for name, look in READS.items():
        with unit_of_work() as session:
            before = session.execute(READ).scalar_one()
            look(spent)
            read[name] = session.execute(READ).scalar_one() - before
    assert {name: rows for name, rows in read.items() if rows > SPENDS // 4} == {}
