"""Stripe's own command line against the stand-in: every event type that we handle and that it can trigger.

Only `make test-cli` runs this, since the command line comes by npm: `STRIPE_CLI` says where it is.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from portal.core.database import db
from portal.webhooks.claim import PARK_FOR
from portal.webhooks.handlers import HANDLERS
from portal.webhooks.models import StripeEvent
from tests.stage import API_KEY, Stage

SECONDS_MAX = 120
# Of these the command line knows nothing.
NOT_KNOWN = {
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "customer.tax_id.created",
    "customer.tax_id.deleted",
    "customer.tax_id.updated",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.resumed",
    "refund.created",
    "refund.failed",
    "refund.updated",
}


def stripe_cli(arguments: Sequence[str], home: Path) -> str:
    """Run the command line with a home of its own; returns what it said. It must succeed."""
    program = os.environ["STRIPE_CLI"]
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS_MAX,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def known(home: Path) -> set[str]:
    """What the command line can trigger."""
    return set(re.findall(r"^  ([a-z_]+\.[a-z_.]+)$", stripe_cli(["trigger", "--help"], home), re.MULTILINE))


@pytest.mark.parametrize("event_type", sorted(set(HANDLERS) - NOT_KNOWN))
def test_an_event_is_triggered_delivered_and_applied(event_type: str, stage: Stage, tmp_path: Path) -> None:
    # It lets a plan live a month that nobody pays for, as accounts have it that leave such plans past due.
    with stage.retries([1, 3, 5, 7], "past_due"):
        stripe_cli(["trigger", event_type, "--api-base", stage.stripe_url, "--api-key", API_KEY], tmp_path)
        delivered = stage.deliver_all()
    assert event_type in {event["type"] for event in delivered}
    # Nobody here has these customers: what is about them waits for a day, and is then let be.
    db.session.execute(
        update(StripeEvent).values(received_at=StripeEvent.received_at - 2 * PARK_FOR, run_at=func.now())
    )
    db.session.commit()
    stage.drain()
    columns = (StripeEvent.type, StripeEvent.state, StripeEvent.last_error)
    rows = db.session.execute(select(*columns).where(StripeEvent.event_id.in_(event["id"] for event in delivered)))
    assert [row for row in rows if row.state not in ("done", "ignored")] == []


def test_the_list_above_is_right(tmp_path: Path) -> None:
    assert set(HANDLERS) - known(tmp_path) == NOT_KNOWN
