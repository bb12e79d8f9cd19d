"""What auto-purchase looks like in its states: a rule and purchases as spends, banks and people would leave them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import select, update

from portal.accounts.models import User
from portal.billing.models import PaymentMethod
from portal.catalog.current import catalog
from portal.catalog.queries import BundlePrice, bundle_price_for
from portal.core import clock
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits.purchase_models import OPEN_STATES, AutoPurchaseConsent, AutoPurchaseRule, PurchaseIntent
from portal.credits.purchase_size import Limits
from portal.credits.purchase_terms import Terms, consent_words, terms_words
from portal.notifications import messages
from portal.notifications.messages import Message
from portal.notifications.outbox import put_mail
from tests.browser.people import Person
from tests.browser.visitor import Visitor

# Nobody carries out what is only to be looked at.
FAR = timedelta(days=365)
CONFIRM = "https://hooks.stripe.com/redirect/authenticate/src_1"
LINK = "https://billing.example.com/teams/team_01JD3M8W6Q4Z9V0K2T5R7X1YBC/credits/auto-purchase"
LIMITS = Limits(day_count=2, month_count=5, day_cents=3_600, month_cents=9_000)


class HasSaver(Protocol):
    """Whom these pages are shown to."""

    @property
    def saver(self) -> Person: ...


Play = Callable[[Visitor, HasSaver], None]


def saver(company: HasSaver) -> Person:
    return company.saver


def rule(
    *, card: bool = True, newest: dict[str, Any] | None = None, page: str = "credits/auto-purchase", **values: Any
) -> Play:
    """The page, or another one, with a rule of these values and some purchases; `newest` is the last of them."""

    def play(someone: Visitor, company: HasSaver) -> None:
        team_id = _subscribed(someone, company)
        _set(someone, company.saver, team_id, values, newest, card=card)
        someone.go(f"/teams/{team_id}/{page}")

    return play


def without_one(*, card: bool = True) -> Play:
    """The page before anything was chosen, as far as it says so: the rule is off."""
    return rule(card=card, enabled=False)


def mistaken(someone: Visitor, company: HasSaver) -> None:
    """What was not filled in as it should be."""
    without_one()(someone, company)
    page = someone.page
    page.get_by_label("When fewer are left than").fill("many")
    page.get_by_label("Money a day").fill("5")
    someone.press("Turn on auto-purchase")
    page.locator("[aria-invalid]").first.wait_for()


def _subscribed(someone: Visitor, company: HasSaver) -> str:
    person = company.saver
    someone.open_overview(person.team_id)
    if someone.page.get_by_role("link", name="Choose a plan").count():
        someone.choose("Business", person.team_id)
        someone.pay()
        someone.wait_until_on("Business")
    return person.team_id


def _set(
    someone: Visitor,
    person: Person,
    team_id: str,
    values: dict[str, Any],
    newest: dict[str, Any] | None,
    *,
    card: bool,
) -> None:
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            bundle = bundle_price_for("credits_1000")
            assert bundle is not None
            session.execute(update(PaymentMethod).where(PaymentMethod.team_id == team_id).values(detached=not card))
            open_ones = (PurchaseIntent.team_id == team_id) & PurchaseIntent.state.in_(OPEN_STATES)
            over = {"state": "canceled", "failure_code": "turned_off", "confirm_url": None, "finished_at": app_now()}
            session.execute(update(PurchaseIntent).where(open_ones).values(**over))
            consent_id = _consent(session, person, team_id, bundle)
            known = session.get(AutoPurchaseRule, team_id)
            if known is not None:
                session.delete(known)
                session.flush()
            session.add(AutoPurchaseRule(team_id=team_id, consent_id=consent_id, **_terms(bundle), **_state(values)))
            if known is None:
                session.add_all(_purchases(team_id, consent_id, bundle))
            if newest is not None:
                session.add(_purchase(team_id, consent_id, bundle, **newest))
        db.session.remove()


def _terms(bundle: BundlePrice) -> dict[str, Any]:
    return {
        "threshold": 500, "counts": "total", "price_id": bundle.price_id, "day_count_max": LIMITS.day_count,
        "month_count_max": LIMITS.month_count, "day_cents_max": LIMITS.day_cents, "month_cents_max": LIMITS.month_cents,
    }  # fmt: skip


def _state(values: dict[str, Any]) -> dict[str, Any]:
    return {"enabled": True, "state": "armed", **values}


def _consent(session: Any, person: Person, team_id: str, bundle: BundlePrice) -> str:
    user_id = session.execute(select(User.id).where(User.email == person.email)).scalar_one()
    terms = Terms(500, "total", bundle, LIMITS)
    row = AutoPurchaseConsent(
        id=new_id("apc"), team_id=team_id, user_id=user_id, text_version=1, terms=terms.as_json(),
        words=consent_words(terms, catalog().portal.name),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return str(row.id)


def _purchases(team_id: str, consent_id: str, bundle: BundlePrice) -> list[PurchaseIntent]:
    """Of the days before: bought, refused, not charged."""
    made = clock.now()
    states: list[dict[str, Any]] = [
        {"state": "granted", "payment_intent_stripe_id": new_id("pi")},
        {"state": "failed", "failure_code": "insufficient_funds"},
        {"state": "granted", "payment_intent_stripe_id": new_id("pi"), "quantity": 3},
        {"state": "canceled", "failure_code": "too_late"},
    ]
    return [
        _purchase(team_id, consent_id, bundle, created_at=made - timedelta(days=4 - number), finished_at=made, **values)
        for number, values in enumerate(states)
    ]


def _purchase(team_id: str, consent_id: str, bundle: BundlePrice, **values: Any) -> PurchaseIntent:
    intent_id, quantity = new_id("buy"), values.pop("quantity", 1)
    return PurchaseIntent(
        id=intent_id, team_id=team_id, consent_id=consent_id, began_by="threshold", arming=values.pop("arming", 1),
        price_id=bundle.price_id, quantity=quantity, credits=bundle.credits * quantity,
        amount=bundle.unit_amount_cents * quantity, currency=bundle.currency, params={}, idempotency_key=intent_id,
        run_at=clock.now() + FAR, **values,
    )  # fmt: skip


STOPPED: dict[str, Any] = {"state": "stopped", "reason": "insufficient_funds", "stopped_fingerprint": "scene"}
NO_CARD: dict[str, Any] = {"state": "stopped", "reason": "no_card"}
CAPPED: dict[str, Any] = {"state": "capped", "reason": "month", "capped_until": app_now() + timedelta(days=3)}
PAUSED: dict[str, Any] = {"paused_at": app_now(), "paused_reason": "Looked into"}
NEW_CARD: dict[str, Any] = {"not_before": app_now() + FAR}
ASKS: dict[str, Any] = {"state": "requires_action", "confirm_url": CONFIRM}


def mail(kind: str) -> Play:
    """A mail about auto-purchase."""

    def play(someone: Visitor, company: HasSaver) -> None:
        with someone.stack.portal.app_context():
            message = _mail(kind, company.saver.email)
            with unit_of_work():
                put_mail(message, f"scene:auto:{kind}")
            db.session.remove()
        someone.open_mail(company.saver.email, message.subject)

    return play


def _mail(kind: str, to: str) -> Message:
    card, amount = "the Visa ending in 4242", "$18.00 USD"
    match kind:
        case "on":
            bundle = bundle_price_for("credits_1000")
            assert bundle is not None
            lines = terms_words(Terms(500, "total", bundle, LIMITS))
            return messages.auto_purchase_on(to, terms=lines, card=card, changed=False, link=LINK)
        case "made":
            receipt = "https://pay.stripe.com/receipts/acct_1/ch_1"
            return messages.auto_purchase_made(
                to, amount=amount, granted=1_000, card=card, day="18 Nov 2026", receipt=receipt, link=LINK
            )
        case "confirm":
            return messages.auto_purchase_confirm(to, amount=amount, granted=1_000, link=LINK)
        case "stopped":
            happened, way_out = "The card has too little money on it. Nothing was charged.", "Put in another card."
            return messages.auto_purchase_stopped(to, amount=amount, happened=happened, way_out=way_out, link=LINK)
        case _:
            return messages.auto_purchase_capped(to, limit="month", until="1 Dec 2026, 01:00 CET", link=LINK)
