"""What became of charging a purchase, and everything that follows from it, written in one unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func

from portal.accounts import audit
from portal.billing import leased_work
from portal.billing.card_testing import note_decline
from portal.billing.entitlements import effective
from portal.billing.gateway import Gateway
from portal.billing.mirror import StaleFetch
from portal.billing.purchases import Purchase, fetch_purchase_of_intent
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.failpoints import failpoint
from portal.core.unit_of_work import unit_of_work
from portal.credits import purchase_news, purchase_rules
from portal.credits.purchase_models import PurchaseIntent
from portal.credits.storage import lock_account

Apply = Callable[[Purchase], object]

FETCH_TRIES = 5
# News of the payment wakes a purchase that waits for the bank; this is for news that was lost.
LOOK_AGAIN = timedelta(minutes=10)
# The code of a purchase whose intent Stripe does not know: there is nothing to fetch.
GONE = "gone_at_stripe"


@dataclass(frozen=True)
class Outcome:
    """A state of a purchase, or `again`: nothing more is known, so look once more soon. `code` is Stripe's reason or one of
    ours; `declined` says that a bank has refused the card.
    """

    state: str
    code: str | None = None
    confirm_url: str | None = None
    declined: bool = False


def why_not(row: PurchaseIntent) -> str | None:
    """Why a purchase that was not charged yet is not to be any more; None when it is.

    What was agreed to and which card pays may have changed since it was begun: then another one is begun by that.
    """
    rule, rights = purchase_rules.rule_of(row.team_id), effective(row.team_id)
    if rule is None or not rule.enabled:
        return "turned_off"
    if rule.paused_at is not None:
        return "paused"
    if rule.state == "stopped":  # a payment was refunded or disputed meanwhile
        return rule.reason
    if rights.credits_frozen:
        return "frozen"
    if (reason := purchase_rules.why_not_offered(row.team_id)) is not None:
        return reason
    return "terms_changed" if row.consent_id != rule.consent_id else _card_changed(row)


def _card_changed(row: PurchaseIntent) -> str | None:
    card = purchase_rules.card_to_charge(row.team_id)
    if card is None:
        return "no_card"
    return "card_changed" if card.stripe_id != row.params["payment_method"] else None


def record(stripe: Gateway, row: PurchaseIntent, token: str, outcome: Outcome, apply: Apply) -> None:
    """Write the outcome, with the payment as it is at Stripe now. Raises `LeaseLost` and `GatewayError`."""
    if outcome.state in ("again", "unknown"):
        with unit_of_work():
            _look_later(row, token, outcome)
        return
    intent_id = row.payment_intent_stripe_id if outcome.code != GONE else None
    for left in reversed(range(FETCH_TRIES)):
        purchase = fetch_purchase_of_intent(stripe, intent_id) if intent_id is not None else None
        failpoint("purchases.fetched")
        try:
            with unit_of_work():
                _write_all(row, token, outcome, purchase, apply)
                failpoint("purchases.recorded")
            return
        except StaleFetch:
            if not left:
                raise


def _look_later(row: PurchaseIntent, token: str, outcome: Outcome) -> None:
    run_at = leased_work.after(row.attempts)
    if outcome.state == "again":
        leased_work.release(row, token, run_at=run_at)
    else:
        leased_work.release(row, token, state="unknown", confirm_url=None, run_at=run_at)


def _write_all(row: PurchaseIntent, token: str, outcome: Outcome, purchase: Purchase | None, apply: Apply) -> None:
    """What has been paid is granted by `apply`, whether or not this was known when the outcome was thought of."""
    if purchase is not None:
        apply(purchase)
    lock_account(row.team_id)
    db.session.refresh(row)
    if row.state == "granted":
        return
    if outcome.state == "granted":  # paid a moment ago, and not as the purchase is looked at now
        _look_later(row, token, Outcome("unknown"))
    elif outcome.state == "requires_action":
        asked = {"state": "requires_action", "confirm_url": outcome.confirm_url, "run_at": app_now() + LOOK_AGAIN}
        first = func.coalesce(PurchaseIntent.asked_at, app_now())
        # Looking in vain is no failure: a look that fails after many of them is followed by another one soon.
        leased_work.release(row, token, **asked, asked_at=first, attempts=0)
        purchase_news.tell_of_question(row)
    else:
        leased_work.release(
            row, token, state=outcome.state, failure_code=outcome.code, confirm_url=None, finished_at=app_now()
        )
        _follow(row, outcome, purchase)


def _follow(row: PurchaseIntent, outcome: Outcome, purchase: Purchase | None) -> None:
    """A failure stops the rule, until the card is another one or a person says so; it is told, and stands in the trail.

    A rule that was stopped meanwhile because a payment was undone goes on waiting for a person.
    """
    rule = purchase_rules.rule_of(row.team_id)
    if outcome.state == "failed" and rule is not None:
        waits_for = rule.reason if purchase_rules.waits_for_person(rule) else None
        if waits_for is None:
            purchase_rules.stop(row.team_id, outcome.code or "failed", fingerprint=row.card_fingerprint)
        purchase_news.tell_of_failure(row, outcome.code or "", waits_for)
        detail = {"amount_cents": row.amount, "currency": row.currency, "reason": outcome.code}
        audit.record(audit.SYSTEM, "auto_purchase.failed", team_id=row.team_id, target=row.id, **detail)
    elif outcome.code in purchase_rules.NOT_OFFERED and rule is not None and rule.state == "armed":
        purchase_rules.stop(row.team_id, outcome.code)
        purchase_news.tell_of_stop(rule, outcome.code)
    purchase_rules.show_to_spends(row.team_id)
    if outcome.declined and purchase is not None:
        note_decline(row.team_id, _attempt_of(purchase))


def _attempt_of(purchase: Purchase) -> str:
    """The charge that was refused; the intent where none was made."""
    intent = purchase.intents[0]
    charge = intent.data.get("latest_charge")
    return str(charge["id"]) if isinstance(charge, dict) else intent.stripe_id
