"""Charging what a purchase intent has frozen: once, or not at all.

It takes two calls. The first makes a payment intent at Stripe, which charges nothing, and its id is committed before the
second call confirms it: so there is one intent that is ever confirmed, whatever becomes of an answer, and Stripe charges
an intent once. Whoever takes a purchase over, after a timeout or a death, looks first at what has become of the intent.
If the answer to the first call was lost, the same key brings it again for a day, and after that the customer's list does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from portal.billing import leased_work
from portal.billing.gateway import (
    CardDeclined,
    Failed,
    Gateway,
    InFlight,
    InvalidRequest,
    NotFound,
    RateLimited,
    Unavailable,
)
from portal.billing.mirror import Json
from portal.core import clock
from portal.core.addresses import own_address
from portal.core.database import db
from portal.core.failpoints import failpoint
from portal.core.ids import new_id
from portal.core.unit_of_work import end_read, unit_of_work
from portal.credits import purchase_outcome
from portal.credits.purchase_models import OPEN_STATES, PurchaseIntent
from portal.credits.purchase_outcome import GONE, Apply, Outcome, why_not

log = structlog.get_logger(__name__)

# How long Stripe surely gives the same answer under a key.
KEYS_LAST = timedelta(hours=23)
# What was not charged by then is not charged any more: if credits are still missing, another purchase is begun.
CHARGED_WITHIN = timedelta(hours=23)
# How long a bank's question is waited for, from when it was told of.
ANSWERED_WITHIN = timedelta(hours=24)
# The clocks of two computers differ a little.
CLOCKS_DIFFER = timedelta(hours=1)
NOBODY_THERE = {"off_session": True}


@dataclass(frozen=True)
class Work:
    """A purchase under our lease."""

    row: PurchaseIntent
    token: str


def drain(gateway: Callable[[], Gateway], apply: Apply, at_most: int) -> int:
    """Carry out purchases until none is due, `at_most` were looked at, or this process is to end; returns how many.

    `apply` writes the payment and what follows from it, in the unit that records the outcome.
    """
    return leased_work.drain(_claim, lambda work: _carry_out(gateway(), work, apply), at_most)


def _claim() -> Work | None:
    found = leased_work.claim(PurchaseIntent, OPEN_STATES)
    return None if found is None else Work(*found)


def _carry_out(stripe: Gateway, work: Work, apply: Apply) -> None:
    failpoint("purchases.claimed")
    with leased_work.one_try(work.row, work.token, failed="auto_purchase_failed", stuck="stuck_purchase"):
        outcome = _outcome(stripe, work)
        failpoint("purchases.asked")
        purchase_outcome.record(stripe, work.row, work.token, outcome, apply)


def _outcome(stripe: Gateway, work: Work) -> Outcome:
    end_read()
    try:
        return _do(stripe, work)
    except (InFlight, RateLimited):
        return Outcome("again")
    except Unavailable:
        known = not leased_work.was_sent(work.row) or work.row.state == "requires_action"
        return Outcome("again" if known else "unknown")


def _do(stripe: Gateway, work: Work) -> Outcome:
    intent_id = work.row.payment_intent_stripe_id
    if intent_id is None:
        if work.row.first_sent_at is None:
            if (reason := _why_not(work)) is not None:
                return Outcome("canceled", reason)
            leased_work.note_sending(work.row, work.token, "charging")
            failpoint("purchases.sending")
        try:
            intent_id = _made(stripe, work)
        except InvalidRequest as error:  # a card that is gone, above all
            log.exception("purchase_refused_by_stripe", code=error.code, param=error.param)
            return Outcome("failed", "refused_by_stripe")
        _note_made(work, intent_id)
        failpoint("purchases.made")
    try:
        intent = stripe.payment_intent(intent_id)
    except NotFound:  # the account was emptied, or is another one
        log.warning("purchase_gone_at_stripe", payment_intent=intent_id)
        return Outcome("canceled", GONE)
    return _go_on(stripe, work, intent)


def _why_not(work: Work) -> str | None:
    with unit_of_work():
        return why_not(work.row)


def _made(stripe: Gateway, work: Work) -> str:
    """The id of the payment intent, made now or by an earlier call whose answer was lost."""
    row = work.row
    db.session.refresh(row)
    late = row.first_sent_at is not None and clock.now() - row.first_sent_at > KEYS_LAST
    end_read()
    if late and (found := _found(stripe, row)) is not None:
        return found
    try:
        key = row.idempotency_key if not late else new_id("again")
        return str(stripe.create_payment_intent(row.params, key)["id"])
    except Failed as error:
        if not error.replayed:
            raise
    # Stripe keeps a failure under this key. Whether or not that call has made one, nothing is under way any more.
    return _found(stripe, row) or str(stripe.create_payment_intent(row.params, new_id("again"))["id"])


def _found(stripe: Gateway, row: PurchaseIntent) -> str | None:
    """The intent of this purchase in its customer's list."""
    since = int((row.created_at - CLOCKS_DIFFER).timestamp())
    for intent in stripe.payment_intents_of(row.params["customer"], since):
        if (intent.get("metadata") or {}).get("purchase_intent_id") == row.id:
            return str(intent["id"])
    return None


def _note_made(work: Work, intent_id: str) -> None:
    with unit_of_work():
        leased_work.keep(work.row, work.token, payment_intent_stripe_id=intent_id)
    db.session.refresh(work.row)
    end_read()


def _go_on(stripe: Gateway, work: Work, intent: Json, *, asked: bool = False) -> Outcome:
    """What is to be done about an intent that stands like this. `asked`: we have just tried to change that."""
    match intent["status"]:
        case "succeeded":
            return Outcome("granted")
        case "canceled":
            return Outcome("canceled", "canceled_at_stripe")
        case "requires_confirmation":
            return Outcome("unknown") if asked else _charge(stripe, work, intent)
        case "requires_action":
            return _waits(stripe, work, intent)
        case "requires_payment_method":
            return _refused(stripe, work, intent, asked=asked)
        case _:
            return Outcome("unknown")


def _charge(stripe: Gateway, work: Work, intent: Json) -> Outcome:
    """Charge it, if that is still wanted."""
    reason = _why_not(work)
    if reason is None and _longer_ago(work.row.created_at, CHARGED_WITHIN):
        reason = "too_late"
    if reason is not None:
        return _give_up(stripe, work, intent, Outcome("canceled", reason))
    failpoint("purchases.charging")
    try:
        stripe.confirm_payment_intent(intent["id"], NOBODY_THERE, f"auto-charge-{work.row.id}")
    except CardDeclined:
        pass  # what the intent says is what counts, and this may be an old answer
    except InvalidRequest as error:
        now = stripe.payment_intent(intent["id"])
        if now["status"] != "requires_confirmation":
            return _go_on(stripe, work, now, asked=True)
        log.exception("purchase_refused_by_stripe", code=error.code, param=error.param)
        return _give_up(stripe, work, intent, Outcome("failed", "refused_by_stripe"))
    failpoint("purchases.charged")
    now = stripe.payment_intent(intent["id"])
    return _go_on(stripe, work, now, asked=now["status"] != "requires_payment_method")


def _refused(stripe: Gateway, work: Work, intent: Json, *, asked: bool) -> Outcome:
    """The bank said no, or that it wants to ask the card's holder, who is not there."""
    error = intent.get("last_payment_error") or {}
    if error.get("code") == "authentication_required" and not asked and work.row.state != "requires_action":
        return _ask(stripe, work, intent)
    if error.get("type") == "card_error":
        return Outcome("failed", error.get("decline_code") or error.get("code") or "card_declined", declined=True)
    return Outcome("failed", "not_confirmed", declined=True)


def _ask(stripe: Gateway, work: Work, intent: Json) -> Outcome:
    """Confirm the same intent as if somebody were there, so that the bank has a page on which it asks."""
    page = own_address("credits.auto_purchase", team_id=work.row.team_id)
    there = {"payment_method": work.row.params["payment_method"], "return_url": page}
    try:
        stripe.ask_for_payment_intent(intent["id"], there, f"auto-ask-{work.row.id}-{work.row.attempts}")
    except (CardDeclined, InvalidRequest) as error:
        log.info("bank_not_asked", code=error.code)
    failpoint("purchases.bank_asked")
    return _go_on(stripe, work, stripe.payment_intent(intent["id"]), asked=True)


def _waits(stripe: Gateway, work: Work, intent: Json) -> Outcome:
    """The bank asks. It is not waited for for ever, nor once it is turned off; then it cannot be answered later either."""
    if _why_not(work) == "turned_off":
        return _give_up(stripe, work, intent, Outcome("canceled", "turned_off"))
    url = ((intent.get("next_action") or {}).get("redirect_to_url") or {}).get("url")
    if url is None or _longer_ago(work.row.asked_at, ANSWERED_WITHIN):
        return _give_up(stripe, work, intent, Outcome("failed", "not_confirmed", declined=True))
    return Outcome("requires_action", confirm_url=str(url))


def _give_up(stripe: Gateway, work: Work, intent: Json, outcome: Outcome) -> Outcome:
    """End the intent at Stripe, so that it can never charge; if it has charged meanwhile, that is what counts."""
    try:
        stripe.cancel_payment_intent(intent["id"], f"auto-cancel-{work.row.id}")
    except InvalidRequest:
        now = stripe.payment_intent(intent["id"])
        if now["status"] == "succeeded":
            return Outcome("granted")
        if now["status"] != "canceled":
            return Outcome("unknown")
    return outcome


def _longer_ago(moment: datetime | None, span: timedelta) -> bool:
    longer = moment is not None and clock.now() - moment > span
    end_read()
    return longer
