"""The tests that try a part in `make test`, with all of it: every point of a crash, every order, every customer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALL = {
    "CRASH_POINTS": "all",
    "UNDO_ORDERS": "all",
    "GRANT_CALENDAR": "all",
    "CHANGE_SEQUENCES": "200",
    "LEDGER_EXAMPLES": "1000",
}
# Those that take longest come first.
TESTS = (
    "credits/test_undo_table.py",
    "credits/test_state_machine.py",
    "credits/test_explain.py",
    "test_auto_purchase_faults.py",
    "test_grant_calendar.py",
    "test_change_sequences.py",
    "test_crash_points.py",
    "test_change_crashes.py",
    "test_schedule_crashes.py",
    "test_pay_now.py",
)


def try_whole_tables() -> None:
    """Raises `AssertionError` when a test fails; pytest has said which."""
    tests = [f"tests/lifecycle/{name}" for name in TESTS]
    # One of them has a dozen long cases: by case and not by file they are shared out evenly.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *tests]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **ALL}, check=False)
    assert done.returncode == 0, "a test that tries everything has failed"
