"""A month of thirty customers, told shuffled, partly twice, partly late and eight at a time: the tables end up equal."""

from __future__ import annotations

from flask import Flask

from portal.core.database import db
from tests.chaos.final_tables import LEFT_OUT, differences, final_tables
from tests.chaos.history import LIVES, History
from tests.purchases import states, violations
from tests.stage import Stage

CUSTOMERS, AT_ONCE, SEEDS = 30, 8, (1, 2)


def test_however_badly_a_history_is_told_the_tables_end_up_equal(app: Flask, stage: Stage) -> None:
    history = History(stage, CUSTOMERS, seed=1)
    history.record()
    assert len(LIVES) <= CUSTOMERS
    assert len(history.events) > 15 * CUSTOMERS
    history.tell_in_order()
    expected = final_tables()
    assert all(expected[table] for table in LEFT_OUT if table not in SELDOM), {k for k, v in expected.items() if not v}
    for seed in SEEDS:
        history.tell_badly(seed, AT_ONCE)
        found = differences(expected, final_tables())
        assert not found, f"seed {seed}:\n" + "\n".join(found)
        assert states() <= {"done", "ignored"}
        assert violations() == []
        db.session.rollback()


# A mail that was sent is gone. The alarms are those of trials with one and the same card. Nobody here disputes a payment or
# changes plans within a period: what that leaves in the ledger on the way depends on when it was heard of, and the sums it
# comes to are held by tests of their own.
SELDOM = {"outbox", "disputes", "credit_freezes", "paid_changes"}
