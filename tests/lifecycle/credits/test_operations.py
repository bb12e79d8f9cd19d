"""20,000 operations of four clients, killed on the way: the books are what the clients were told, to the last credit."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from portal.core.unit_of_work import unit_of_work
from portal.credits.verify import verify
from tests.chaos.operating import make_plan, operate, violations_of

OPERATIONS, CLIENTS = 20_000, 4
# What must have come to pass often, for the run to have shown anything.
ENOUGH = {
    "repeated": 4_000, "use done": 5_000, "use short": 200, "otherwise": 20, "unknown": 1, "killed": 1,
    "entry reversed": 20, "entry expired": 50, "hold is settled": 50, "hold is released": 20, "hold is expired": 50,
    "lots lapsed": 5,
}  # fmt: skip


@pytest.mark.lifecycle
def test_nothing_is_lost_or_doubled_in_20_000_operations(app: Flask, tmp_path: Path) -> None:
    plan = make_plan(OPERATIONS, CLIENTS, seed=6)
    operate(app, plan, tmp_path, kill_every=1.5, seconds_max=900)
    faults, figures = violations_of(app, plan, tmp_path)
    assert faults == []
    assert {name: figures[name] for name, least in ENOUGH.items() if figures[name] < least} == {}
    # And the ledger's own proof agrees.
    with unit_of_work():
        assert [finding for finding in verify() if finding.violations] == []
