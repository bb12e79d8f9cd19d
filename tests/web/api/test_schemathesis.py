"""The document against the API: whatever it allows and much that it forbids is sent, and no answer breaks a promise.

The requests are the same in every run. Checks: no 5xx, only documented statuses, types, headers and bodies, refusal
of what the document forbids, acceptance of what it allows, methods that do not exist, headers that are missing, and
that nothing is answered without a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from tests.live import serving
from tests.web.api.backend import Backend, set_up_portal

# Valid by the document and refused all the same: a meter or a plan that the catalog does not know, a team without
# credits or bundles, a cursor that is no row, a hold that nobody made, too many checkouts.
REFUSED_FOR_REASON = ["400", "402", "403", "404", "409", "422", "429"]
CONFIG = {
    "seed": 3,
    "generation": {"deterministic": True, "max-examples": 25, "database": "none", "no-shrink": True},
    "phases": {"stateful": {"enabled": False}},
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", "304", *REFUSED_FOR_REASON]},
        "negative_data_rejection": {"expected-statuses": ["400", "404", "409", "415", "422"]},
    },
}


@pytest.fixture
def api_schema(app: Flask, backend: Backend) -> Iterator[Any]:
    backend.give(1_000_000, "bundle:much")
    set_up_portal(app)
    with serving(app) as address:
        config = SchemathesisConfig.from_dict(
            CONFIG | {"base-url": address, "headers": {"Authorization": f"Bearer {backend.secret}"}}
        )
        yield schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json", config=config)


def test_no_answer_breaks_a_promise_of_the_document(api_schema: Any) -> None:
    tried, broken = 0, []
    for event in engine.from_schema(api_schema).execute():
        if isinstance(event, NonFatalError | FatalError):
            broken.append(str(event))
        if isinstance(event, ScenarioFinished):
            tried += len(event.recorder.cases)
            broken += failures(event)
    assert broken == []
    assert tried > 20 * len(list(api_schema.get_all_operations()))


def failures(event: ScenarioFinished) -> list[str]:
    """What went wrong in one operation's turn, with the call that shows it."""
    return [
        f"{event.recorder.label}: {check.name}: {check.failure_info.failure.title} {check.failure_info.failure.message}"
        f"\n{check.failure_info.code_sample}"
        for checks in event.recorder.checks.values()
        for check in checks
        if check.failure_info is not None
    ]
