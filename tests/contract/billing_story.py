"""The part of the story that is about subscriptions as they live: changes, failures, schedules and test clocks."""

from typing import Any

import stripe
from stripe._v1_services import V1Services

from tests.sandbox.driving import Driver


class BillingStory:
    """Chapters that need no more than the client, the sandbox and two prices."""

    driver: Driver
    v1: V1Services
    monthly: stripe.Price
    bundle: stripe.Price

    def live_on(self) -> None:
        """What a subscription goes through in time: its trial ends, it renews, is paused and resumed, and ends."""
        payer = self.v1.customers.create({"payment_method": "pm_card_visa"})
        card = self.v1.payment_methods.list({"customer": payer.id}).data[0].id
        order: Any = {"customer": payer.id, "items": [{"price": self.monthly.id}], "default_payment_method": card}
        begun = self.v1.subscriptions.create(order | {"trial_period_days": 14})
        self.driver.pass_by(12)
        self.driver.pass_by(31)
        self.v1.subscriptions.update(begun.id, {"pause_collection": {"behavior": "void"}})
        self.v1.subscriptions.update(begun.id, {"pause_collection": ""})
        paused = self.v1.subscriptions.pause(begun.id)
        assert paused.status == "paused"
        self.v1.subscriptions.resume(begun.id)
        failing = self.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": payer.id})
        self.v1.subscriptions.update(begun.id, {"default_payment_method": failing.id})
        self.driver.pass_by(31)
        assert self.v1.subscriptions.retrieve(begun.id).status == "past_due"
        self.v1.subscriptions.update(begun.id, {"cancel_at": "max_period_end"})
        self.driver.pass_by(31)
        assert self.v1.subscriptions.retrieve(begun.id).status == "canceled"

    def _subscriber(self, **more: Any) -> Any:
        """Begin a plan of somebody new, through the API."""
        payer = self.v1.customers.create({"payment_method": "pm_card_visa"})
        card = self.v1.payment_methods.list({"customer": payer.id}).data[0].id
        order: Any = {"customer": payer.id, "items": [{"price": self.monthly.id}], "default_payment_method": card}
        return self.v1.subscriptions.create(order | more)

    def change_the_plan(self) -> None:
        """Previews, changes with proration, what waits for an invoice, and changes that are not paid."""
        begun = self._subscriber()
        item = begun["items"].data[0].id
        self.driver.pass_by(9)
        change: Any = {"items": [{"id": item, "quantity": 3}], "proration_behavior": "create_prorations"}
        self.v1.invoices.create_preview({"subscription": begun.id, "subscription_details": change})
        self.v1.subscriptions.update(begun.id, change)
        self.v1.subscription_items.update(item, {"quantity": 5, "proration_behavior": "always_invoice"})
        more = self.v1.subscription_items.create({"subscription": begun.id, "price": self._addon()})
        self.v1.subscription_items.delete(more.id, {"proration_behavior": "none"})
        assert isinstance(begun.customer, str)
        waiting = self.v1.invoice_items.create(
            {"customer": begun.customer, "amount": 700, "currency": "usd", "metadata": {"why": "setup"}}
        )
        self.v1.invoice_items.create({"customer": begun.customer, "pricing": {"price": self.bundle.id}})
        self.v1.invoice_items.retrieve(waiting.id)
        drafts: Any = {"customer": begun.customer, "pending_invoice_items_behavior": "include"}
        gone = self.v1.invoices.create(drafts)
        self.v1.invoices.update(gone.id, {"description": "Set-up"})
        self.v1.invoices.delete(gone.id)
        by_hand = self.v1.invoices.create({"customer": begun.customer, "currency": "usd"})
        self.v1.invoices.finalize_invoice(by_hand.id)
        self.v1.invoice_items.list({"pending": True})
        self.v1.invoice_items.delete(waiting.id)
        bad = self.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": begun.customer})
        self.v1.subscriptions.update(begun.id, {"default_payment_method": bad.id})
        waits: Any = {
            "items": [{"id": item, "quantity": 50}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        }
        pending = self.v1.subscriptions.update(begun.id, waits)
        assert pending.pending_update is not None
        good = self.v1.payment_methods.attach("pm_card_visa", {"customer": begun.customer})
        assert isinstance(pending.latest_invoice, str)
        self.v1.invoices.pay(pending.latest_invoice, {"payment_method": good.id})
        self.v1.subscriptions.update(begun.id, waits | {"items": [{"id": item, "quantity": 90}]})
        self.driver.pass_by(1)

    def _addon(self) -> str:
        return self.v1.prices.create(
            {
                "product": "prod_pro",
                "currency": "usd",
                "unit_amount": 300,
                "recurring": {"interval": "month"},
            }
        ).id

    def fail_and_recover(self) -> None:
        """A renewal that the bank refuses or asks about, an invoice that is written off, and one that is voided."""
        begun = self._subscriber()
        assert isinstance(begun.customer, str)
        asking = self.v1.payment_methods.attach("pm_card_authenticationRequired", {"customer": begun.customer})
        self.v1.subscriptions.update(begun.id, {"default_payment_method": asking.id})
        self.driver.pass_by(31)
        latest = self.v1.subscriptions.retrieve(begun.id).latest_invoice
        assert isinstance(latest, str)
        assert self.v1.invoices.retrieve(latest).status == "open"
        self.driver.client.post(f"/i/{latest}/authenticate", data={"answer": "complete"})
        assert self.v1.invoices.retrieve(latest).status == "paid"
        self.driver.pass_by(31)
        latest = self.v1.subscriptions.retrieve(begun.id).latest_invoice
        assert isinstance(latest, str)
        self.v1.invoices.mark_uncollectible(latest)
        self.v1.invoices.void_invoice(latest)
        incomplete = self._subscriber(payment_behavior="default_incomplete")
        self.driver.pass_by(1)
        assert self.v1.subscriptions.retrieve(incomplete.id).status == "incomplete_expired"

    def follow_schedules(self) -> None:
        """Schedules: made, changed, released, canceled, run to their end, and begun without a subscription."""
        schedules = self.v1.subscription_schedules
        cheap = self._addon()
        followed = [self._subscriber() for _ in range(3)]
        made = [schedules.create({"from_subscription": one.id}) for one in followed]
        for schedule in made:
            now = schedule.phases[0]
            phases: Any = [
                {"items": [{"price": self.monthly.id}], "start_date": now.start_date, "end_date": now.end_date},
                {"items": [{"price": cheap, "quantity": 2}], "duration": {"interval": "month"}},
            ]
            schedules.update(schedule.id, {"phases": phases, "end_behavior": "cancel"})
            self.v1.invoices.create_preview({"schedule": schedule.id})
        schedules.release(made[0].id)
        schedules.cancel(made[1].id)
        payer = self.v1.customers.create({"payment_method": "pm_card_visa"})
        order: Any = {
            "customer": payer.id,
            "start_date": self.driver.get("/_sandbox/clock")["now"] + 86400,
            "phases": [{"items": [{"price": cheap}], "metadata": {"a": "b"}}],
            "default_settings": {
                "default_payment_method": self.v1.payment_methods.list({"customer": payer.id}).data[0].id
            },
        }
        schedules.create(order)
        self.driver.pass_by(31)
        self.driver.pass_by(31)
        assert schedules.retrieve(made[2].id, {"expand": ["subscription"]}).status == "completed"
        schedules.list()

    def live_by_a_test_clock(self) -> None:
        """A customer on a test clock, which is advanced and then deleted."""
        clocks = self.v1.test_helpers.test_clocks
        clock = clocks.create({"frozen_time": 2_000_000_000, "name": "A month"})
        payer = self.v1.customers.create(
            {"test_clock": clock.id, "payment_method": "pm_card_visa", "expand": ["test_clock"]}
        )
        card = self.v1.payment_methods.list({"customer": payer.id}).data[0].id
        order: Any = {"customer": payer.id, "items": [{"price": self.monthly.id}], "default_payment_method": card}
        self.v1.subscriptions.create(order)
        assert clocks.advance(clock.id, {"frozen_time": 2_000_000_000 + 32 * 86400}).status == "advancing"
        while clocks.retrieve(clock.id).status != "ready":
            pass
        assert len(self.v1.invoices.list({"customer": payer.id}).data) == 2
        clocks.list()
        clocks.delete(clock.id)
