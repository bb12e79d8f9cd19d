"""The switches of chaos: the seed, the rules, the rate limit, and what was broken so far."""

from flask import Flask, Response, request

from portal.sandbox.chaos import book
from portal.sandbox.chaos.rules import CALL_FAULTS, EVENT_FAULTS, FAULTS, RULE, RULES_MAX, SETTINGS, Rule, rule_of
from portal.sandbox.errors import invalid
from portal.sandbox.hosted.panel import addresses
from portal.sandbox.hosted.panel.frame import add_page, done, panel
from portal.sandbox.older_versions import OLDER_VERSIONS
from portal.sandbox.parameters import parse
from portal.sandbox.sandbox import Sandbox

_SHOWN = 50


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def chaos() -> Response:
        if request.method == "GET":
            return _page(sandbox)
        with sandbox.store.transaction():
            note = _act(sandbox)
        sandbox.chaos.reread()
        return done(addresses.CHAOS, note)

    add_page(app, sandbox, addresses.CHAOS, chaos, ("GET", "POST"))


def _page(sandbox: Sandbox) -> Response:
    store = sandbox.store
    return panel(
        sandbox,
        "panel_chaos.html",
        "chaos",
        seed=book.seed(store),
        rate_limit=book.rate_limit(store),
        rules=book.entries(store),
        strikes=book.noted(store, _SHOWN),
        faults=[(f"calls {name}", words) for name, words in CALL_FAULTS.items()],
        event_faults=[(f"events {name}", words) for name, words in EVENT_FAULTS.items()],
        what=_what,
        when=_when,
        versions=OLDER_VERSIONS,
    )


def _what(rule: Rule) -> str:
    """Return what a rule does, in words."""
    more = {
        "delay": f"{rule.milliseconds} ms",
        "reorder": f"{rule.milliseconds} ms at most",
        "duplicate": _times(rule.count),
        "drop": _times(rule.count),
        "old_version": rule.api_version,
    }.get(rule.fault)
    return FAULTS[rule.place][rule.fault] + (f" ({more})" if more else "")


def _when(rule: Rule) -> str:
    """Return how often a rule strikes, in words."""
    told = ["Always" if rule.chance == 100 else f"{rule.chance} of 100"]
    if rule.skip:
        told.append(f"after the first {rule.skip}")
    if rule.times:
        told.append(f"at most {_times(rule.times)}")
    return ", ".join(told)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _act(sandbox: Sandbox) -> str:
    """Do what the pressed button says; returns the word for what was done."""
    store, act = sandbox.store, request.form.get("act", "")
    given = {name: value for name, value in request.form.items() if name not in ("act", "kind") and value.strip()}
    if act == "add":
        place, _, fault = request.form.get("kind", "").partition(" ")
        if len(book.entries(store)) >= RULES_MAX:
            raise invalid(f"There may be {RULES_MAX} rules at most.", "rules")
        book.add(store, rule_of(parse(RULE, {**given, "place": place, "fault": fault})))
        return "broken"
    values = parse({**SETTINGS, "number": RULE["skip"]}, given)
    if act == "remove":
        book.remove(store, values.get("number", 0))
        return "removed"
    if act == "seed":
        book.set_seed(store, values.get("seed", book.seed(store)))
        return "seeded"
    if act == "rate":
        book.set_rate_limit(store, values.get("rate_limit", 0))
        return "broken"
    book.remove(store)
    book.set_rate_limit(store, 0)
    return "ended"
