"""Carrying out what somebody agreed to on leaving a plan, staying, pausing or going on.

Each act is a few calls that come to the same when they are made twice. Whoever takes one over looks first whether Stripe's
subscription is by now as it was to become.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from portal.billing.change_claim import Work, note_sending
from portal.billing.change_outcome import Outcome, made
from portal.billing.change_quote import holds, holds_but_for_use
from portal.billing.change_terms import basis_of, is_metered, period_of
from portal.billing.gateway import CardDeclined, Failed, Gateway, InvalidRequest, NotFound
from portal.billing.leave_preview import ReportUse, is_ending, quote
from portal.billing.mirror import Json, ref
from portal.core import clock
from portal.core.failpoints import failpoint
from portal.core.unit_of_work import end_read, unit_of_work

# As for a change of plan: what was agreed to is done soon or not at all, and an answer on its way is waited for.
SENT_WITHIN = timedelta(hours=1)
ANSWER_WITHIN = timedelta(minutes=2)
# What may have changed once we have begun: an earlier try has let go of a schedule, or given the rest back.
OUR_OWN = ("cancels", "planned", "latest_invoice", "status")


def carry_out(stripe: Gateway, work: Work, report_use: ReportUse) -> Outcome:
    """Do what was agreed to, unless that is done or may not be done any more. Raises `GatewayError`."""
    live = stripe.subscription(work.preview.subscription_stripe_id)
    if work.sent_before and _is_done(work, live):
        return _done(stripe, work, live)
    if _bills_use(work) and not work.sent_before and not report_use(stripe, work.change.team_id):
        return _not_reported(work)
    if (refused := _why_not(stripe, work, live)) is not None:
        return refused
    note_sending(work)
    failpoint("changes.sending")
    refused = _ask(stripe, work, live)
    failpoint("changes.sent")
    live = stripe.subscription(live["id"])
    if _is_done(work, live):
        return _done(stripe, work, live)
    return refused or Outcome("failed", code="refused_by_stripe")


def _bills_use(work: Work) -> bool:
    """Whether it ends with an invoice of all that was used until then."""
    return bool(work.preview.params.get("invoice_now"))


def _not_reported(work: Work) -> Outcome:
    """The last invoice would lack what Stripe was not told of; that is waited for no longer than for anything else."""
    late = _is_late(work)
    end_read()
    return Outcome("stale" if late else "again")


def _ask(stripe: Gateway, work: Work, live: Json) -> Outcome | None:
    """The outcome if it turns out that nothing was done."""
    try:
        ACTS[work.preview.kind](stripe, work, live)
    except CardDeclined as error:
        return Outcome("failed", code=error.code or "card_declined")
    except (InvalidRequest, NotFound):
        return Outcome("failed", code="refused_by_stripe")
    except Failed as error:
        if not error.replayed:
            raise
        return Outcome("failed", code="failed_at_stripe")
    return None


def _is_done(work: Work, live: Json) -> bool:
    over = live["status"] == "canceled"
    match work.preview.kind:
        case "cancel":
            return over or is_ending(live)
        case "cancel_now":
            return over
        case "resume":
            return not over and not is_ending(live)
        case "pause":
            return bool(live["status"] == "paused")
        case _:
            return live["status"] not in ("paused", "canceled")


def _done(stripe: Gateway, work: Work, live: Json) -> Outcome:
    """With the invoice it has brought. A plan ends or goes on whether or not that was paid, which is then said."""
    latest = str(ref(live.get("latest_invoice")))
    if latest == work.preview.basis["latest_invoice"]:
        return made(None)
    if stripe.invoice(latest)["status"] == "open":
        return Outcome("done", latest, code="not_paid")
    return made(latest)


def _why_not(stripe: Gateway, work: Work, live: Json) -> Outcome | None:
    """Why it may not be asked for now: what was shown does not hold, or it is too late."""
    late = _is_late(work)
    moved = not _is_as_shown(work, live)
    end_read()
    if not late and not moved and (work.sent_before or _holds(stripe, work, live)):
        return None
    if work.change.first_sent_at is None:
        return Outcome("stale")
    waited = clock.now() - work.change.first_sent_at
    end_read()
    return Outcome("stale") if waited > ANSWER_WITHIN else Outcome("again")


def _holds(stripe: Gateway, work: Work, live: Json) -> bool:
    """What was used since it was shown comes on top; the sums are kept as they are now, since these will be charged."""
    now = quote(stripe, live, work.preview.params)
    counted = [item["price"]["id"] for item in live["items"]["data"] if is_metered(item)]
    if not (_bills_use(work) and counted):
        return holds(work.preview.shown, now)
    if not holds_but_for_use(work.preview.shown, now, counted):
        return False
    with unit_of_work():
        work.preview.shown, work.preview.amount_due = now, now["amount_due"]
    return True


def _is_late(work: Work) -> bool:
    now, params = clock.now(), work.preview.params
    give_back, until = params.get("give_back"), params.get("until")
    last = (give_back["cancel_at"] if give_back else None) or until
    over = last is not None and now.timestamp() >= last
    return over or now - work.change.created_at > SENT_WITHIN


def _is_as_shown(work: Work, live: Json) -> bool:
    now, then = basis_of(live), work.preview.basis
    names = [name for name in then if not (work.sent_before and name in OUR_OWN)]
    return all(now[name] == then[name] for name in names)


def _cancel(stripe: Gateway, work: Work, live: Json) -> None:
    """Of items with several ends, such as a year of the plan and a month of what is counted, Stripe's `cancel_at_period_end`
    takes the earliest; the plan ends with what was paid for it.
    """
    _release(stripe, work, live)
    ends = {item["current_period_end"] for item in live["items"]["data"]}
    with_plan: Json = {"cancel_at_period_end": True} if len(ends) == 1 else {"cancel_at": period_of(live)[1]}
    sent = with_plan | {"proration_behavior": "none"} | _reason(work)
    stripe.update_subscription(live["id"], sent, f"{work.change.idempotency_key}-end")


def _cancel_now(stripe: Gateway, work: Work, live: Json) -> None:
    """What is left is given back first, up to the instant that was shown; then nothing is left to be worked out."""
    key, params = work.change.idempotency_key, work.preview.params
    if params["give_back"]:
        stripe.update_subscription(live["id"], params["give_back"], f"{key}-give-back")
        failpoint("changes.given_back")
    sent = {"invoice_now": params["invoice_now"], "prorate": False} | _reason(work)
    stripe.cancel_subscription(live["id"], sent, f"{key}-cancel")


def _resume(stripe: Gateway, work: Work, live: Json) -> None:
    """A schedule that ends the plan is let go of, and with it goes the end; the reason is forgotten with it."""
    _release(stripe, work, live)
    goes_on: Json = {"cancel_at_period_end": False} if live.get("cancel_at_period_end") else {"cancel_at": ""}
    forgotten = {"cancellation_details": {"comment": "", "feedback": ""}, "proration_behavior": "none"}
    stripe.update_subscription(live["id"], goes_on | forgotten, f"{work.change.idempotency_key}-resume")


def _pause(stripe: Gateway, work: Work, live: Json) -> None:
    """Nothing is given back: whoever goes on before the period is over has the rest of it."""
    _release(stripe, work, live)
    nothing = {"bill_for": {"unused_time_from": {"type": "none"}}}
    stripe.pause_subscription(live["id"], nothing, f"{work.change.idempotency_key}-pause")


def _unpause(stripe: Gateway, work: Work, live: Json) -> None:
    """Under one key, since it may charge."""
    stripe.resume_subscription(live["id"], work.preview.params["resume"], f"{work.change.idempotency_key}-unpause")


def _release(stripe: Gateway, work: Work, live: Json) -> None:
    if live.get("schedule"):
        stripe.release_schedule(str(ref(live["schedule"])), f"{work.change.idempotency_key}-release")


def _reason(work: Work) -> Json:
    details = work.preview.params["details"]
    return {"cancellation_details": details} if details else {}


ACTS: dict[str, Callable[[Gateway, Work, Json], None]] = {
    "cancel": _cancel,
    "cancel_now": _cancel_now,
    "resume": _resume,
    "pause": _pause,
    "unpause": _unpause,
}
