"""What became of a try to pay an invoice, and everything that follows from it, written in one unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from portal.accounts import audit
from portal.billing import leased_work
from portal.billing.card_testing import note_decline
from portal.billing.gateway import Gateway
from portal.billing.invoice_models import PaymentTry
from portal.billing.mirror import StaleFetch
from portal.billing.purchases import Purchase, fetch_purchase_of_invoice
from portal.core.clock import app_now
from portal.core.failpoints import failpoint
from portal.core.unit_of_work import unit_of_work

Apply = Callable[[Purchase], object]

FETCH_TRIES = 5
# News of the payment wakes a try that waits for it; this is for news that was lost.
LOOK_AGAIN = timedelta(minutes=10)


@dataclass(frozen=True)
class Outcome:
    """A state of a try, or `again`: nothing is known, so look once more soon. `code` is Stripe's reason, or one of ours;
    `declined` says that a bank has refused the card.
    """

    state: str
    code: str | None = None
    confirm_url: str | None = None
    declined: bool = False


def record(
    stripe: Gateway, row: PaymentTry, token: str, invoice_stripe_id: str, outcome: Outcome, apply: Apply
) -> None:
    """Write the outcome, with the purchase as it is at Stripe now. Raises `LeaseLost` and `GatewayError`."""
    if outcome.state in ("again", "unknown"):
        with unit_of_work():
            _write(row, token, outcome)
        return
    for left in reversed(range(FETCH_TRIES)):
        purchase = fetch_purchase_of_invoice(stripe, invoice_stripe_id)
        failpoint("tries.fetched")
        try:
            with unit_of_work():
                apply(purchase)
                _write(row, token, outcome)
                _follow(row, outcome)
                failpoint("tries.recorded")
            return
        except StaleFetch:
            if not left:
                raise


def _write(row: PaymentTry, token: str, outcome: Outcome) -> None:
    values: dict[str, object] = {"state": outcome.state, "failure_code": outcome.code}
    match outcome.state:
        case "again":
            values = {"run_at": leased_work.after(row.attempts)}
        case "unknown":
            values |= {"run_at": leased_work.after(row.attempts)}
        case "requires_action":
            values |= {"confirm_url": outcome.confirm_url, "run_at": app_now() + LOOK_AGAIN}
        case _:
            values |= {"confirm_url": None, "finished_at": app_now()}
    leased_work.release(row, token, **values)


def _follow(row: PaymentTry, outcome: Outcome) -> None:
    """The audit trail; and a card that was refused counts among those of the hour."""
    if outcome.declined:
        note_decline(row.team_id, row.id)
    if outcome.state in ("paid", "failed"):
        action = "invoice.paid_now" if outcome.state == "paid" else "invoice.payment_failed"
        detail = {"amount_cents": row.amount, "currency": row.currency} | (
            {"reason": outcome.code} if outcome.code else {}
        )
        audit.record(audit.by_user(row.user_id), action, team_id=row.team_id, target=row.id, **detail)
