"""A team that buys credits by itself, and what people, banks and Stripe do about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import requests
from sqlalchemy import select, text

from portal.catalog.queries import bundle_prices
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import run_in_unit, unit_of_work
from portal.credits import auto_purchase, ledger, purchase_rules
from portal.credits.errors import InsufficientCredits
from portal.credits.models import CreditGrant
from portal.credits.purchase_models import AutoPurchaseRule, PurchaseIntent
from portal.credits.purchase_size import Limits
from portal.credits.purchase_terms import Terms
from portal.credits.queries import balance
from portal.notifications.models import OutboxItem
from tests.cast import Person
from tests.purchases import BUSINESS_CREDITS
from tests.stage import Stage

Json = dict[str, Any]
WORKS, DECLINES, ASKS, ASKS_THEN_DECLINES = (
    "pm_card_visa",
    "pm_card_chargeCustomerFail",
    "pm_card_authenticationRequired",
    "pm_card_threeDSecureRequiredChargeDeclined",
)
THRESHOLD = 500
CREDITS, CENTS = 1_000, 1_800
WIDE = Limits(day_count=50, month_count=500, day_cents=10_000_000, month_cents=50_000_000)
MAILS = (
    "auto_purchase_on",
    "auto_purchase_made",
    "auto_purchase_confirm",
    "auto_purchase_stopped",
    "auto_purchase_capped",
)


@dataclass
class AutoBuyer:
    """An owner whose team has the plan Business, and in the end so many credits as a test needs."""

    stage: Stage
    person: Person
    team_id: str

    @classmethod
    def ready(
        cls, stage: Stage, person: Person, team_id: str, card: str = WORKS, limits: Limits = WIDE, left: int = 600
    ) -> AutoBuyer:
        """One that is turned on, with `left` credits and a threshold of 500."""
        buyer = cls.subscribed(stage, person, team_id, card)
        buyer.turn_on(limits)
        buyer.spend_down_to(left)
        return buyer

    @classmethod
    def subscribed(cls, stage: Stage, person: Person, team_id: str, card: str = WORKS) -> AutoBuyer:
        stage.subscribe(person, team_id, "business")
        stage.deliver_all()
        buyer = cls(stage, person, team_id)
        if card != WORKS:
            buyer.switch_card(card)
        assert buyer.balance() == BUSINESS_CREDITS
        return buyer

    # What people do

    def turn_on(self, limits: Limits = WIDE, threshold: int = THRESHOLD, counts: str = "total") -> None:
        bundle = next(one for one in bundle_prices() if one.credits == CREDITS)
        terms = Terms(threshold, counts, bundle, limits)
        run_in_unit(lambda: purchase_rules.agree(self.team_id, self.person.user_id, terms))
        db.session.remove()

    def arm_again(self) -> None:
        run_in_unit(lambda: purchase_rules.arm_again(self.team_id, self.person.user_id))
        db.session.remove()

    def spend_down_to(self, left: int) -> None:
        if (amount := self.balance() - left) > 0:
            self.spend(amount)

    def spend(self, amount: int) -> bool:
        """As `metering` and the API do it; whether it was paid."""
        try:
            run_in_unit(lambda: self._spend(amount))
        except InsufficientCredits as error:
            refused = error
            run_in_unit(lambda: auto_purchase.intend_for_refused(self.team_id, refused))
            return False
        finally:
            db.session.remove()
        return True

    def _spend(self, amount: int) -> None:
        spent = ledger.spend(self.team_id, amount, f"usage:{new_id('use')}")
        auto_purchase.intend_if_crossed(self.team_id, needs_purchase=spent.needs_purchase)

    def switch_card(self, stock: str) -> str:
        """Let another card pay, as if it were changed at Stripe; returns its id there."""
        customer = self.customer()
        method = str(self.stage.stripe("POST", f"/v1/payment_methods/{stock}/attach", customer=customer)["id"])
        self.stage.stripe("POST", f"/v1/customers/{customer}", **{"invoice_settings[default_payment_method]": method})
        self.stage.deliver_all()
        self.stage.deliver_all()
        return method

    def answer_bank(self, word: str) -> None:
        url = self.newest().confirm_url
        assert url is not None
        requests.post(url, data={"answer": word}, timeout=20, allow_redirects=False)

    # What passes

    def settle(self) -> None:
        """Let the worker work and the news come."""
        self.stage.drain()
        self.stage.deliver_all()

    def pass_time(self, by: timedelta) -> None:
        self.stage.advance(by)
        self.settle()

    def look_now(self) -> None:
        """What waits is due, whatever was written of when: pauses are another test's."""
        with unit_of_work():
            db.session.execute(text("update purchase_intents set run_at = app_now() where finished_at is null"))
        self.settle()

    # What is true

    def balance(self) -> int:
        found = balance(self.team_id)
        db.session.remove()
        return found.available - found.debt

    def rule(self) -> AutoPurchaseRule:
        return self._all(select(AutoPurchaseRule).where(AutoPurchaseRule.team_id == self.team_id))[0]

    def intents(self) -> list[PurchaseIntent]:
        """All purchases, oldest first."""
        query = select(PurchaseIntent).where(PurchaseIntent.team_id == self.team_id).order_by(PurchaseIntent.id)
        return self._all(query)

    def newest(self) -> PurchaseIntent:
        return self.intents()[-1]

    def states(self) -> list[tuple[str, str | None]]:
        return [(row.state, row.failure_code) for row in self.intents()]

    def granted(self) -> list[int]:
        """What was granted for automatic purchases, oldest first."""
        bought = (CreditGrant.team_id == self.team_id) & CreditGrant.cause_key.like("auto:%")
        return self._all(select(CreditGrant.amount).where(bought).order_by(CreditGrant.id))

    def customer(self) -> str:
        query = text("select stripe_id from customers where team_id = :team")
        found = str(db.session.execute(query, {"team": self.team_id}).scalar_one())
        db.session.remove()
        return found

    def at_stripe(self) -> list[Json]:
        """The payment intents of automatic purchases, oldest first."""
        found: list[Json] = []
        more = True
        while more:
            after = {"starting_after": found[-1]["id"]} if found else {}
            page = self.stage.stripe("GET", "/v1/payment_intents", customer=self.customer(), limit=100, **after)
            found, more = found + page["data"], page["has_more"]
        return [intent for intent in reversed(found) if "purchase_intent_id" in intent["metadata"]]

    def charges(self) -> list[str]:
        """What the bank has said to every charge of an automatic purchase, oldest first."""
        found: list[Json] = []
        for intent in self.at_stripe():
            found += self.stage.stripe("GET", "/v1/charges", payment_intent=intent["id"], limit=100)["data"]
        return [charge["status"] for charge in sorted(found, key=lambda charge: charge["created"])]

    def mails(self) -> list[str]:
        """The mails about auto-purchase to the team's billing address, in order."""
        query = select(OutboxItem.payload).order_by(OutboxItem.created_at, OutboxItem.id)
        mine = (mail for mail in self._all(query) if mail["to"] == self.person.email)
        return [mail["message"] for mail in mine if mail["message"] in MAILS]

    @staticmethod
    def _all(query: Any) -> list[Any]:
        found = list(db.session.execute(query, execution_options={"populate_existing": True}).scalars())
        db.session.remove()
        return found
