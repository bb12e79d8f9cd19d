"""What the clients were told, held against the tables: I1 to I14 as far as they are about the ledger.

It reads the clients' logs and the tables, and nothing else: what was acknowledged is there exactly once, what was
refused is not there, what nobody was told of is there once or not at all (I9), nothing is there that nobody asked for
(I3), every answer given twice was the same (I8), and every account can be told again from its rows (`replay.py`).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.chaos.replay import Replay, Row, Tables

Asked = dict[str, Any]

# The keys of the clients as the causes and the names they gave them.
CAUSE = {
    "spend": "spend:",
    "use": "usage:",
    "grant": "lot:",
    "reverse": "refund:",
    "hold": "held:",
    "settle": "settled:",
}
FAULTS_SHOWN = 40
GUARDED = ("credit_accounts", "credit_grants", "credit_entries", "credit_consumptions", "credit_reversals",
           "credit_holds", "credit_hold_lots")  # fmt: skip


@dataclass
class Told:
    """All that was said about one request: when it was acknowledged and how, when refused; `unknown` times nobody knows."""

    asked: Asked
    done: list[tuple[int, int, Any]] = field(default_factory=list)
    refused: list[tuple[int, str, Any]] = field(default_factory=list)
    unknown: int = 0


@dataclass
class Logs:
    """By team, act and key: what was asked, and what was told. `figures` counts operations by what came of them."""

    told: dict[str, dict[tuple[str, str], Told]] = field(default_factory=lambda: defaultdict(dict))
    figures: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Logs:
        logs = cls()
        for path in sorted(folder.glob("*.log")):
            logs._add(path)
        return logs

    def _add(self, path: Path) -> None:
        """One life of a client. Its last line may be torn, and its last request unanswered."""
        waiting: tuple[int, Asked] | None = None
        with path.open() as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break
                what, _number, at, _operations, content = json.loads(line)
                if what == "asked":
                    waiting = at, content
                elif waiting:
                    self._tell(waiting[1], waiting[0], at, *content)
                    waiting = None
        if waiting:
            self.figures["killed"] += 1
            for asked in _single(waiting[1]):
                self._of(asked).unknown += 1
                self.figures["unknown"] += 1

    def _tell(self, asked: Asked, since: int, at: int, outcome: str, answer: Any) -> None:
        if asked.get("otherwise"):
            self.figures["otherwise"] += 1
            if outcome != "conflict":
                self.faults.append(f"I8 asked otherwise under a known key, and told {outcome}: {asked}")
            return
        answers = answer if "uses" in asked and outcome == "done" else [[outcome, answer]] * len(_single(asked))
        for one, (result, given) in zip(_single(asked), answers, strict=True):
            told = self._of(one)
            self.figures[f"{one['act']} {result}"] += 1
            if told.done or told.refused:
                self.figures["repeated"] += 1
            if result == "done":
                told.done.append((since, at, given))
            else:
                told.refused.append((since, result, given))

    def _of(self, asked: Asked) -> Told:
        return self.told[asked["team"]].setdefault((asked["act"], asked["key"]), Told(asked))


def _single(asked: Asked) -> list[Asked]:
    """A report of several uses, taken apart."""
    if "uses" not in asked:
        return [asked]
    return [
        {"act": "use", "team": asked["team"], "key": key, "meter": meter, "quantity": quantity}
        for key, meter, quantity in asked["uses"]
    ]


def check(folder: Path, database_url: str, teams: Iterable[str]) -> tuple[list[str], Counter[str]]:
    """The violations, and figures of the run."""
    logs = Logs.read(folder)
    faults, figures = logs.faults, logs.figures
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        faults += _check_triggers(connection)
        for team in teams:
            tables = read_tables(connection, team)
            if tables is None:
                faults += [f"I9 {team}: an answer, and no account" for told in logs.told[team].values() if told.done]
                continue
            faults += Replay(tables).run()
            faults += list(Team(team, tables, logs.told[team], read_uses(connection, team)).check())
            figures.update(f"entry {entry['kind']}" for entry in tables.entries)
            figures.update(f"hold is {hold['state']}" for hold in tables.holds)
            figures["lots lapsed"] += sum(row["lapsed_version"] is not None for row in tables.grants)
            figures["debts"] += any(row["kind"] == "reversed" for row in tables.entries) and tables.account["debt"] > 0
        faults += _check_sums(connection)
    return faults, figures


@dataclass
class Uses:
    """A team's answers and events by key, and the totals of its days and events by meter."""

    keys: dict[str, Row]
    events: dict[str, list[Row]]
    by_day: dict[str, tuple[int, int, int]]
    by_event: dict[str, tuple[int, int, int]]


@dataclass
class Team:
    """One team's tables beside what its clients know."""

    id: str
    tables: Tables
    told: dict[tuple[str, str], Told]
    uses: Uses

    def __post_init__(self) -> None:
        self.entries: dict[str, list[Row]] = defaultdict(list)
        for entry in self.tables.entries:
            self.entries[entry["cause_key"]].append(entry)
        self.grants = _by_cause(self.tables.grants)
        self.reversals = _by_cause(self.tables.reversals)
        self.holds = _by_cause(self.tables.holds)
        self.holds_by_id = {row["id"]: row for row in self.tables.holds}

    def check(self) -> Iterator[str]:
        for (act, key), told in self.told.items():
            checks = getattr(self, f"_{act}", None)
            if checks:
                yield from (f"{fault} ({self.id} {act} {key})" for fault in checks(told, CAUSE.get(act, "") + key))
        yield from (f"{fault} ({self.id})" for fault in self._nobody_asked())
        if self.uses.by_day != self.uses.by_event:
            yield f"I1 the totals of the days are not those of the events ({self.id})"

    def _spend(self, told: Told, cause: str) -> Iterator[str]:
        entries = self.entries.get(cause, [])
        yield from self._once(told, len(entries))
        yield from _same(told)
        for entry in entries:
            if (entry["kind"], entry["amount"]) != ("spent", -told.asked["amount"]):
                yield f"I3 the entry is {entry['kind']} {entry['amount']}"
            answer = [entry["balance_after"], entry["version"], entry["id"]]
            if any(given != answer for _since, _at, given in told.done):
                yield f"I8 told {told.done[0][2]}, the entry is {answer}"

    def _use(self, told: Told, cause: str) -> Iterator[str]:
        key = told.asked["key"]
        entries, events, kept = self.entries.get(cause, []), self.uses.events.get(key, []), self.uses.keys.get(key)
        yield from self._once(told, len(entries))
        yield from _same(told)
        if not len(entries) == len(events) == bool(kept):
            yield f"I9 {len(entries)} entries, {len(events)} events, the key is kept: {bool(kept)}"
            return
        for entry, event in zip(entries, events, strict=True):
            if (event["entry_id"], event["cost"], event["quantity"], event["meter"]) != (
                entry["id"], -entry["amount"], told.asked["quantity"], told.asked["meter"]
            ):  # fmt: skip
                yield f"I3 the event is {event}, the entry {entry}"
        if kept and any(given != kept["body"] for _since, _at, given in told.done):
            yield "I8 another answer is kept than was given"

    def _grant(self, told: Told, cause: str) -> Iterator[str]:
        rows = self.grants.get(cause, [])
        yield from self._once(told, len(rows))
        if sum(given is True for _since, _at, given in told.done) > 1:
            yield "I8 two were told that they had granted"
        if any((row["kind"], row["amount"]) != (told.asked["kind"], told.asked["amount"]) for row in rows):
            yield "I3 the grant is another one"

    def _reverse(self, told: Told, cause: str) -> Iterator[str]:
        rows, entries = self.reversals.get(cause, []), self.entries.get(cause, [])
        yield from self._once(told, len(rows))
        if len(entries) > len(rows) or any(-entry["amount"] > told.asked["amount"] for entry in entries):
            yield "I3 more was taken back than was ordered"
        taken = -entries[0]["amount"] if entries else 0
        if not {given for _since, _at, given in told.done} <= {0, taken}:
            yield f"I8 told {told.done}, and {taken} were taken back"

    def _hold(self, told: Told, cause: str) -> Iterator[str]:
        rows = self.holds.get(cause, [])
        yield from self._once(told, len(rows))
        yield from _same(told)
        for row in rows:
            if row["amount"] != told.asked["amount"] or any(given != row["id"] for _s, _a, given in told.done):
                yield f"I8 told {told.done}, the hold is {row['id']} of {row['amount']}"

    def _settle(self, told: Told, cause: str) -> Iterator[str]:
        hold, entries = self.holds_by_id[told.asked["hold"]], self.entries.get(cause, [])
        yield from self._once(told, len(entries))
        yield from _same(told)
        yield from self._closed(told, hold)
        if entries and (hold["state"], hold["entry_id"]) != ("settled", entries[0]["id"]):
            yield f"I3 the entry settled what is {hold['state']}"
        for _since, _at, given in told.done:
            if entries and given != [entries[0]["balance_after"], entries[0]["version"], entries[0]["id"]]:
                yield f"I8 told {given}, the entry is {entries[0]}"

    def _release(self, told: Told, _cause: str) -> Iterator[str]:
        hold = self.holds_by_id[told.asked["hold"]]
        yield from self._closed(told, hold)
        if told.done and hold["state"] != "released":
            yield f"I9 told that it is released, and it is {hold['state']}"

    def _closed(self, told: Told, hold: Row) -> Iterator[str]:
        """What has closed a hold has closed it for ever. Only of its end a client may hear before that is written, and
        then a clock that is set back may still let it be settled in time.
        """
        final = (hold["state"], "expired")
        wrong = [state for _since, result, state in told.refused if result == "closed" and state not in final]
        if wrong:
            yield f"I9 told that it is {wrong}, and it is {hold['state']}"

    def _once(self, told: Told, rows: int) -> Iterator[str]:
        """Acknowledged once, refused never, unknown once or not at all; after an acknowledgement nobody is refused."""
        if told.done and rows != 1:
            yield f"I9 acknowledged, and there {rows} times"
        if not told.done and rows > bool(told.unknown):
            yield f"I9 not acknowledged, unknown {told.unknown} times, and there {rows} times"
        since = min((at for _since, at, _given in told.done), default=None)
        late = [result for asked_at, result, _ in told.refused if since and asked_at > since and result != "busy"]
        if late:
            yield f"I8 told {late} after it was done"

    def _nobody_asked(self) -> Iterator[str]:
        asked = {CAUSE[act] + key for act, key in self.told if act in CAUSE}
        for cause, rows in self.entries.items():
            if len(rows) > 1:
                yield f"I3 {len(rows)} entries for {cause}"
            own = cause == f"expire:grant:{rows[0]['grant_id']}" and rows[0]["kind"] == "expired"
            if not own and cause not in asked:
                yield f"I3 nobody asked for {cause}"
        for rows_by_cause in (self.grants, self.reversals, self.holds):
            for cause, rows in rows_by_cause.items():
                if cause not in asked or len(rows) > 1:
                    yield f"I3 {len(rows)} rows of {cause}, asked for: {cause in asked}"
        for key in self.uses.keys.keys() - {key for act, key in self.told if act == "use"}:
            yield f"I3 nobody reported {key}"


def _by_cause(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["cause_key"]].append(row)
    return found


def _same(told: Told) -> Iterator[str]:
    answers = {json.dumps(given) for _since, _at, given in told.done}
    if len(answers) > 1:
        yield f"I8 {len(answers)} different answers"


def read_tables(connection: psycopg.Connection[Row], team: str) -> Tables | None:
    def rows(query: str) -> list[Row]:
        return connection.execute(query, {"team": team}).fetchall()

    accounts = rows("select * from credit_accounts where team_id = %(team)s")
    if not accounts:
        return None
    taken: dict[int, dict[int, int]] = defaultdict(dict)
    for row in rows("select entry_id, grant_id, amount from credit_consumptions where team_id = %(team)s"):
        taken[row["entry_id"]][row["grant_id"]] = row["amount"]
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows("select * from credit_hold_lots where team_id = %(team)s order by grant_id"):
        parts[row["hold_id"]].append(row)
    return Tables(
        account=accounts[0],
        grants=rows("select * from credit_grants where team_id = %(team)s order by id"),
        entries=rows("select * from credit_entries where team_id = %(team)s order by version"),
        taken=taken,
        reversals=rows("select * from credit_reversals where team_id = %(team)s"),
        holds=rows("select * from credit_holds where team_id = %(team)s order by created_at, id"),
        parts=parts,
    )


def read_uses(connection: psycopg.Connection[Row], team: str) -> Uses:
    def rows(query: str) -> list[Row]:
        return connection.execute(query, {"team": team}).fetchall()

    events: dict[str, list[Row]] = defaultdict(list)
    for row in rows("select key, meter, quantity, cost, entry_id from usage_events where team_id = %(team)s"):
        events[row["key"]].append(row)
    kept = {row["key"]: row for row in rows("select key, body from usage_keys where team_id = %(team)s")}
    sums = "select meter, sum(quantity) as quantity, sum(cost) as cost, {} as events from {} where team_id = %(team)s group by 1"
    totals = (sums.format("sum(events)", "usage_daily"), sums.format("count(*)", "usage_events"))
    by_day, by_event = (
        {row["meter"]: (int(row["quantity"]), int(row["cost"]), int(row["events"])) for row in rows(query)}
        for query in totals
    )
    return Uses(kept, events, by_day, by_event)


def _check_sums(connection: psycopg.Connection[Row]) -> Iterator[str]:
    """Over all accounts at once: all entries together are all balances, and no row points at another team's."""
    query = (
        "select (select sum(amount) from credit_entries) as entries,"
        " (select sum(available + reserved - debt) from credit_accounts) as accounts"
    )
    row = connection.execute(query).fetchone()
    if row is None or row["entries"] != row["accounts"]:
        yield f"I1 in all, entries and accounts are {row}"
    for child, column, parent in (
        ("credit_entries", "grant_id", "credit_grants"),
        ("credit_consumptions", "grant_id", "credit_grants"),
        ("credit_consumptions", "entry_id", "credit_entries"),
        ("credit_reversals", "grant_id", "credit_grants"),
        ("credit_hold_lots", "grant_id", "credit_grants"),
        ("credit_hold_lots", "hold_id", "credit_holds"),
        ("credit_holds", "entry_id", "credit_entries"),
        ("usage_events", "entry_id", "credit_entries"),
    ):
        across = connection.execute(
            f"select count(*) as rows from {child} c left join {parent} p on p.id = c.{column}"  # noqa: S608  all of it is ours
            f" where c.{column} is not null and p.team_id is distinct from c.team_id"
        ).fetchone()
        if across is None or across["rows"]:
            yield f"I14 {across} rows of {child} point at another team's {parent}"


def _check_triggers(connection: psycopg.Connection[Row]) -> Iterator[str]:
    """History cannot be rewritten: each table has its guards, and they are on."""
    for table in GUARDED:
        row = connection.execute(
            "select count(*) filter (where tgenabled in ('O', 'A')) as working from pg_trigger"
            " where tgrelid = to_regclass(%s) and not tgisinternal",
            [table],
        ).fetchone()
        # One against changes, one against truncating.
        if row is None or row["working"] < 2:
            yield f"I7 {table} is not guarded"
