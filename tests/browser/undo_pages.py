"""What a disputed payment looks like: rows as Stripe's news would leave them, and the pages of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portal.billing.dispute_models import Dispute
from portal.billing.models import Payment, Refund
from portal.core import clock
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.queries import balance
from portal.credits.undo import undo_page
from tests.browser.people import Person
from tests.browser.visitor import Visitor

PRICE = 8_000


def _bundle(team_id: str, **claim: Any) -> None:
    """A bundle that was paid and is disputed or refunded; two in five of its credits were used before."""
    page, intent, now = new_id("cs"), new_id("pi"), clock.now()
    mirrored = {"gen": 1, "synced_at": now, "team_id": team_id, "currency": "usd"}
    with unit_of_work() as session:
        session.add(
            Payment(
                id=new_id("pay"), stripe_id=intent, type="top_up", status="succeeded", amount=PRICE, brand="visa",
                description="Bundle of 5,000 credits", checkout_stripe_id=page, payment_intent_stripe_id=intent,
                last4="0259", occurred_at=now, **mirrored,
            )
        )  # fmt: skip
        session.flush()
        ledger.grant(team_id, kind="bundle", amount=5_000, cause_key=f"bundle:{page}", source="Bundle of 5,000")
        ledger.spend(team_id, balance(team_id).available - 3_000, f"usage:{intent}")
        of_payment = {"stripe_id": new_id("re"), "payment_intent_stripe_id": intent, "created_at": now, **mirrored}
        if "reason" in claim:
            session.add(Dispute(id=new_id("dsp"), withdrawn=PRICE, effect="none", **claim, **of_payment))
        else:
            session.add(Refund(id=new_id("ref"), **claim, **of_payment))
        session.flush()
        undo_page(team_id, page)


def disputed(person: Callable[[Any], Person], where: str) -> Callable[[Visitor, Any], None]:
    """Credits that are frozen, beside others that are owed since their payment was refunded."""

    def play(someone: Visitor, company: Any) -> None:
        team_id = person(company).team_id
        with someone.stack.portal.app_context():
            if not balance(team_id).frozen:
                _bundle(team_id, amount=PRICE, status="needs_response", reason="fraudulent")
                _bundle(team_id, amount=PRICE, status="succeeded")
        someone.go(f"/teams/{team_id}/{where}")

    return play
