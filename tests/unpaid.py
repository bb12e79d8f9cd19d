"""A renewal that could not be charged, and what people do about it by the pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import requests
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.billing.invoice_models import PaymentTry
from portal.billing.models import Customer, Invoice, Payment, Subscription
from portal.core.database import db
from portal.core.ids import new_id
from portal.notifications.models import OutboxItem
from tests.cast import Person
from tests.plan_changes import now
from tests.stage import Stage

Json = dict[str, Any]
ASKS, DECLINES, WORKS = "pm_card_authenticationRequired", "pm_card_chargeCustomerFail", "pm_card_visa"


@dataclass
class Debtor:
    """A person whose team's plan was to be renewed, with a card that did not pay."""

    stage: Stage
    person: Person
    team_id: str

    @classmethod
    def with_card(cls, stage: Stage, person: Person, team_id: str, card: str = DECLINES) -> Debtor:
        stage.subscribe(person, team_id, "business")
        stage.deliver_all()
        debtor = cls(stage, person, team_id)
        debtor.switch_card(card)
        debtor.pass_period()
        return debtor

    @classmethod
    def owing(cls, stage: Stage, person: Person, team_id: str, card: str = WORKS) -> Debtor:
        """A person whose team has an open invoice that nobody has tried to charge yet."""
        stage.subscribe(person, team_id, "business")
        stage.deliver_all()
        debtor = cls(stage, person, team_id)
        debtor.switch_card(card)
        debtor.bill()
        return debtor

    def pass_period(self) -> None:
        """Go on until two hours after the plan was to be renewed."""
        ends = self.subscription().current_period_end
        assert ends is not None
        self.stage.advance(ends - now() + timedelta(hours=2))
        self.stage.deliver_all()

    def bill(self, cents: int = 5_000) -> None:
        """Bill the team for something by hand."""
        customer = self.customer()
        self.stage.stripe(
            "POST", "/v1/invoiceitems", customer=customer, amount=cents, currency="usd", description="Training"
        )
        made = self.stage.stripe("POST", "/v1/invoices", customer=customer, pending_invoice_items_behavior="include")
        self.stage.stripe("POST", f"/v1/invoices/{made['id']}/finalize")
        self.stage.deliver_all()

    # What people do

    def pay(self, order: str | None = None, person: Person | None = None) -> TestResponse:
        """Press the button on the invoice's page."""
        address = f"/teams/{self.team_id}/invoices/{self.invoice().id}/payment"
        return (person or self.person).client.post(address, data={"order": order or new_id("ord")})

    def come_to(self, answer: TestResponse) -> PaymentTry:
        """Let the worker work and the news come; returns what became of it."""
        assert answer.status_code == 303, answer.get_data(as_text=True)
        self.stage.drain()
        self.stage.deliver_all()
        return self.read(answer.location.rsplit("/", 1)[1])

    def page(self, row: PaymentTry) -> str:
        answer = self.person.client.get(f"/teams/{self.team_id}/payment-tries/{row.id}")
        assert answer.status_code == 200
        return answer.get_data(as_text=True)

    def see(self, path: str) -> str:
        answer = self.person.client.get(f"/teams/{self.team_id}/{path}")
        assert answer.status_code == 200, path
        return answer.get_data(as_text=True)

    def switch_card(self, stock: str) -> None:
        """Let another card pay, as if it were changed at Stripe."""
        customer = self.customer()
        method = self.stage.stripe("POST", f"/v1/payment_methods/{stock}/attach", customer=customer)["id"]
        self.stage.stripe("POST", f"/v1/customers/{customer}", **{"invoice_settings[default_payment_method]": method})
        self.stage.deliver_all()
        self.stage.deliver_all()

    def answer_bank(self, word: str) -> None:
        """On the page of the invoice at Stripe."""
        page = f"{self.invoice().hosted_invoice_url}/authenticate"
        requests.post(page, data={"answer": word}, timeout=20)
        self.stage.deliver_all()
        self.stage.drain()

    # What is true

    def customer(self) -> str:
        return str(self._one(select(Customer.stripe_id).where(Customer.team_id == self.team_id)))

    def subscription(self) -> Subscription:
        return self._one(select(Subscription).where(Subscription.team_id == self.team_id))

    def invoice(self) -> Invoice:
        """The team's newest invoice."""
        query = select(Invoice).where(Invoice.team_id == self.team_id).order_by(Invoice.id.desc()).limit(1)
        return self._one(query)

    def read(self, try_id: str) -> PaymentTry:
        return self._one(select(PaymentTry).where(PaymentTry.id == try_id))

    def tries(self) -> list[PaymentTry]:
        return self._all(select(PaymentTry).where(PaymentTry.team_id == self.team_id))

    def charges(self) -> list[str]:
        """What the bank has said to each charge of the newest invoice, oldest first."""
        query = select(Payment.payment_intent_stripe_id).where(
            Payment.invoice_stripe_id == self.invoice().stripe_id, Payment.payment_intent_stripe_id.is_not(None)
        )
        intents = self._all(query)
        found = self.stage.stripe("GET", "/v1/charges", payment_intent=intents[0], limit=100)["data"] if intents else []
        return [charge["status"] for charge in reversed(found)]

    def mails(self, *kinds: str) -> list[str]:
        """The mails of these kinds to the team's billing address, in order."""
        query = select(OutboxItem.payload).order_by(OutboxItem.created_at, OutboxItem.id)
        return [
            mail["message"]
            for mail in self._all(query)
            if mail["message"] in kinds and mail["to"] == "owner@example.com"
        ]

    @staticmethod
    def _all(query: Any) -> list[Any]:
        found = list(db.session.execute(query, execution_options={"populate_existing": True}).scalars())
        db.session.remove()
        return found

    def _one(self, query: Any) -> Any:
        (found,) = self._all(query)
        return found
