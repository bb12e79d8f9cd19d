"""The story that makes every kind of object and event there is, told through the official client over HTTP."""

from typing import Any

import pytest
import stripe

from tests.contract.billing_story import BillingStory
from tests.contract.recording import RecordingClient
from tests.sandbox.driving import DECLINED_CARD, GOOD_CARD, KEY, Driver

SUCCESS = "http://127.0.0.1:9/return?session={CHECKOUT_SESSION_ID}"


class Story(BillingStory):
    """What was made, and every answer on the way."""

    def __init__(self, driver: Driver, address: str) -> None:
        self.driver = driver
        self.http = RecordingClient()
        self.client = stripe.StripeClient(KEY, base_addresses={"api": address}, http_client=self.http)
        self.v1 = self.client.v1
        self.customer = self.v1.customers.create(
            {
                "email": "ada@example.com",
                "name": "Ada",
                "metadata": {"team_id": "team_1"},
                "address": {"line1": "1 Road", "country": "US"},
                "shipping": {"name": "Ada", "address": {"line1": "1 Road"}},
            }
        )

    def tell(self) -> None:
        """Walk through everything."""
        self.catalog()
        self.payment_methods()
        self.subscribe()
        self.trial()
        self.buy()
        self.buy_by_debit()
        self.pay_directly()
        self.subscribe_directly()
        self.endpoints_and_account()
        self.portal()
        self.live_on()
        self.change_the_plan()
        self.fail_and_recover()
        self.follow_schedules()
        self.live_by_a_test_clock()
        self.change_and_end()
        self.read_all()

    def catalog(self) -> None:
        """Products and prices."""
        product = self.v1.products.create(
            {"id": "prod_pro", "name": "Pro", "marketing_features": [{"name": "Fast"}], "metadata": {"plan": "pro"}}
        )
        self.v1.products.update(product.id, {"description": "All of it"})
        self.monthly = self.v1.prices.create(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": 9900,
                "recurring": {"interval": "month"},
                "lookup_key": "pro_monthly",
            }
        )
        self.bundle = self.v1.prices.create({"product": product.id, "currency": "usd", "unit_amount": 1000})
        self.v1.prices.update(self.bundle.id, {"nickname": "500 credits"})
        self.v1.products.update(product.id, {"default_price": self.monthly.id})
        gone = self.v1.products.create({"name": "Gone"})
        self.v1.products.delete(gone.id)

    def payment_methods(self) -> None:
        """Cards, attached and detached."""
        card = self.v1.payment_methods.attach("pm_card_visa", {"customer": self.customer.id})
        self.v1.payment_methods.update(card.id, {"billing_details": {"name": "Ada"}})
        self.v1.customers.update(self.customer.id, {"invoice_settings": {"default_payment_method": card.id}})
        self.v1.customers.retrieve(self.customer.id, {"expand": ["invoice_settings.default_payment_method"]})
        self.v1.customers.payment_methods.retrieve(self.customer.id, card.id)
        other = self.v1.payment_methods.create({"type": "card", "card": {"token": "tok_mastercard"}})
        self.v1.payment_methods.attach(other.id, {"customer": self.customer.id})
        self.v1.payment_methods.detach(other.id)

    def _session(self, **more: Any) -> Any:
        params: Any = {
            "mode": "subscription",
            "customer": self.customer.id,
            "line_items": [{"price": self.monthly.id, "quantity": 2}],
            "success_url": SUCCESS,
            "client_reference_id": "team_1",
        }
        return self.v1.checkout.sessions.create(params | more)

    def subscribe(self) -> None:
        """A declined card, then a good one, by somebody who agrees to the terms."""
        asked = {"terms_of_service": "required", "promotions": "auto"}
        session = self._session(
            subscription_data={"metadata": {"plan": "pro"}},
            customer_update={"name": "auto"},
            consent_collection=asked,
            custom_text={"submit": {"message": "Thank you."}},
        )
        agreed = {"terms_of_service": "accepted"}
        assert self.driver.pay({"id": session.id}, DECLINED_CARD | agreed).status_code == 402
        assert self.driver.pay({"id": session.id}, agreed).status_code == 303
        paid = self.v1.checkout.sessions.retrieve(
            session.id, {"expand": ["line_items", "subscription.latest_invoice.payments", "customer"]}
        )
        assert isinstance(paid.subscription, stripe.Subscription)
        self.subscription = paid.subscription
        self.v1.checkout.sessions.line_items.list(session.id)

    def trial(self) -> None:
        """A subscription that begins with a trial, and sessions that come to nothing."""
        session = self._session(subscription_data={"trial_period_days": 14})
        assert self.driver.pay({"id": session.id}).status_code == 303
        self.v1.checkout.sessions.expire(self._session().id)

    def buy(self) -> None:
        """One-time payments: by a customer with an invoice, and by a guest after a decline."""
        lines = [{"price": self.bundle.id, "quantity": 1}]
        session = self._session(mode="payment", line_items=lines, invoice_creation={"enabled": True})
        assert self.driver.pay({"id": session.id}).status_code == 303
        bought: Any = {"mode": "payment", "line_items": lines, "success_url": SUCCESS}
        guest = self.v1.checkout.sessions.create(bought)
        assert self.driver.pay({"id": guest.id}, DECLINED_CARD).status_code == 402
        assert self.driver.pay({"id": guest.id}).status_code == 303
        saving: Any = {"mode": "setup", "currency": "usd", "customer": self.customer.id, "success_url": SUCCESS}
        saved = self.v1.checkout.sessions.create(saving)
        assert self.driver.pay({"id": saved.id}).status_code == 303
        self.v1.checkout.sessions.retrieve(saved.id, {"expand": ["setup_intent"]})

    def buy_by_debit(self) -> None:
        """One-time payments from bank accounts: one that is paid later, and one that is not."""
        price = self.v1.prices.create({"product": "prod_pro", "currency": "eur", "unit_amount": 900})
        billing: Any = {"billing_details": {"name": "Ada", "email": "ada@example.com"}}
        account: Any = {"type": "sepa_debit", "sepa_debit": {"iban": "DE89370400440532013000"}}
        self.v1.payment_methods.create(account | billing)
        bought: Any = {"mode": "payment", "line_items": [{"price": price.id, "quantity": 1}], "success_url": SUCCESS}
        for iban in ("AT321904300235473204", "AT051904300235473205"):
            session = self.v1.checkout.sessions.create(bought)
            debit = {"pay_with": "sepa_debit", "iban": iban, "account_holder": "Ada"}
            assert self.driver.pay({"id": session.id}, debit).status_code == 303
            paid = self.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge"]})
            assert paid.payment_status == "unpaid"
        self.driver.pass_seconds(180)
        self.v1.checkout.sessions.retrieve(paid.id, {"expand": ["payment_intent.latest_charge"]})

    def pay_directly(self) -> None:
        """Payment intents without Checkout."""
        card = self.v1.payment_methods.attach("pm_card_visa", {"customer": self.customer.id})
        intent = self.v1.payment_intents.create(
            {
                "amount": 1800,
                "currency": "usd",
                "customer": self.customer.id,
                "payment_method": card.id,
                "confirm": True,
                "off_session": True,
                "expand": ["latest_charge.refunds"],
            }
        )
        assert intent.status == "succeeded"
        with pytest.raises(stripe.CardError):
            self.v1.payment_intents.create(
                {"amount": 500, "currency": "usd", "payment_method": "pm_card_chargeDeclined", "confirm": True}
            )
        refund = self.v1.refunds.create({"payment_intent": intent.id, "amount": 100})
        self.v1.refunds.update(refund.id, {"metadata": {"seen": "1"}})
        self.v1.refunds.retrieve(refund.id, {"expand": ["charge.refunds"]})
        waiting = self.v1.payment_intents.create({"amount": 700, "currency": "usd"})
        self.v1.payment_intents.update(waiting.id, {"description": "waits"})
        self.v1.payment_intents.cancel(waiting.id)

    def endpoints_and_account(self) -> None:
        """Webhook endpoints, and what a client asks to see that its key works."""
        endpoint = self.v1.webhook_endpoints.create(
            {"url": "http://127.0.0.1:9/hook", "enabled_events": ["price.created"]}
        )
        self.v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
        self.v1.webhook_endpoints.retrieve(endpoint.id)
        self.v1.webhook_endpoints.list()
        self.v1.webhook_endpoints.delete(endpoint.id)
        params: Any = {
            "name": "portal",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.invoice.paid"],
            "webhook_endpoint": {"url": "http://127.0.0.1:9/hook"},
            "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
        }
        destinations = self.client.v2.core.event_destinations
        destinations.disable(destinations.create(params).id)
        self.v1.balance.retrieve()

    def subscribe_directly(self) -> None:
        """Subscriptions without Checkout: one that is refused, then paid with another card, and one in a trial."""
        payer = self.v1.customers.create({"email": "direct@example.com"})
        failing = self.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": payer.id})
        good = self.v1.payment_methods.attach("pm_card_visa", {"customer": payer.id})
        order: Any = {"customer": payer.id, "items": [{"price": self.monthly.id}]}
        begun = self.v1.subscriptions.create(order | {"default_payment_method": failing.id})
        assert begun.status == "incomplete"
        assert isinstance(begun.latest_invoice, str)
        self.v1.invoices.retrieve(begun.latest_invoice, {"expand": ["payments", "confirmation_secret"]})
        self.v1.invoices.pay(begun.latest_invoice, {"payment_method": good.id})
        self.v1.subscriptions.retrieve(begun.id)
        self.v1.subscriptions.create(order | {"trial_period_days": 3})
        added: Any = {"add_invoice_items": [{"price": self.bundle.id}], "default_payment_method": good.id}
        self.v1.subscriptions.create(order | added)

    def portal(self) -> None:
        """The customer portal: configurations, and a session for each kind of flow."""
        features: Any = {
            "customer_update": {"enabled": True, "allowed_updates": ["name", "address", "tax_id"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {
                "enabled": True,
                "cancellation_reason": {"enabled": True, "options": ["unused", "other"]},
            },
            "subscription_pause": {"enabled": True, "duration": {"type": "indefinite"}},
            "subscription_update": {
                "enabled": True,
                "default_allowed_updates": ["price", "quantity"],
                "products": [
                    {"product": "prod_pro", "prices": [self.monthly.id], "adjustable_quantity": {"enabled": True}}
                ],
                "schedule_at_period_end": {"conditions": [{"type": "shortening_interval"}]},
            },
        }
        made = self.v1.billing_portal.configurations.create(
            {"features": features, "business_profile": {"headline": "Billing"}, "metadata": {"catalog": "1"}}
        )
        self.v1.billing_portal.configurations.update(made.id, {"default_return_url": "https://example.com/billing"})
        self.v1.billing_portal.configurations.retrieve(made.id)
        self.v1.billing_portal.configurations.list({"is_default": True})
        flows: list[Any] = [
            {"type": "payment_method_update", "after_completion": {"type": "hosted_confirmation"}},
            {"type": "customer_update"},
            {"type": "subscription_pause", "subscription_pause": {"subscription": self.subscription.id}},
            {"type": "subscription_update", "subscription_update": {"subscription": self.subscription.id}},
            {
                "type": "subscription_update_confirm",
                "subscription_update_confirm": {
                    "subscription": self.subscription.id,
                    "items": [{"id": self.subscription["items"].data[0].id, "quantity": 3}],
                },
            },
            {
                "type": "subscription_cancel",
                "subscription_cancel": {"subscription": self.subscription.id},
                "after_completion": {"type": "redirect", "redirect": {"return_url": "https://example.com/bye"}},
            },
        ]
        for flow in flows:
            session = self.v1.billing_portal.sessions.create({"customer": self.customer.id, "flow_data": flow})
            assert session.configuration == made.id
        opened = self.v1.billing_portal.sessions.create({"customer": self.customer.id, "expand": ["configuration"]})
        page = opened.url.removeprefix("http://127.0.0.1:12111")
        for card, status in ((DECLINED_CARD, 402), (GOOD_CARD, 303)):
            assert self.driver.client.post(f"{page}/payment-methods/add", data=card).status_code == status
        address: Any = {"name": "Ada", "email": "ada@example.com", "tax_id_type": "eu_vat", "tax_id": "DE123456789"}
        assert self.driver.client.post(f"{page}/customer", data=address).status_code == 303
        numbers = self.v1.customers.tax_ids
        listed = numbers.list(self.customer.id).data[0]
        numbers.retrieve(self.customer.id, listed.id, {"expand": ["customer"]})
        numbers.delete(self.customer.id, numbers.create(self.customer.id, {"type": "us_ein", "value": "123456789"}).id)
        self.v1.setup_intents.retrieve(self.v1.setup_intents.list({"customer": self.customer.id}).data[0].id)

    def change_and_end(self) -> None:
        """A subscription's later life, and a customer's end."""
        self.v1.subscriptions.update(self.subscription.id, {"metadata": {"seen": "1"}})
        self.v1.subscriptions.update(self.subscription.id, {"cancel_at_period_end": True})
        self.v1.subscriptions.cancel(self.subscription.id)
        gone = self.v1.customers.create({"payment_method": "pm_card_amex"})
        self.v1.customers.delete(gone.id)
        self.v1.customers.retrieve(gone.id)

    def read_all(self) -> None:
        """Every list there is."""
        customer = self.customer.id
        lists: list[Any] = [
            self.v1.customers.list({"limit": 100}),
            self.v1.products.list(),
            self.v1.prices.list({"lookup_keys": ["pro_monthly"], "expand": ["data.product"]}),
            self.v1.checkout.sessions.list({"limit": 100}),
            self.v1.payment_methods.list({"customer": customer}),
            self.v1.customers.payment_methods.list(customer),
            self.v1.customers.tax_ids.list(customer),
            self.v1.payment_intents.list({"limit": 100}),
            self.v1.charges.list({"limit": 100}),
            self.v1.subscriptions.list({"status": "all", "expand": ["data.latest_invoice", "data.customer"]}),
            self.v1.subscription_items.list({"subscription": self.subscription.id}),
            self.v1.invoices.list({"expand": ["data.payments", "data.confirmation_secret"]}),
            self.v1.invoice_payments.list({"expand": ["data.payment.payment_intent"]}),
            *(self.v1.events.list({"limit": 100, "types": [kind]}) for kind in set(self.driver.event_types())),
        ]
        for listed in lists:
            assert listed.data, listed
        invoice = lists[11].data[0]
        self.v1.invoices.retrieve(invoice.id)
        self.v1.invoices.line_items.list(invoice.id)
        self.v1.invoice_payments.retrieve(lists[12].data[0].id)
        self.v1.charges.retrieve(lists[8].data[0].id)
        self.v1.subscription_items.retrieve(lists[10].data[0].id)
        self.v1.events.retrieve(lists[13].data[0].id)
        newest = self.driver.app.extensions["sandbox"].store.find("event", limit=1)[0]
        self.client.v2.core.events.retrieve(newest["_thin_id"])
