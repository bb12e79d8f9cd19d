"""What became of a change, and everything that follows from it, written in one unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from portal.accounts import audit
from portal.billing import change_claim
from portal.billing.billing_mail import tell_of_change
from portal.billing.change_claim import Work
from portal.billing.change_models import ChangePreview
from portal.billing.gateway import Gateway
from portal.billing.mirror import StaleFetch
from portal.billing.plan_change import facts, subject_of
from portal.billing.sync import SubscriptionState, fetch_subscription_state
from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.failpoints import failpoint
from portal.core.unit_of_work import unit_of_work

FETCH_TRIES = 5
# News of the payment wakes a change that waits for it; this is for news that was lost.
LOOK_AGAIN = timedelta(minutes=10)
# Nothing has changed, or nobody knows: there is nothing to write but that.
UNTOUCHED = ("stale", "again", "unknown")
# What leaving and staying are called once they are done.
LEFT = {
    "cancel": "plan.canceled",
    "cancel_now": "plan.ended",
    "resume": "plan.resumed",
    "pause": "plan.paused",
    "unpause": "plan.unpaused",
}


@dataclass(frozen=True)
class Outcome:
    """A state of a change, or `again`: nothing is known, so look once more soon. `code` is Stripe's reason, or one of ours."""

    state: str
    invoice_id: str | None = None
    code: str | None = None
    confirm_url: str | None = None


def made(invoice_id: str | None) -> Outcome:
    return Outcome("done", invoice_id)


def record(stripe: Gateway, work: Work, outcome: Outcome, apply: Callable[[SubscriptionState], object]) -> None:
    """Write the outcome, with the subscription as it is at Stripe now. Raises `LeaseLost` and `GatewayError`."""
    if outcome.state in UNTOUCHED:
        with unit_of_work():
            _write(work, outcome)
        return
    for left in reversed(range(FETCH_TRIES)):
        state = fetch_subscription_state(stripe, work.preview.subscription_stripe_id)
        failpoint("changes.fetched")
        try:
            with unit_of_work():
                apply(state)
                _write(work, outcome)
                _follow(work, outcome, state)
                failpoint("changes.recorded")
            return
        except StaleFetch:
            if not left:
                raise


def _done_action(preview: ChangePreview) -> str:
    if preview.kind in LEFT:
        return LEFT[preview.kind]
    if preview.timing == "period_end":
        return "plan_change.planned"
    return {"undo": "plan_change.undone", "seats": "seats.changed", "addon": "addons.changed"}.get(
        preview.kind, "plan.changed"
    )


def _write(work: Work, outcome: Outcome) -> None:
    change = work.change
    values: dict[str, object] = {
        "failure_code": outcome.code,
        "confirm_url": outcome.confirm_url,
        "invoice_stripe_id": outcome.invoice_id or change.invoice_stripe_id,
    }
    match outcome.state:
        case "again":
            values = {"run_at": change_claim.after(change.attempts)}
        case "unknown":
            values |= {"state": "unknown", "run_at": change_claim.after(change.attempts)}
        case "requires_action":
            values |= {"state": "requires_action", "run_at": app_now() + LOOK_AGAIN}
        case _:
            values |= {"state": outcome.state, "finished_at": app_now()}
    change_claim.release(work, **values)


def _follow(work: Work, outcome: Outcome, state: SubscriptionState) -> None:
    """The audit trail, the mail, and a look whether what was charged is what was shown."""
    preview, actor = work.preview, audit.by_user(work.change.user_id)
    if outcome.state == "failed":
        detail = {"reason": outcome.code}
        action = f"{subject_of(preview)}.failed"
        audit.record(actor, action, team_id=preview.team_id, target=work.change.id, **detail)
    if outcome.state != "done":
        return
    audit.record(actor, _done_action(preview), team_id=preview.team_id, target=work.change.id, **facts(preview))
    tell_of_change(work.change, preview)
    for invoice in state.invoices:
        if invoice.stripe_id == outcome.invoice_id and invoice.data["amount_due"] != preview.amount_due:
            raise_alarm("charge_differs", work.change.id, shown=preview.amount_due, charged=invoice.data["amount_due"])
