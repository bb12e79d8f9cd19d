"""What the database itself refuses, whoever asks: history stays, grants only wear out, teams stay apart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import holds, ledger
from portal.credits.models import APPEND_ONLY
from portal.credits.purchase_models import AutoPurchaseConsent
from tests.cast import make_user
from tests.conftest import empty_tables
from tests.lifecycle.credits.account import new_team

UPDATE = "update {} set {} where team_id = :team_id"

KEPT = ("credit_grants", "credit_accounts", "credit_holds", "credit_hold_lots")
GUARDED = (*APPEND_ONLY, *KEPT)


def connection_to(url: str) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="module")
def team_id(portal_app: Flask) -> str:
    """A team with a row in each table, beside another one. Nothing here is ever committed but this."""
    empty_tables(portal_app)
    with portal_app.app_context():
        for team in (new_team(), team_id := new_team()):
            with unit_of_work():
                ledger.grant(team, kind="gift", amount=10, cause_key="gift", source="")
                ledger.spend(team, 1, "usage:1")
                ledger.reverse(team, "gift", 1, "refund:1")
                holds.hold(team, 2, "hold:open", timedelta(hours=1))
                released = holds.hold(team, 2, "hold:released", timedelta(hours=1))
                holds.release(team, released.id)
                ledger.freeze(team, "gift", 1, "dispute:1")
                ledger.thaw(team, "gift", 1, "dispute:1:won")
                _consent(team)
    return team_id


def _consent(team_id: str) -> None:
    row = {"team_id": team_id, "user_id": make_user().id, "text_version": 1, "words": "I agree", "terms": {}}
    db.session.add(AutoPurchaseConsent(id=new_id("apc"), **row))


@pytest.fixture
def owner(portal_app: Flask, team_id: str) -> Iterator[Connection]:
    yield from connection_to(portal_app.config["SETTINGS"].database_owner_url)


@pytest.fixture
def portal(portal_app: Flask, team_id: str) -> Iterator[Connection]:
    yield from connection_to(portal_app.config["SETTINGS"].database_url)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["update {} set team_id = team_id", "delete from {}", "truncate {} cascade"])
def test_history_is_not_even_changed_by_the_owner(owner: Connection, table: str, statement: str) -> None:
    with pytest.raises(IntegrityError, match=r"\w+ is append-only"):
        owner.execute(text(statement.format(table)))


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["update {} set team_id = team_id", "delete from {}", "truncate {} cascade"])
def test_the_portal_has_no_right_to_try(portal: Connection, owner: Connection, table: str, statement: str) -> None:
    roles = [connection.execute(text("select current_user")).scalar() for connection in (portal, owner)]
    # Where the server allows only one role, the triggers stand alone.
    refusal = "permission denied" if roles[0] != roles[1] else "append-only"
    with pytest.raises(ProgrammingError if roles[0] != roles[1] else DBAPIError, match=refusal):
        portal.execute(text(statement.format(table)))


@pytest.mark.parametrize("table", KEPT)
@pytest.mark.parametrize("statement", ["delete from {}", "truncate {} cascade"])
def test_grants_accounts_and_holds_are_never_removed(owner: Connection, table: str, statement: str) -> None:
    with pytest.raises(IntegrityError):
        owner.execute(text(statement.format(table)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("amount = amount + 1", "only remaining and state may change"),
        ("kind = 'bundle'", "only remaining and state may change"),
        ("cause_key = 'other'", "only remaining and state may change"),
        ("source = 'other'", "only remaining and state may change"),
        ("effective_at = effective_at - interval '1 day'", "only remaining and state may change"),
        ("expires_at = effective_at + interval '1 day'", "only remaining and state may change"),
        ("created_at = created_at - interval '1 day'", "only remaining and state may change"),
        ("remaining = remaining + 1", "remaining may only fall"),
        ("remaining = amount, state = 'waiting'", "remaining may only fall"),
        ("state = 'waiting'", "cannot go from live back to waiting"),
        ("remaining = 0, held = 0", "state"),
        ("state = 'used'", "state"),
        ("state = 'gone'", "state"),
        ("held = remaining + 1", "held"),
        ("held = -1", "held"),
        ("state = 'ended', held = 0", "state"),
        ("lapsed_version = 1", "lapsed_version"),
        ("frozen = -1", "frozen"),
        ("frozen = remaining + 1", "frozen"),
    ],
)
def test_a_grant_only_wears_out(owner: Connection, team_id: str, change: str, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        owner.execute(text(UPDATE.format("credit_grants", change)), {"team_id": team_id})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("version = version - 1", "its version never falls"),
        ("available = -1", "available"),
        ("reserved = -1", "reserved"),
        ("debt = -1", "debt"),
        ("debt = 1", "debt_is_repaid_first"),
    ],
)
def test_an_account_only_goes_on(owner: Connection, team_id: str, change: str, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        owner.execute(text(UPDATE.format("credit_accounts", change)), {"team_id": team_id})


CLOSED = "closed_at = created_at, closed_version = opened_version"


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("open", "amount = 1", "it is closed once"),
        ("released", "state = 'expired'", "it is closed once"),
        ("released", "state = 'open', closed_at = null, closed_version = null", "it is closed once"),
        ("open", f"state = 'released', amount = 1, {CLOSED}", "only how it is closed may change"),
        ("open", f"state = 'released', cause_key = 'x', {CLOSED}", "only how it is closed may change"),
        ("open", f"state = 'released', expires_at = expires_at + expires_in, {CLOSED}", "only how it is closed"),
        ("open", f"state = 'released', user_id = 'user_1', {CLOSED}", "only how it is closed may change"),
        ("open", "state = 'released'", "ck_credit_holds_state"),
        ("open", f"state = 'released', settled = 1, {CLOSED}", "ck_credit_holds_state"),
        ("open", f"state = 'settled', settled = 2, {CLOSED}", "ck_credit_holds_state"),
        ("open", f"state = 'gone', {CLOSED}", "ck_credit_holds_state"),
    ],
)
def test_a_hold_is_closed_once(owner: Connection, team_id: str, key: str, change: str, message: str) -> None:
    statement = f"update credit_holds set {change} where team_id = :team_id and cause_key = 'hold:{key}'"  # noqa: S608  all of it is ours
    with pytest.raises(IntegrityError, match=message):
        owner.execute(text(statement), {"team_id": team_id})


@pytest.mark.parametrize(
    ("change", "message"),
    [("amount = 1", "only what is repaid"), ("repaid = 3", "ck_credit_hold_lots_repaid"), ("repaid = -1", "repaid")],
)
def test_what_is_held_of_a_lot_stays(owner: Connection, team_id: str, change: str, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        owner.execute(text(UPDATE.format("credit_hold_lots", change)), {"team_id": team_id})


CONSUMPTION = (
    "insert into credit_consumptions (entry_id, grant_id, team_id, amount)"
    " select e.id, g.id, {}.team_id, 1 from credit_entries e, credit_grants g"
    " where e.team_id = :team_id and g.team_id <> :team_id limit 1"
)
EXPIRY = (
    "insert into credit_entries (team_id, version, kind, amount, balance_after, cause_key, grant_id, at)"
    " select cast(:team_id as text), 99, 'expired', -1, 0, 'x', g.id, now()"
    " from credit_grants g where g.team_id <> :team_id"
)
REVERSAL = (
    "insert into credit_reversals (team_id, grant_id, amount, cause_key)"
    " select cast(:team_id as text), g.id, 1, 'x' from credit_grants g where g.team_id <> :team_id"
)
PART = (
    "insert into credit_hold_lots (team_id, hold_id, grant_id, amount)"
    " select {}.team_id, h.id, g.id, 1 from credit_holds h, credit_grants g"
    " where h.team_id = :team_id and g.team_id <> :team_id limit 1"
)
ACROSS = (CONSUMPTION.format("e"), CONSUMPTION.format("g"), EXPIRY, REVERSAL, PART.format("h"), PART.format("g"))


@pytest.mark.parametrize("statement", ACROSS)
def test_no_row_refers_to_another_teams(owner: Connection, team_id: str, statement: str) -> None:
    with pytest.raises(IntegrityError, match="violates foreign key constraint"):
        owner.execute(text(statement), {"team_id": team_id})


ENTRY = (
    "insert into credit_entries"
    " (team_id, version, kind, amount, balance_after, cause_key, grant_id, spend_order, at)"
    " select cast(:team_id as text), {version}, {kind}, {amount}, 0, {cause}, {grant}, {order}, now()"
    " from credit_grants where team_id = :team_id"
)
SPENT = {"version": "99", "kind": "'spent'", "amount": "-1", "cause": "'x'", "grant": "null", "order": "'expiry'"}


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"version": "1"}, "team_id_version"),
        ({"cause": "'usage:1'"}, "team_id_cause_key"),
        ({"amount": "0"}, "ck_credit_entries_amount"),
        ({"amount": "1"}, "ck_credit_entries_amount"),
        ({"kind": "'stolen'"}, "ck_credit_entries"),
        ({"grant": "id"}, "ck_credit_entries_grant_id"),
        ({"order": "null"}, "ck_credit_entries_ordered"),
        ({"order": "'price'"}, "ck_credit_entries_spend_order"),
        ({"kind": "'granted'", "grant": "id", "order": "null"}, "ck_credit_entries_amount"),
    ],
)
def test_an_entry_that_is_none(owner: Connection, team_id: str, change: dict[str, str], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        owner.execute(text(ENTRY.format(**SPENT | change)), {"team_id": team_id})


def test_the_statement_those_are_made_from_is_sound(owner: Connection, team_id: str) -> None:
    assert owner.execute(text(ENTRY.format(**SPENT)), {"team_id": team_id}).rowcount == 1
    owner.rollback()


@pytest.mark.parametrize("table", GUARDED)
def test_the_clock_of_the_ledger_is_the_shared_one(owner: Connection, table: str) -> None:
    """No time of the ledger comes from the server's own clock."""
    defaults = owner.execute(
        text("select column_default from information_schema.columns where table_name = :table"), {"table": table}
    ).scalars()
    assert not [default for default in defaults if default and "now()" in default and "app_now()" not in default]


GRANT_AGAIN = (
    "insert into credit_grants (team_id, kind, amount, remaining, effective_at, state, cause_key, source)"
    " select team_id, kind, amount, amount, now(), 'waiting', {}, source from credit_grants where team_id = :team_id"
)


def test_a_cause_grants_once(owner: Connection, team_id: str) -> None:
    """Whatever the portal asks before it grants: the table has the last word."""
    with pytest.raises(IntegrityError, match="team_id_cause_key"):
        owner.execute(text(GRANT_AGAIN.format("cause_key")), {"team_id": team_id})
    owner.rollback()
    assert owner.execute(text(GRANT_AGAIN.format("'another'")), {"team_id": team_id}).rowcount == 1
    owner.rollback()
