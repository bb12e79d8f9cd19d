"""`flask ledger verify` against itself: each kind of damage is done to a sound account, and exactly it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
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
from portal.credits import holds, ledger, verify
from portal.credits.invariants import INVARIANTS
from tests.conftest import empty_tables
from tests.lifecycle.credits.account import new_team

TABLES = (
    "credit_accounts",
    "credit_grants",
    "credit_entries",
    "credit_consumptions",
    "credit_reversals",
    "credit_holds",
    "credit_hold_lots",
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


def make_held_history(team_id: str) -> None:
    """One in which credits are held in every way there is."""
    steps: list[Callable[[], object]] = [
        lambda: give(team_id, "subscription", 100, "plan", days=10),  # 1
        lambda: give(team_id, "bundle", 60, "bundle"),  # 2
        lambda: hold(team_id, 30, "a"),  # plan 30
        lambda: hold(team_id, 80, "b"),  # plan 70, bundle 10
        lambda: holds.settle(team_id, hold_id(team_id, "a"), 20, "usage:a"),  # 3: plan 20
        lambda: ledger.spend(team_id, 30, "usage:b"),  # 4: plan 10, bundle 20
        lambda: give(team_id, "gift", 40, "gift", days=5),  # 5
        lambda: hold(team_id, 15, "c"),  # gift 15
        lambda: ledger.end_early(team_id, "gift"),  # lapses with 25
        lambda: ledger.reverse(team_id, "bundle", 60, "refund:a"),  # 6: bundle 30, debt 30
        lambda: holds.settle(team_id, hold_id(team_id, "b"), 60, "usage:c"),  # 7: plan 60; of 20, 20 repay
        lambda: hold(team_id, 1, "d", refused=True),
        lambda: holds.release(team_id, hold_id(team_id, "c")),  # 8: 10 repay, 30 expire
        lambda: give(team_id, "adjustment", 50, "sorry", days=1),  # 9
        lambda: give(team_id, "adjustment", 50, "more", days=2),  # 10
        lambda: hold(team_id, 60, "e"),  # sorry 50, more 10
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


def hold(team_id: str, amount: int, key: str, *, refused: bool = False) -> None:
    with pytest.raises(ledger.InsufficientCredits) if refused else nullcontext():
        holds.hold(team_id, amount, f"hold:{key}", timedelta(hours=1))


def hold_id(team_id: str, key: str) -> str:
    query = text("select id from credit_holds where team_id = :team_id and cause_key = :cause_key")
    return str(db.session.execute(query, {"team_id": team_id, "cause_key": f"hold:{key}"}).scalar_one())


@pytest.fixture(scope="module")
def teams(portal_app: Flask) -> tuple[str, ...]:
    """Two teams with the same history, and two with another one, in an otherwise empty ledger."""
    empty_tables(portal_app)
    with portal_app.app_context():
        made = tuple(new_team() for _ in range(4))
        for team in made[:2]:
            make_history(team)
        for team in made[2:]:
            make_held_history(team)
    return made


@pytest.fixture(scope="module")
def frozen_team(portal_app: Flask, teams: tuple[str, str]) -> str:
    with portal_app.app_context():
        team_id = new_team()
        make_frozen_history(team_id)
    return team_id


@pytest.fixture
def team_id(teams: tuple[str, ...]) -> str:
    return teams[0]


@pytest.fixture
def owner(portal_app: Flask, teams: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
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
    Damage("debt nobody made", {"I1", "I2", "I10"}, (TAKEN.format("amount = 4", 7, "gift"), GRANT.format("remaining = 1", "gift"))),
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


HOLD = "update credit_holds set {} where team_id = :team and cause_key = 'hold:{}'"
PART = (
    "update credit_hold_lots set {} where hold_id = (select id from credit_holds where team_id = :team"
    " and cause_key = 'hold:{}') and grant_id = (select id from credit_grants where team_id = :team and cause_key = '{}')"
)

# Done to the first of the two teams that held credits.
HELD_DAMAGES = [
    Damage("held and yet available", {"I1"}, (ACCOUNT.format("available = available + 60, reserved = reserved - 60"),)),
    Damage("held by nobody", {"I1"}, (GRANT.format("held = held + 1", "more"),)),
    Damage("a hold forgotten", {"I1"}, (HOLD.format("state = 'released', closed_version = 10, closed_at = created_at", "e"),)),
    Damage("a hold with a grant's cause", {"I3"}, (HOLD.format("cause_key = 'sorry'", "e"),)),
    Damage("two holds of one cause", {"I3"}, (HOLD.format("cause_key = 'hold:a'", "c"),)),
    Damage("a hold larger than its parts", {"I4"}, (HOLD.format("amount = 61", "e"),)),
    Damage("settled with more than was spent", {"I4"}, (HOLD.format("settled = 21", "a"),)),
    Damage("settled from a lot it did not hold", {"I4", "I5"}, (
        TAKEN.format(f"grant_id = {ID_OF.format('bundle')}", 3, "plan"), GRANT.format("remaining = 20", "plan"),
    )),
    Damage("a debt that was not repaid", {"I2", "I4"}, (PART.format("repaid = 0", "c", "gift"),)),
    Damage("the later grant held first", {"I5"}, (
        PART.format("grant_id = -grant_id", "e", "sorry"),
        PART.format(f"grant_id = {ID_OF.format('sorry')}", "e", "more"),
        PART.replace("grant_id = (", "grant_id = -(").format(f"grant_id = {ID_OF.format('more')}", "e", "sorry"),
        GRANT.format("held = 10", "sorry"), GRANT.format("held = 50", "more"),
    )),
    Damage("spent past what was free", {"I5"}, (HOLD.format("opened_version = 4", "b"),)),
    Damage("settled when it was over", {"I10"}, (HOLD.format("expires_at = created_at", "a"),)),
    Damage("expired before its time", {"I10"}, (HOLD.format("state = 'expired'", "c"),)),
    Damage("held when it was over", {"I10"}, (HOLD.format("created_at = created_at + interval '1 day'", "e"),)),
    Damage("a part of another team", {"I14"}, (PART.format("team_id = :other", "e", "more"),)),
    Damage("a part of nothing", {"I4", "I5", "I14"}, (PART.format("hold_id = 'hold_x'", "a", "plan"),)),
    Damage("settled by another team's entry", {"I4", "I14"}, (
        HOLD.format("entry_id = (select id from credit_entries where team_id = :other and version = 3)", "a"),
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
def test_each_damage_is_found_and_nothing_else(owner: Connection, teams: tuple[str, ...], case: Damage) -> None:
    damage(owner, case, *teams[:2])
    assert set(found()) == case.invariants


@pytest.mark.parametrize("case", HELD_DAMAGES, ids=lambda case: case.name)
def test_each_damage_to_a_hold_is_found(owner: Connection, teams: tuple[str, ...], case: Damage) -> None:
    damage(owner, case, *teams[2:])
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
        "credit_holds_guard",
        "credit_hold_lots_guard",
    ],
)
def test_a_trigger_that_is_off_is_found(owner: Connection, how: str, trigger: str) -> None:
    table = next(table for table in TABLES if trigger.startswith(f"{table}_"))
    if how == "drop":
        owner.execute(text(f"drop trigger {trigger} on {table}"))
    else:
        owner.execute(text(f"alter table {table} {how.format(trigger)}"))
    assert found() == {"I7": 1}


def test_a_team_is_verified_alone(owner: Connection, teams: tuple[str, ...]) -> None:
    """One team's damage is nothing to another's proof."""
    case = next(case for case in DAMAGES if case.name == "a wrong balance on the way")
    damage(owner, case, *teams[:2])
    assert set(found(teams[0])) == {"I6"}
    assert found(teams[1]) == {}


def test_the_command_says_what_is_wrong(portal_app: Flask, owner: Connection, teams: tuple[str, ...]) -> None:
    runner, team_id = portal_app.test_cli_runner(), teams[0]
    sound = runner.invoke(args=["ledger", "verify"])
    assert (sound.exit_code, sound.output.count("0 violations")) == (0, len(INVARIANTS))
    case = next(case for case in DAMAGES if case.name == "a balance changed")
    damage(owner, case, *teams[:2])
    broken = runner.invoke(args=["ledger", "verify", "--team", team_id])
    assert broken.exit_code == 1
    assert "I1   3 violated" in broken.output
    assert f"{team_id}: the account says" in broken.output
