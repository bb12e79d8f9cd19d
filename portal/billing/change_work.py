"""Carrying out a change that somebody agreed to: it charges what was shown, or nothing is done.

Before Stripe is asked for the first time, the subscription must be what the preview was built upon, and a preview made
anew with the same `proration_date` must come to the same sums. After that the truth is looked up: whoever takes the
change over, after a timeout or a death, first sees what became of it, and asks again only if nothing did, with the same
parameters and under the same key.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog

from portal.billing import leased_work, leave_work
from portal.billing.change_claim import Work, claim, note_sending
from portal.billing.change_models import LEAVE_KINDS
from portal.billing.change_outcome import Outcome, made, record
from portal.billing.change_quote import holds, quote
from portal.billing.change_schedule import follow
from portal.billing.change_terms import basis_of, period_of, quantities
from portal.billing.gateway import (
    CardDeclined,
    Failed,
    Gateway,
    GatewayError,
    InFlight,
    InvalidRequest,
    RateLimited,
    Unavailable,
)
from portal.billing.invoice_intent import ASKS, REFUSED, failure_code, intent_of
from portal.billing.leave_preview import ReportUse
from portal.billing.mirror import Json, ref
from portal.billing.sync import SubscriptionState
from portal.core import clock
from portal.core.failpoints import failpoint
from portal.core.unit_of_work import end_read

log = structlog.get_logger(__name__)

Apply = Callable[[SubscriptionState], object]

# What was agreed to is done soon or not at all: a day later it would be billed for time that has passed.
SENT_WITHIN = timedelta(hours=1)
# How long an answer may be on its way after we have stopped to wait for it.
ANSWER_WITHIN = timedelta(minutes=2)


def drain(gateway: Callable[[], Gateway], apply: Apply, report_use: ReportUse, at_most: int) -> int:
    """Carry out changes until none is due, `at_most` were tried, or this process is to end; returns how many.

    `apply` writes what a subscription has become, and grants what was paid for, in the unit that records the outcome.
    `report_use` is called before a plan is ended at once.
    """
    return leased_work.drain(claim, lambda work: _carry_out(gateway(), work, apply, report_use), at_most)


def _carry_out(stripe: Gateway, work: Work, apply: Apply, report_use: ReportUse) -> None:
    failpoint("changes.claimed")
    with leased_work.one_try(work.change, work.token, failed="change_failed", stuck="stuck_change"):
        outcome = _outcome(stripe, work, report_use)
        failpoint("changes.asked")
        record(stripe, work, outcome, apply)


def _outcome(stripe: Gateway, work: Work, report_use: ReportUse) -> Outcome:
    end_read()
    try:
        return _do(stripe, work, report_use)
    except (InFlight, RateLimited):
        return Outcome("again")
    except Unavailable:
        return Outcome("unknown" if leased_work.was_sent(work.change) else "again")
    except InvalidRequest as error:
        log.exception("change_refused_by_stripe", code=error.code, param=error.param)
        return Outcome("failed", code="refused_by_stripe")


def _do(stripe: Gateway, work: Work, report_use: ReportUse) -> Outcome:
    if work.preview.kind in LEAVE_KINDS:
        return leave_work.carry_out(stripe, work, report_use)
    live = stripe.subscription(work.preview.subscription_stripe_id)
    update, outcome = work.preview.params["update"], made(None)
    if update is not None:
        outcome = _update(stripe, work, live)
        if outcome.state != "done":
            return outcome
        live = stripe.subscription(work.preview.subscription_stripe_id)
    elif not work.sent_before:
        if basis_of(live) != work.preview.basis:
            return Outcome("stale")
        note_sending(work)
    follow(stripe, work, live)
    return outcome


def _update(stripe: Gateway, work: Work, live: Json) -> Outcome:
    """Make the change at Stripe, unless it is known what became of it."""
    if work.sent_before:
        known = what_became(stripe, work, live)
        if known is not None:
            return known
    refused = _why_not(stripe, work, live)
    if refused is not None:
        return refused
    note_sending(work)
    failpoint("changes.sending")
    try:
        answer = stripe.change_subscription(live["id"], work.preview.params["update"], work.change.idempotency_key)
    except CardDeclined as error:
        return Outcome("failed", code=error.code or "card_declined")
    except Failed as error:
        if not error.replayed:
            raise
        # An old answer: whatever it was the answer to is over, and this key will never bring another one.
        known = what_became(stripe, work, stripe.subscription(live["id"]))
        return known or Outcome("failed", code="failed_at_stripe")
    failpoint("changes.sent")
    known = what_became(stripe, work, stripe.subscription(live["id"]))
    if known is not None:
        return known
    return _of_invoice(stripe, work, str(ref(answer["latest_invoice"]))) or Outcome("failed", code="refused_by_stripe")


def _why_not(stripe: Gateway, work: Work, live: Json) -> Outcome | None:
    """Why the change may not be asked for now: what was shown does not hold, or it is too late."""
    if work.change.withdrawn_at is not None:
        return Outcome("canceled")
    late = clock.now() - work.change.created_at > SENT_WITHIN
    moved = basis_of(live) != work.preview.basis
    end_read()
    if late or moved:
        return _unless_under_way(work)
    _, period_end = period_of(live)
    try:
        fresh = quote(stripe, live, work.preview.params, period_end)
    except InvalidRequest:  # the period has ended, a price or a code is not valid any more
        return _unless_under_way(work)
    return None if holds(work.preview.shown, fresh) else _unless_under_way(work)


def _unless_under_way(work: Work) -> Outcome:
    """`stale`, once an answer that is still on its way can no longer change anything."""
    sent_at = work.change.first_sent_at
    if sent_at is None:
        return Outcome("stale")
    waited = clock.now() - sent_at
    end_read()
    return Outcome("stale") if waited > ANSWER_WITHIN else Outcome("again")


def what_became(stripe: Gateway, work: Work, live: Json) -> Outcome | None:
    """What Stripe's objects say of a change that was asked for; None when they say nothing of it."""
    latest = str(ref(live.get("latest_invoice")))
    invoice_id = latest if latest != work.preview.basis["latest_invoice"] else None
    if quantities(live) == work.preview.params["wanted"]:
        return made(invoice_id)
    return _of_invoice(stripe, work, invoice_id) if invoice_id else None


def _of_invoice(stripe: Gateway, work: Work, invoice_id: str) -> Outcome | None:
    """What the invoice of a change says: it is paid, it was given up, or it waits. Another kind of invoice says nothing."""
    invoice = stripe.invoice(invoice_id)
    if invoice["billing_reason"] != "subscription_update":
        return None
    if invoice["status"] == "paid":
        return made(invoice_id)
    intent = intent_of(stripe, invoice_id)
    if invoice["status"] == "open":
        return _of_open_invoice(stripe, work, invoice, intent)
    return _given_up(work, invoice_id, failure_code(intent))


def _of_open_invoice(stripe: Gateway, work: Work, invoice: Json, intent: Json) -> Outcome:
    if intent["status"] == ASKS and work.change.withdrawn_at is None:
        return Outcome(ASKS, invoice["id"], confirm_url=invoice["hosted_invoice_url"])
    if intent["status"] not in (ASKS, REFUSED):
        return Outcome("unknown", invoice["id"])
    return _give_up(stripe, work, invoice["id"], failure_code(intent))


def _given_up(work: Work, invoice_id: str, code: str | None) -> Outcome:
    if work.change.withdrawn_at is not None:
        return Outcome("canceled", invoice_id)
    return Outcome("failed", invoice_id, code=code or "not_confirmed")


def _give_up(stripe: Gateway, work: Work, invoice_id: str, code: str | None) -> Outcome:
    """Void the invoice of a change that is not paid, and with it goes the change. Paid meanwhile, it is made."""
    try:
        stripe.void_invoice(invoice_id, f"{work.change.idempotency_key}-void")
    except InvalidRequest:
        return _settled(stripe, invoice_id)
    failpoint("changes.voided")
    return _given_up(work, invoice_id, code)


def _settled(stripe: Gateway, invoice_id: str) -> Outcome:
    status = stripe.invoice(invoice_id)["status"]
    if status == "paid":
        return made(invoice_id)
    raise GatewayError(f"the invoice {invoice_id} is {status} and cannot be voided")
