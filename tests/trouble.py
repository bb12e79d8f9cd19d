"""Trouble at the stand-in, for as long as a block runs: faults in its calls, as `portal/sandbox/README.md` lists them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.stage import API_KEY, Stage


def configure_chaos(url: str, method: str = "POST", **settings: Any) -> dict[str, Any]:
    """Set chaos up at a stand-in, look at it (GET) or end it (DELETE)."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    answer = requests.request(method, f"{url}/_sandbox/chaos", json=settings, headers=headers, timeout=20)
    answer.raise_for_status()
    return dict(answer.json())


@contextmanager
def trouble(stage: Stage, *rules: dict[str, Any], **settings: Any) -> Iterator[None]:
    configure_chaos(stage.stripe_url, rules=list(rules), **settings)
    try:
        yield
    finally:
        configure_chaos(stage.stripe_url, "DELETE")


def call_fault(fault: str, match: str, times: int | None = 1, **more: Any) -> dict[str, Any]:
    """A rule for calls: the fault strikes the first that match, so many of them."""
    return {"place": "calls", "fault": fault, "match": match, "times": times, **more}


def struck(stage: Stage) -> int:
    """How often the rules have struck."""
    return sum(rule["struck"] for rule in configure_chaos(stage.stripe_url, "GET")["rules"])
