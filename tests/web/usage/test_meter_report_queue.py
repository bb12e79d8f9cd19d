"""The reports that are yet to be sent are found among all there ever were, of which there are ever more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.event import listens_for, remove

from portal.core.database import db
from portal.core.unit_of_work import end_read
from portal.usage import meter_sending
from portal.usage.gauges import meter_gauges


@contextmanager
def asked() -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the reports within this block, with its parameters."""
    found: list[tuple[str, Any]] = []

    @listens_for(db.engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_more: object) -> None:
        if "FROM meter_reports" in statement:
            found.append((statement, parameters))

    try:
        yield found
    finally:
        remove(db.engine, "before_cursor_execute", note)


def send_none() -> None:
    assert meter_sending.drain(lambda: pytest.fail("there is a report"), 1) == 0


def read_gauges() -> None:
    list(meter_gauges())
    end_read()


@pytest.mark.parametrize(
    ("act", "indexes"),
    [
        (send_none, ["ix_meter_reports_due"]),
        (read_gauges, ["ix_meter_reports_due", "ix_meter_reports_refused"]),
    ],
)
def test_an_index_serves(app: Flask, act: Callable[[], None], indexes: list[str]) -> None:
    with app.app_context():
        with asked() as statements:
            act()
        with db.engine.begin() as connection:
            # There is one row at most, so it would be read as a whole.
            connection.exec_driver_sql("set local enable_seqscan = off")
            plans = [
                "\n".join(line for (line,) in connection.exec_driver_sql(f"explain {statement}", parameters))
                for statement, parameters in statements
            ]
    assert len(plans) == len(indexes)
    for plan, index in zip(plans, indexes, strict=True):
        assert index in plan, plan
