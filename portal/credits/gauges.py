"""What the last proof of the ledger came to, when `/metrics` is asked. Before the first one there is nothing to say."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from portal.core import readings
from portal.core.metrics import gauge
from portal.credits import proof


def ledger_gauges() -> Iterator[Metric]:
    drift, violations = readings.last(proof.DRIFT), readings.last(proof.VIOLATIONS)
    if drift is None or violations is None:
        return
    yield gauge("billing_ledger_drift_credits", "Balances against their entries; must be 0.", drift.value)
    yield gauge("billing_ledger_violations", "Violated invariants of the ledger; must be 0.", violations.value)
    age = drift.age.total_seconds()
    yield gauge("billing_ledger_proof_age_seconds", "How old the two figures are; proofs are nightly.", age)


GAUGES = (ledger_gauges,)
