"""Changes of a plan and its seats, from the form to the invoice: what was shown is what is charged, and our rows follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from portal.billing.change_models import ChangePreview, PendingChange
from tests.cast import Cast
from tests.plan_changes import HALF, Changer
from tests.stage import Stage


def on(stage: Stage, cast: Cast, plan: str = "business", interval: str = "month", wait: timedelta = HALF) -> Changer:
    return Changer.on(stage, cast.owner, cast.team_id, plan, interval, wait=wait)


def assert_charged(changer: Changer, preview: ChangePreview, change: PendingChange) -> None:
    """The invoice of the change is exactly what was shown, line by line; without one nothing was to be paid."""
    assert change.state == "done", (change.state, change.failure_code)
    made = [one for one in changer.invoices() if one["billing_reason"] == "subscription_update"]
    if preview.amount_due == 0 and not preview.shown["at_once"]:
        assert made == []
    else:
        newest = made[0]
        assert (newest["amount_due"], newest["amount_paid"]) == (preview.amount_due, preview.amount_due)
        assert (newest["total"], newest["status"]) == (preview.shown["total"], "paid")
        lines = [line["amount"] for line in newest["lines"]["data"]]
        assert sorted(lines) == sorted(line["amount"] for line in preview.shown["lines"])
    changer.assert_mirrored()


Do = Callable[[Changer], tuple[ChangePreview, PendingChange]]

# By name: what the team is on, what is done, what is due now (None: more than nothing), and the plan afterwards.
KINDS: dict[str, tuple[tuple[str, str], Do, int | None, tuple[str, str]]] = {
    "upgrade": (("starter", "month"), lambda c: c.change("pro"), None, ("pro", "month")),
    "upgrade with a code": (
        ("pro", "month"), lambda c: c.change("business", promotion_code="LAUNCH20"), None, ("business", "month"),
    ),
    "month to year": (("business", "month"), lambda c: c.change("business", "year"), None, ("business", "year")),
    "upgrade to a year": (("starter", "month"), lambda c: c.change("pro", "year"), None, ("pro", "year")),
    "upgrade within a year": (("pro", "year"), lambda c: c.change("business", "year"), None, ("business", "year")),
    "downgrade": (("business", "month"), lambda c: c.change("pro"), 0, ("business", "month")),
    "downgrade with a code": (
        ("business", "month"), lambda c: c.change("pro", promotion_code="LAUNCH20"), 0, ("business", "month"),
    ),
    "year to month": (("business", "year"), lambda c: c.change("business"), 0, ("business", "year")),
    "more seats": (("pro", "month"), lambda c: c.change_seats(13), None, ("pro", "month")),
    "more seats later": (("business", "month"), lambda c: c.change_seats(27), 0, ("business", "month")),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_charged_is_what_was_shown(cast: Cast, stage: Stage, kind: str) -> None:
    (plan, interval), do, due, after = KINDS[kind]
    wait = timedelta(days=25) if plan in ("starter", "pro") else timedelta(days=12)  # past a trial
    changer = on(stage, cast, plan, interval, wait=wait)
    preview, change = do(changer)
    assert preview.amount_due > 0 if due is None else preview.amount_due == due
    assert_charged(changer, preview, change)
    ours = changer.mirrored()
    assert (ours.plan_key, ours.interval) == after
