"""Explain over random histories: whatever was done, the terms add up to the figure, and say what the rows say."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from sqlalchemy import text

from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger, queries
from portal.credits.daily import credit_days
from portal.credits.derivations import Derivation
from portal.credits.explain_balance import explain_balance
from portal.credits.explain_entry import explain_entry
from portal.credits.explain_grant import explain_grant
from portal.credits.lot_days import count_lot_days, not_counted
from tests.lifecycle.credits.account import make_still_clock, new_team, one_connection, stand_still, unit_at
from tests.lifecycle.credits.test_state_machine import ARGUMENTS, Ledger
from tests.lifecycle.credits.test_state_machine import EXAMPLES as MACHINES
from tests.services import connect

EXAMPLES = MACHINES // 4
STEPS = 40

LOTS = text(
    "select g.cause_key, coalesce((select sum(c.amount) from credit_consumptions c join credit_entries e on e.id = c.entry_id"
    " where c.grant_id = g.id and e.kind = 'spent'), 0) as spent from credit_grants g where g.team_id = :team_id"
)
DAYS = text(
    "select g.cause_key, d.day, d.spent from credit_lot_days d join credit_grants g on g.id = d.grant_id"
    " where d.team_id = :team_id order by 1, 2"
)
DAYS_BY_ENTRIES = text(
    "select g.cause_key, cast(e.at at time zone 'UTC' as date) as day, cast(sum(c.amount) as bigint) as spent"
    " from credit_consumptions c join credit_entries e on e.id = c.entry_id join credit_grants g on g.id = c.grant_id"
    " where e.team_id = :team_id and e.kind = 'spent' group by 1, 2 order by 1, 2"
)
SPENT_SINCE = text(
    "select coalesce(-sum(amount), 0) from credit_entries where team_id = :team_id and kind = 'spent' and version > :version"
)


# Much is taken back of what was spent, so that debt comes and goes.
EXPLAINED: dict[str, dict[str, st.SearchStrategy[Any]]] = {**ARGUMENTS, "explain": {}, "count": {}}
TIMES = {
    "grant": 6,
    "spend": 9,
    "reverse": 8,
    "hold": 4,
    "settle": 2,
    "release": 2,
    "freeze": 2,
    "thaw": 2,
    "move_the_clock": 4,
    "explain": 4,
    "count": 2,
}
EXPLAINED_ACTS = [act for act, times in TIMES.items() for _ in range(times)] + ["end_early", "look", "change_the_order"]


class Explained(Ledger):
    """The machine of the ledger, whose numbers are taken apart every now and then."""

    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.explained = 0

    @rule(act=st.sampled_from(EXPLAINED_ACTS), data=st.data())
    def act(self, act: str, data: st.DataObject) -> None:
        getattr(self, act)(*(data.draw(strategy, name) for name, strategy in EXPLAINED[act].items()))

    def count(self) -> None:
        """The schedule may come at any time, or not."""
        with unit_of_work():
            if self.team_id in not_counted(1000):
                count_lot_days(self.team_id)

    def explain(self) -> None:
        self._explain_balance()
        self._explain_lots()
        self._explain_entries()
        db.session.rollback()

    def _explain_balance(self) -> None:
        found = explain_balance(self.team_id)
        if found is None:
            return
        shown = queries.balance(self.team_id)
        for sum_ in (found.period, found.available, found.lots, found.beginning):
            adds_up(sum_)
        assert found.available.result == found.lots.result == shown.available
        assert found.period.result == found.beginning.result == shown.available + shown.reserved - shown.debt
        all_used = db.session.execute(SPENT_SINCE, {"team_id": self.team_id, "version": 0}).scalar_one()
        assert -sum(term.amount for term in found.beginning.terms if term.label == "Used") == all_used
        opening = found.period.terms[0] if found.period.terms else None
        if opening is not None and opening.label == "Left before" and opening.source is not None:
            since = {"team_id": self.team_id, "version": opening.source.arguments["version"]}
            assert found.used == db.session.execute(SPENT_SINCE, since).scalar_one()

    def _explain_lots(self) -> None:
        for cause_key, spent in db.session.execute(LOTS, {"team_id": self.team_id}).all():
            found = explain_grant(self.team_id, cause_key)
            assert found is not None
            adds_up(found.became)
            assert found.spent == spent
            if found.days is not None:
                adds_up(found.days)
                assert found.days.result == spent
            then = next(lot for lot in self.model.foreseen(self.clock).lots if lot.key == cause_key)
            assert found.became.result == (then.amount if then.state == "future" else then.left + then.frozen)
            self.seen.update(term.label for term in found.became.terms)

    def _explain_entries(self) -> None:
        for version in range(self.explained + 1, len(self.model.entries) + 1):
            found = explain_entry(self.team_id, version)
            assert found is not None
            expected = self.model.entries[version - 1]
            assert (found.amount, found.balance.result) == (expected.amount, expected.balance)
            adds_up(found.balance)
            if found.parts is not None:
                adds_up(found.parts)
            self.seen[found.kind] += 1
        self.explained = len(self.model.entries)

    def teardown(self) -> None:
        """Whatever came to pass is explained once more; and counted in whatever steps, days are what the entries say."""
        self.explain()
        with unit_of_work() as session:
            while self.team_id in not_counted(1000):
                count_lot_days(self.team_id)
            team = {"team_id": self.team_id}
            assert session.execute(DAYS, team).all() == session.execute(DAYS_BY_ENTRIES, team).all()
        super().teardown()


def adds_up(sum_: Derivation) -> None:
    assert sum(term.amount for term in sum_.terms) == sum_.result, sum_
    assert "Not explained" not in {term.label for term in sum_.terms}, sum_


def test_every_number_is_explained(app: Flask) -> None:
    make_still_clock(app.config["SETTINGS"].database_owner_url)
    order = app.config.get("SPEND_ORDER", "expiry")
    limits = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    try:
        with one_connection(), connect(app.config["SETTINGS"].database_url) as reader:
            machine = type("Explained", (Explained,), {"app": app, "reader": reader})
            run_state_machine_as_test(machine, settings=limits)
    finally:
        app.config["SPEND_ORDER"] = order
    kinds = ("Used", "Expired", "Taken back", "Taken back in place of another grant", "Repaid what was owed", "spent")
    assert all(Explained.seen[kind] >= EXAMPLES // 8 for kind in kinds), Explained.seen


def test_credits_whose_start_and_end_are_both_due_have_expired(app: Flask) -> None:
    """Nothing has been posted since they were given for later: they did begin, and they end unused."""
    make_still_clock(app.config["SETTINGS"].database_owner_url)
    team_id, day = new_team(), datetime(2031, 3, 1, 12, tzinfo=UTC)
    begins, ends = day + timedelta(hours=1), day + timedelta(hours=2)
    with one_connection():
        stand_still(day)
        with unit_of_work():
            ledger.grant(
                team_id, kind="gift", amount=10, cause_key="gift:1", source="", effective_at=begins, expires_at=ends
            )
        for now, terms in ((begins, {"Granted": 10}), (ends, {"Granted": 10, "Expired": -10})):
            stand_still(now)
            found = explain_grant(team_id, "gift:1")
            assert found is not None
            assert {term.label: term.amount for term in found.became.terms} == terms
        db.session.rollback()


@pytest.mark.parametrize("amount", [10, 100])
@pytest.mark.parametrize("place", range(1, 6))
def test_a_grant_is_explained_while_others_spend_of_it(
    app: Flask, monkeypatch: pytest.MonkeyPatch, place: int, amount: int
) -> None:
    """Somebody spends after one of the reads: what is told is of before that or of after it, and adds up."""
    team_id = new_team()
    with unit_of_work():
        ledger.grant(team_id, kind="gift", amount=100, cause_key="gift:1", source="A gift")
    db.session.remove()
    seen: list[str] = []
    for name in ("send", "load_book"):
        monkeypatch.setattr(
            f"{explain_grant.__module__}.{name}", spending_after(app, team_id, amount, place, name, seen)
        )
    with unit_of_work():
        found = explain_grant(team_id, "gift:1")
    assert found is not None
    assert len(seen) >= place
    adds_up(found.became)
    assert found.became.result in (100, 100 - amount)
    assert found.spent == 100 - found.became.result
    if found.days is not None:
        adds_up(found.days)


def spending_after(app: Flask, team_id: str, amount: int, place: int, name: str, seen: list[str]) -> Callable[..., Any]:
    """The function of this name, after which another connection spends when it was the call number `place` of all."""
    original = getattr(sys.modules[explain_grant.__module__], name)

    def spend() -> None:
        with app.app_context(), unit_of_work():
            ledger.spend(team_id, amount, "usage:meanwhile")

    def called(*given: Any, **named: Any) -> Any:
        answer = original(*given, **named)
        seen.append(name)
        if len(seen) == place:
            with ThreadPoolExecutor(1) as another:
                another.submit(spend).result()
        return answer

    return called


def test_days_say_what_was_spent_added_and_left(app: Flask) -> None:
    make_still_clock(app.config["SETTINGS"].database_owner_url)
    team_id = new_team()
    first = datetime(2031, 3, 1, 23, 59, 59, tzinfo=UTC)
    with one_connection():
        stand_still(first)
        with unit_of_work():
            ledger.grant(team_id, kind="bundle", amount=100, cause_key="bundle:1", source="A bundle")
            ledger.spend(team_id, 10, "usage:1")
        for day in range(1, 40):
            stand_still(first + timedelta(days=day) - timedelta(hours=day % 23))
            with unit_of_work():
                ledger.grant(
                    team_id,
                    kind="gift",
                    amount=day,
                    cause_key=f"gift:{day}",
                    source="A gift",
                    expires_at=first + timedelta(days=day + 1),
                )
                ledger.spend(team_id, 2, f"usage:a{day}")
        days = credit_days(team_id, first.date() - timedelta(days=1), first.date() + timedelta(days=39))
        db.session.rollback()
    with unit_of_work() as session:
        rows = session.execute(
            text(
                "select cast(at at time zone 'UTC' as date) as day, kind, cast(sum(amount) as bigint) from credit_entries"
                " where team_id = :team_id group by 1, 2"
            ),
            {"team_id": team_id},
        ).all()
    truth = {(day, kind): amount for day, kind, amount in rows}
    left = 0
    for told in days:
        left += sum(amount for (when, _kind), amount in truth.items() if when == told.day)
        assert told.spent == -truth.get((told.day, "spent"), 0)
        assert told.added == truth.get((told.day, "granted"), 0)
        assert told.expired == -truth.get((told.day, "expired"), 0)
        assert told.left == left
    assert sum(day.expired for day in days) > 0


def test_nothing_of_another_team_is_explained(app: Flask) -> None:
    mine, theirs = new_team(), new_team()
    with unit_at(datetime(2031, 1, 1, tzinfo=UTC)):
        ledger.grant(theirs, kind="gift", amount=5, cause_key="gift:theirs", source="A gift")
    with unit_of_work():
        assert explain_grant(mine, "gift:theirs") is None
        assert explain_entry(mine, 1) is None
        assert explain_balance(mine) is None
        assert explain_entry(theirs, 1) is not None
