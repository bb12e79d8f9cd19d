"""The book of chaos: the seed, the rules with what each has met, and what struck. It stands in the sandbox's state."""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from portal.sandbox.chaos.rules import SEED_MAX, Rule
from portal.sandbox.store import Object, Store

STRIKES_SHOWN = 200
STRIKES_KEPT = 1000


@dataclass(frozen=True)
class Entry:
    """A rule in the book: its number, how much it has met and how often it struck."""

    number: int
    rule: Rule
    met: int
    struck: int

    def shown(self) -> Object:
        """Return the entry as the control interface shows it."""
        return {"number": self.number} | asdict(self.rule) | {"met": self.met, "struck": self.struck}


@dataclass(frozen=True)
class Strike:
    """A fault that falls on one call or one delivery."""

    number: int
    rule: Rule


def seed(store: Store) -> int:
    """Return what the dice are thrown by; a new state gets one by chance."""
    text = store.read_state("chaos_seed", "")
    if not text:
        text = str(secrets.randbelow(SEED_MAX))
        store.write_state("chaos_seed", text)
    return int(text)


def set_seed(store: Store, value: int) -> None:
    """Choose the seed and begin to count anew, so that the same requests meet the same faults."""
    store.write_state("chaos_seed", str(value))
    store.execute("UPDATE chaos_rules SET met = 0, struck = 0")
    store.execute("DELETE FROM chaos_strikes")


def rate_limit(store: Store) -> int:
    """Return how many requests a second are answered, 0 for any number."""
    return int(store.read_state("chaos_rate_limit", "0"))


def set_rate_limit(store: Store, per_second: int) -> None:
    """Answer at most so many requests a second."""
    store.write_state("chaos_rate_limit", str(per_second))


def has_rules(store: Store, place: str) -> bool:
    """Say whether there is any rule to ask."""
    return bool(store.query("SELECT 1 FROM chaos_rules WHERE place = ? LIMIT 1", (place,)))


def entries(store: Store, place: str | None = None) -> list[Entry]:
    """Return the rules in the order in which they are asked."""
    rows = store.query("SELECT * FROM chaos_rules WHERE ? IN (place, '') ORDER BY number", (place or "",))
    return [Entry(row["number"], Rule(**json.loads(row["body"])), row["met"], row["struck"]) for row in rows]


def add(store: Store, rule: Rule) -> None:
    """Write a rule after the others."""
    number = store.query("SELECT coalesce(max(number), 0) + 1 AS next FROM chaos_rules")[0]["next"]
    sql = "INSERT INTO chaos_rules (number, place, body) VALUES (?, ?, ?)"
    store.execute(sql, (number, rule.place, json.dumps(asdict(rule))))


def remove(store: Store, number: int | None = None) -> None:
    """Strike out one rule, or all of them."""
    store.execute("DELETE FROM chaos_rules WHERE number = ? OR ? IS NULL", (number, number))


def strikes(store: Store, place: str, subject: str) -> Iterator[Strike]:
    """Count what is met and yield what strikes it, rule by rule."""
    for entry in entries(store, place):
        if not entry.rule.matches(subject):
            continue
        met = entry.met + 1
        hit = entry.rule.strikes(seed(store), entry.number, met, entry.struck)
        sql = "UPDATE chaos_rules SET met = ?, struck = struck + ? WHERE number = ?"
        store.execute(sql, (met, int(hit), entry.number))
        if hit:
            yield Strike(entry.number, entry.rule)


def note(store: Store, place: str, fault: str, subject: str) -> None:
    """Write down that something was broken."""
    sql = "INSERT INTO chaos_strikes (at, place, fault, subject) VALUES (?, ?, ?, ?)"
    store.execute(sql, (time.time(), place, fault, subject))
    store.execute("DELETE FROM chaos_strikes WHERE id <= (SELECT max(id) FROM chaos_strikes) - ?", (STRIKES_KEPT,))


def noted(store: Store, limit: int = STRIKES_SHOWN) -> list[Object]:
    """Return what was broken, newest first."""
    rows = store.query("SELECT * FROM chaos_strikes ORDER BY id DESC LIMIT ?", (limit,))
    return [{name: row[name] for name in ("at", "place", "fault", "subject")} for row in rows]


def shown(store: Store) -> dict[str, Any]:
    """Return everything, as the control interface shows it."""
    return {
        "seed": seed(store),
        "rate_limit": rate_limit(store),
        "rules": [entry.shown() for entry in entries(store)],
        "strikes": noted(store),
    }
