"""The worker goes round: a storm of one kind of work does not keep the other kinds waiting."""

from __future__ import annotations

import pytest

from portal import worker
from portal.core.jobs import ROUND


def test_mails_go_out_in_the_middle_of_a_storm_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {"mails": 3, "events": 5 * ROUND}
    done: list[str] = []

    def work(kind: str) -> int:
        share = min(ROUND, waiting[kind])
        waiting[kind] -= share
        done.extend([kind] * share)
        return share

    monkeypatch.setattr(worker, "_drains", lambda: work("events") + work("mails"))
    monkeypatch.setattr(worker, "_tasks", lambda: 0)
    assert worker.drain() == 5 * ROUND + 3
    assert done.index("mails") == ROUND
    assert waiting == {"mails": 0, "events": 0}
