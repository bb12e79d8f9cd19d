"""`flask ledger verify` against itself: each kind of damage is done to a sound account, and exactly it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.orm import Session

from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger, verify
from portal.credits.invariants import INVARIANTS
from tests.conftest import empty_tables
from tests.lifecycle.credits.account import new_team

TABLES = (
    "credit_accounts",
    "credit_grants",
    "credit_entries",
    "credit_consumptions",
    "credit_reversals",
    "credit_freezes",
)


def give(team_id: str, kind: str, amount: int, key: str, days: int | None = None, start: int | None = None) -> None:
    now = clock.now()
    ledger.grant(
        team_id,
        kind=kind,
        amount=amount,
        cause_key=key,
        source="",
        effective_at=None if start is None else now + timedelta(days=start),
        expires_at=None if days is None else now + timedelta(days=days),
    )


def make_history(team_id: str) -> None:
    """A sound account in which every kind of entry occurs; its versions are named in the damages below."""
    steps: list[Callable[[], object]] = [
        lambda: give(team_id, "subscription", 100, "plan", days=10),  # 1
        lambda: give(team_id, "bundle", 50, "bundle"),  # 2
        lambda: ledger.spend(team_id, 30, "usage:a"),  # 3: plan 30
        lambda: ledger.spend(team_id, 90, "usage:b"),  # 4: plan 70, bundle 20
        lambda: ledger.reverse(team_id, "plan", 20, "refund:a"),  # 5: bundle 20
        lambda: ledger.reverse(team_id, "plan", 15, "refund:b"),  # 6: bundle 10, debt 5
        lambda: give(team_id, "gift", 40, "gift", days=5),  # 7: repays 5
        lambda: ledger.end_early(team_id, "gift"),  # 8: 35 expire
        lambda: give(team_id, "adjustment", 200, "sorry", days=1),  # 9
        lambda: ledger.spend(team_id, 50, "usage:c"),  # 10: sorry 50
        lambda: give(team_id, "subscription", 100, "next", days=40, start=10),
    ]
    do(steps)


def make_frozen_history(team_id: str) -> None:
    """A sound account with a lot of which a part is frozen; its versions are named in the damages of freezes."""
    steps: list[Callable[[], object]] = [
        lambda: give(team_id, "bundle", 150, "first", days=1),  # 1
        lambda: ledger.freeze(team_id, "first", 100, "dispute:a"),  # 2
        lambda: give(team_id, "bundle", 30, "second"),  # 3
        lambda: ledger.spend(team_id, 70, "usage:a"),  # 4: first 50, second 20, since 100 of the first cannot be spent
        lambda: ledger.thaw(team_id, "first", 40, "dispute:a:won"),  # 5
        lambda: ledger.spend(team_id, 10, "usage:b"),  # 6: first 10
    ]
    do(steps)


def do(steps: list[Callable[[], object]]) -> None:
    for step in steps:
        with unit_of_work():
            step()
    db.session.remove()


@pytest.fixture(scope="module")
def teams(portal_app: Flask) -> tuple[str, str]:
    """Two teams with the same history, in an otherwise empty ledger."""
    empty_tables(portal_app)
    with portal_app.app_context():
        made = new_team(), new_team()
        for team in made:
            make_history(team)
    return made


@pytest.fixture(scope="module")
def frozen_team(portal_app: Flask, teams: tuple[str, str]) -> str:
    with portal_app.app_context():
        team_id = new_team()
        make_frozen_history(team_id)
    return team_id


@pytest.fixture
def team_id(teams: tuple[str, str]) -> str:
    return teams[0]


@pytest.fixture
def owner(portal_app: Flask, teams: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """The owner's connection; `verify` looks through it, and what is done to the tables is undone at the end."""
    engine = create_engine(portal_app.config["SETTINGS"].database_owner_url, poolclass=NullPool)
    with engine.connect() as connection:
        monkeypatch.setattr(verify, "db", SimpleNamespace(session=Session(connection)))
        yield connection
        connection.rollback()
    engine.dispose()


def found(team_id: str | None = None) -> dict[str, int]:
    return {finding.invariant.id: finding.violations for finding in verify.verify(team_id) if finding.violations}


@dataclass(frozen=True)
class Damage:
    """What is done to the first team's rows, past constraints and triggers; `invariants` are what it violates."""

    name: str
    invariants: set[str]
    statements: tuple[str, ...]


ID_OF = "(select id from credit_grants where team_id = :team and cause_key = '{}')"
ENTRY = "update credit_entries set {} where team_id = :team and version = {}"
TAKEN = (
    "update credit_consumptions set {} where entry_id = (select id from credit_entries where team_id = :team"
    " and version = {}) and grant_id = (select id from credit_grants where team_id = :team and cause_key = '{}')"
)
INSERT_TAKEN = (
    "insert into credit_consumptions (entry_id, grant_id, team_id, amount) select e.id, g.id, e.team_id, 20"
    " from credit_entries e join credit_grants g using (team_id)"
    " where e.team_id = :team and e.version = 3 and g.cause_key = 'bundle'"
)
INSERT_ORPHAN = (
    "insert into credit_consumptions (entry_id, grant_id, team_id, amount)"
    " select 0, id, team_id, 1 from credit_grants where team_id = :team and cause_key = 'bundle'"
)
DELETE_TAKEN = (
    "delete from credit_consumptions where entry_id = (select id from credit_entries where team_id = :team"
    " and version = 4) and grant_id = (select id from credit_grants where team_id = :team and cause_key = 'bundle')"
)
GRANT = "update credit_grants set {} where team_id = :team and cause_key = '{}'"
ACCOUNT = "update credit_accounts set {} where team_id = :team"

DAMAGES = [
    Damage("a balance changed", {"I1"}, (ACCOUNT.format("available = available + 1"),)),
    Damage("credits held that no grant has", {"I1"}, (ACCOUNT.format("reserved = reserved + 1"),)),
    Damage("an account lost", {"I1"}, ("delete from credit_accounts where team_id = :team",)),
    Damage("below zero", {"I1", "I2"}, (ACCOUNT.format("available = -1"),)),
    Damage("debt beside credits", {"I1", "I2"}, (ACCOUNT.format("available = available + 1, debt = debt + 1"),)),
    Damage("more left than given", {"I2", "I4"}, (GRANT.format("remaining = 51", "bundle"),)),
    Damage("debt nobody made", {"I2"}, (TAKEN.format("amount = 4", 7, "gift"), GRANT.format("remaining = 1", "gift"))),
    Damage("one cause, two spends", {"I3"}, (ENTRY.format("cause_key = 'usage:a'", 10),)),
    Damage("a grant under another cause", {"I3"}, (ENTRY.format("cause_key = 'other'", 1),)),
    Damage("an adjustment that is none", {"I3"}, (ENTRY.format("kind = 'granted'", 9),)),
    Damage("a start nobody posted", {"I3"}, (GRANT.format("state = 'waiting'", "bundle"),)),
    Damage("a start before its time", {"I3"}, (GRANT.format("state = 'used', remaining = 0", "next"),)),
    Damage("a reversal nobody ordered", {"I3"}, ("delete from credit_reversals where cause_key = 'refund:b'",)),
    Damage("a spend with a grant's cause", {"I3"}, (ENTRY.format("cause_key = 'next'", 10),)),
    Damage("a spend that took less", {"I4"}, (TAKEN.format("amount = 49", 10, "sorry"),)),
    Damage("an expiry of another grant", {"I4"}, (TAKEN.format(f"grant_id = {ID_OF.format('bundle')}", 8, "gift"),)),
    Damage("a rest changed", {"I1", "I4"}, (GRANT.format("remaining = remaining - 1", "sorry"),)),
    Damage("the later grant first", {"I5"}, (
        TAKEN.format("amount = 10", 3, "plan"),
        INSERT_TAKEN,
        TAKEN.format("amount = 90", 4, "plan"),
        DELETE_TAKEN,
    )),
    Damage("spent by another order", {"I5"}, (
        GRANT.format("expires_at = null", "plan"), GRANT.format("expires_at = effective_at + interval '1 day'", "bundle"),
    )),
    Damage("a gap", {"I6"}, (ENTRY.format("version = 11", 10), ACCOUNT.format("version = 11"))),
    Damage("a version not reached", {"I6"}, (ACCOUNT.format("version = 11"),)),
    Damage("a wrong balance on the way", {"I6"}, (ENTRY.format("balance_after = balance_after + 1", 3),)),
    Damage("time that runs back", {"I6"}, (ENTRY.format("at = (select at from credit_entries where team_id = :team and version = 4)", 6),)),
    Damage("an account behind its entries", {"I6"}, (ACCOUNT.format("as_of = as_of - interval '1 minute'"),)),
    Damage("spent after its end", {"I10"}, (GRANT.format("expires_at = effective_at", "plan"),)),
    Damage("granted before its time", {"I10"}, (
        GRANT.format("effective_at = effective_at + interval '1 hour'", "sorry"),
    )),
    Damage("spent before it was granted", {"I2", "I6", "I10"}, (
        ENTRY.format("version = 99", 9), ENTRY.format("version = 9, balance_after = -50", 10),
        ENTRY.format("version = 10, balance_after = 150", 99),
    )),
    Damage("an expiry under another cause", {"I10"}, (ENTRY.format("cause_key = 'expire:grant:0'", 8),)),
    Damage("expired and still open", {"I10"}, (GRANT.format("state = 'used'", "gift"),)),
    Damage("a second expiry", {"I4", "I10"}, (
        TAKEN.format(f"grant_id = {ID_OF.format('gift')}", 10, "sorry"),
        ENTRY.format(f"kind = 'expired', spend_order = null, grant_id = {ID_OF.format('gift')}", 10),
    )),
    Damage("a consumption of another team", {"I14"}, (TAKEN.format("team_id = :other", 10, "sorry"),)),
    Damage("an entry about another team's grant", {"I3", "I4", "I10", "I14"}, (
        ENTRY.format("grant_id = (select id from credit_grants where team_id = :other and cause_key = 'bundle')", 2),
    )),
    Damage("a consumption of nothing", {"I14"}, (INSERT_ORPHAN,)),
    Damage("a reversal of another team", {"I3", "I14"}, (
        "update credit_reversals set team_id = :other, cause_key = 'x' where team_id = :team and cause_key = 'refund:b'",
    )),
]  # fmt: skip

FREEZE_TAKES = (
    "insert into credit_consumptions (entry_id, grant_id, team_id, amount) select id, grant_id, team_id, 1"
    " from credit_entries where team_id = :team and version = 2"
)
AT_ONE_TIME = (
    "update credit_entries e set at = o.at from credit_entries o where e.team_id = :team and o.team_id = e.team_id"
    " and e.version in (4, 5) and o.version = 6"
)

FREEZE_DAMAGES = [
    Damage("more frozen than there is", {"I1", "I2", "I4"}, (GRANT.format("frozen = remaining + 1", "first"),)),
    Damage("frozen by no entry", {"I1", "I4"}, (GRANT.format("frozen = frozen + 1", "first"),)),
    Damage("thawed by no entry", {"I1", "I4"}, (GRANT.format("frozen = 0", "first"),)),
    Damage("frozen by no order", {"I3"}, ("delete from credit_freezes where team_id = :team and cause_key = 'dispute:a'",)),
    Damage("thawed by an order to freeze", {"I3"}, (
        "update credit_freezes set amount = -amount where team_id = :team and amount < 0",
    )),
    Damage("a spend with a freeze's cause", {"I3"}, (ENTRY.format("cause_key = 'dispute:a'", 4), ENTRY.format("cause_key = 'x'", 2))),
    Damage("a freeze that used something up", {"I4"}, (
        FREEZE_TAKES,
    )),
    Damage("past what could be spent", {"I5"}, (
        ENTRY.format("version = -1", 4), ENTRY.format("version = 4, balance_after = 120", 5),
        ENTRY.format("version = 5, balance_after = 50", -1),
        AT_ONE_TIME,
    )),
    Damage("a freeze of another team", {"I3", "I14"}, (
        "update credit_freezes set team_id = :other, cause_key = 'x' where team_id = :team and cause_key = 'dispute:a'",
    )),
]  # fmt: skip


def damage(owner: Connection, damage: Damage, team_id: str, other_id: str) -> None:
    """Do it with every constraint gone and the triggers off, and put the triggers back."""
    names = {"team": team_id, "other": other_id}
    constraints = owner.execute(
        text(
            "select conrelid::regclass::text as relation, conname from pg_constraint"
            " where conrelid::regclass::text = any(:tables) and contype in ('c', 'f', 'u') order by contype = 'u'"
        ),
        {"tables": list(TABLES)},
    ).all()
    for relation, name in constraints:
        owner.execute(text(f"alter table {relation} drop constraint {name} cascade"))
    for table in TABLES:
        owner.execute(text(f"alter table {table} disable trigger user"))
    for statement in damage.statements:
        done = owner.execute(text(statement), {name: id_ for name, id_ in names.items() if f":{name}" in statement})
        assert done.rowcount, f"the damage missed: {statement}"
    for table in TABLES:
        owner.execute(text(f"alter table {table} enable trigger user"))


def test_a_sound_ledger_has_no_violations(owner: Connection, team_id: str) -> None:
    assert found() == found(team_id) == {}


@pytest.mark.parametrize("case", DAMAGES, ids=lambda case: case.name)
def test_each_damage_is_found_and_nothing_else(owner: Connection, teams: tuple[str, str], case: Damage) -> None:
    damage(owner, case, *teams)
    assert set(found()) == case.invariants


@pytest.mark.parametrize("case", FREEZE_DAMAGES, ids=lambda case: case.name)
def test_each_damage_to_what_is_frozen_is_found(
    frozen_team: str, owner: Connection, teams: tuple[str, str], case: Damage
) -> None:
    assert found() == {}
    damage(owner, case, frozen_team, teams[1])
    assert set(found()) == case.invariants


@pytest.mark.parametrize("how", ["disable trigger {}", "drop"])
@pytest.mark.parametrize(
    "trigger",
    [
        "credit_entries_append_only",
        "credit_consumptions_no_truncate",
        "credit_grants_guard",
        "credit_accounts_no_delete",
    ],
)
def test_a_trigger_that_is_off_is_found(owner: Connection, how: str, trigger: str) -> None:
    table = next(table for table in TABLES if trigger.startswith(table))
    if how == "drop":
        owner.execute(text(f"drop trigger {trigger} on {table}"))
    else:
        owner.execute(text(f"alter table {table} {how.format(trigger)}"))
    assert found() == {"I7": 1}


def test_a_team_is_verified_alone(owner: Connection, teams: tuple[str, str]) -> None:
    """One team's damage is nothing to another's proof."""
    case = next(case for case in DAMAGES if case.name == "a wrong balance on the way")
    damage(owner, case, *teams)
    assert set(found(teams[0])) == {"I6"}
    assert found(teams[1]) == {}


def test_the_command_says_what_is_wrong(portal_app: Flask, owner: Connection, teams: tuple[str, str]) -> None:
    runner, team_id = portal_app.test_cli_runner(), teams[0]
    sound = runner.invoke(args=["ledger", "verify"])
    assert (sound.exit_code, sound.output.count("0 violations")) == (0, len(INVARIANTS))
    case = next(case for case in DAMAGES if case.name == "a balance changed")
    damage(owner, case, *teams)
    broken = runner.invoke(args=["ledger", "verify", "--team", team_id])
    assert broken.exit_code == 1
    assert "I1   2 violated" in broken.output
    assert f"{team_id}: the account says" in broken.output
