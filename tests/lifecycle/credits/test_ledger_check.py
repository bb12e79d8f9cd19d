"""The check of the chaos against itself: a sound run has no violations, and each kind of damage is seen as what it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from psycopg.rows import dict_row

from tests.chaos.client import Client
from tests.chaos.ledger_check import Logs, Team, Told, check, read_tables, read_uses
from tests.chaos.operating import database_url, make_plan
from tests.chaos.replay import Replay, Row, Tables
from tests.conftest import empty_tables

OPERATIONS = 1_500


@dataclass
class Run:
    """What one client did to one team, as its log and the tables tell it."""

    folder: Path
    url: str
    team: Team

    def copy(self) -> Team:
        return copy.deepcopy(self.team)


@pytest.fixture(scope="module")
def run(portal_app: Flask, tmp_path_factory: pytest.TempPathFactory) -> Run:
    empty_tables(portal_app)
    folder = tmp_path_factory.mktemp("clients")
    with portal_app.app_context():
        plan = make_plan(OPERATIONS, clients=1, seed=2, teams=1)
    Client(plan, 0, 0, folder).run(portal_app)
    url = database_url(portal_app)
    faults, _figures = check(folder, url, plan.teams)
    assert faults == []
    # The busier of the two teams.
    name = plan.teams[1]
    with psycopg.connect(url, row_factory=dict_row) as connection:
        tables = read_tables(connection, name)
        assert tables is not None
        return Run(folder, url, Team(name, tables, Logs.read(folder).told[name], read_uses(connection, name)))


def invariants(faults: list[str]) -> set[str]:
    return {fault.split()[0] for fault in faults}


def first(rows: list[Row], fits: Callable[[Row], object]) -> Row:
    return next(row for row in rows if fits(row))


def entry(tables: Tables, kind: str, fits: Callable[[Row], object] = bool) -> Row:
    return first(tables.entries, lambda row: row["kind"] == kind and fits(row))


def take_less(tables: Tables) -> None:
    taken = tables.taken[entry(tables, "spent")["id"]]
    taken[next(iter(taken))] += 1


def take_from_the_last(tables: Tables) -> None:
    """Of the lots that could pay for a spend, the one that should come last."""
    spent = entry(tables, "spent", lambda row: row["version"] > 40)
    before = [
        row["grant_id"] for row in tables.entries[: spent["version"] - 1] if row["kind"] in ("granted", "adjusted")
    ]
    lots = {row["id"]: row for row in tables.grants}
    never = [lot for lot in before if lots[lot]["expires_at"] is None and lot not in tables.taken[spent["id"]]]
    tables.taken[spent["id"]] = {never[-1]: -spent["amount"]}


def spend_late(tables: Tables) -> None:
    """The lot that a spend took from was over by then."""
    settled = {row["entry_id"] for row in tables.holds}
    spent = entry(tables, "spent", lambda row: row["id"] not in settled)
    lot = next(iter(tables.taken[spent["id"]]))
    first(tables.grants, lambda row: row["id"] == lot)["expires_at"] = spent["at"]


def expire_again(tables: Tables) -> None:
    found = entry(tables, "expired")
    again = found | {"version": len(tables.entries) + 1, "balance_after": tables.entries[-1]["balance_after"], "id": 0}
    tables.entries.append(again | {"amount": 0})


def settle_late(tables: Tables) -> None:
    hold = first(tables.holds, lambda row: row["state"] == "settled")
    hold["expires_at"] = hold["closed_at"]


def forget_a_hold(tables: Tables) -> None:
    hold = first(tables.holds, lambda row: row["state"] == "released")
    tables.holds.remove(hold)
    hold = first(tables.holds, lambda row: row["state"] == "settled")
    tables.parts[hold["id"]][0]["amount"] += 1


def change(table: str, fits: Callable[[Row], object], **values: object) -> Callable[[Tables], None]:
    def damage(tables: Tables) -> None:
        first(getattr(tables, table), fits).update(values)

    return damage


def by_one(table: str, column: str, fits: Callable[[Row], object] = bool) -> Callable[[Tables], None]:
    def damage(tables: Tables) -> None:
        row = first(getattr(tables, table), fits)
        row[column] += timedelta(days=-9) if column == "at" else 1

    return damage


DAMAGES: dict[str, tuple[Callable[[Tables], None], str]] = {
    "a balance": (lambda tables: tables.account.update(available=tables.account["available"] + 1), "I1"),
    "held and available": (lambda tables: tables.account.update(reserved=tables.account["reserved"] + 1), "I1"),
    "what is left of a lot": (by_one("grants", "remaining", lambda row: row["state"] == "live"), "I1"),
    "a debt": (lambda tables: tables.account.update(debt=tables.account["debt"] + 1), "I1"),
    "a cause": (by_one("entries", "amount", lambda row: row["kind"] == "granted"), "I3"),
    "more taken than spent": (take_less, "I4"),
    "a hold of another size": (by_one("holds", "amount"), "I4"),
    "a hold forgotten": (forget_a_hold, "I4"),
    "the last lot first": (take_from_the_last, "I5"),
    "a gap": (by_one("entries", "version", lambda row: row["version"] == 30), "I6"),
    "a balance on the way": (by_one("entries", "balance_after", lambda row: row["version"] == 30), "I6"),
    "time that runs back": (by_one("entries", "at", lambda row: row["version"] == 30), "I6"),
    "spent from what was over": (spend_late, "I10"),
    "settled when it was over": (settle_late, "I10"),
    "expired twice": (expire_again, "I10"),
    "a hold that ended by itself in time": (change("holds", lambda row: row["state"] == "released", state="expired"), "I10"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_the_tables_is_seen(run: Run, name: str) -> None:
    damage, invariant = DAMAGES[name]
    tables = run.copy().tables
    assert Replay(tables).run() == []
    tables = run.copy().tables
    damage(tables)
    assert invariant in invariants(Replay(tables).run())


def of(team: Team, act: str, fits: Callable[[Told], object] = lambda told: told.done) -> Told:
    return next(told for (kind, _key), told in team.told.items() if kind == act and fits(told))


def lose(act: str, cause: str) -> Callable[[Team], None]:
    """What was acknowledged is not there."""

    def damage(team: Team) -> None:
        key = cause + of(team, act).asked["key"]
        for rows in (team.entries, team.grants, team.holds, team.reversals):
            rows.pop(key, None)

    return damage


def answer_otherwise(team: Team) -> None:
    told = of(team, "spend")
    since, at, (balance, version, id_) = told.done[0]
    told.done.append((since, at, [balance - 1, version, id_]))


def refuse_and_do(team: Team) -> None:
    told = of(team, "spend")
    told.refused.append((told.done[0][0], "short", None))
    told.done.clear()


def refuse_later(team: Team) -> None:
    told = of(team, "use")
    told.refused.append((told.done[-1][1] + 1, "short", None))


def do_unasked(team: Team) -> None:
    act, key = next(place for place, told in team.told.items() if place[0] == "grant" and told.done)
    del team.told[act, key]


def keep_another_answer(team: Team) -> None:
    team.uses.keys[of(team, "use").asked["key"]]["body"] = "[]"


def lose_an_event(team: Team) -> None:
    team.uses.events.pop(of(team, "use").asked["key"])


def lose_a_day(team: Team) -> None:
    team.uses.by_day.popitem()


LIES: dict[str, tuple[Callable[[Team], None], str]] = {
    "a spend is lost": (lose("spend", "spend:"), "I9"),
    "a use is lost": (lose("use", "usage:"), "I9"),
    "a grant is lost": (lose("grant", "lot:"), "I9"),
    "a hold is lost": (lose("hold", "held:"), "I9"),
    "a refund is lost": (lose("reverse", "refund:"), "I9"),
    "an event is lost": (lose_an_event, "I9"),
    "two answers": (answer_otherwise, "I8"),
    "refused and done": (refuse_and_do, "I9"),
    "refused when it was done": (refuse_later, "I8"),
    "another answer kept": (keep_another_answer, "I8"),
    "nobody asked": (do_unasked, "I3"),
    "a day forgotten": (lose_a_day, "I1"),
}


@pytest.mark.parametrize("name", LIES)
def test_what_was_told_and_is_not_so_is_seen(run: Run, name: str) -> None:
    lie, invariant = LIES[name]
    team = run.copy()
    assert list(team.check()) == []
    lie(team)
    assert invariant in invariants(list(team.check()))


def test_a_torn_log_and_an_unanswered_request_are_read(run: Run, tmp_path: Path) -> None:
    """A client that was killed leaves half a line, or a request of which nobody knows what came."""
    lines = (run.folder / "0.0.log").read_text().splitlines(keepends=True)
    last = max(place for place, line in enumerate(lines) if line.startswith('["asked"'))
    (tmp_path / "0.0.log").write_text("".join(lines[: last + 1]) + '["told", 7')
    logs = Logs.read(tmp_path)
    assert logs.figures["killed"] == 1
    assert sum(told.unknown for team in logs.told.values() for told in team.values()) >= 1
