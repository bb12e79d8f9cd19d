"""Visiting the hosted customer portal in tests, as somebody with a plan."""

import re
from dataclasses import dataclass

from werkzeug.test import TestResponse

from tests.sandbox.driving import PORTAL, Driver, Json


@dataclass
class Portal:
    """A customer with a plan, in the portal."""

    sandbox: Driver
    customer: str
    subscription: str
    path: str

    def get(self, step: str = "") -> TestResponse:
        """Look at the portal, or at one step of it."""
        return self.sandbox.client.get(f"{self.path}/{step}".rstrip("/").replace("/?", "?"))

    def post(self, step: str, form: Json | None = None) -> TestResponse:
        """Send the form of a step."""
        return self.sandbox.client.post(f"{self.path}/{step}", data=form or {})

    def page(self, step: str = "") -> str:
        """Return the words of a page that must be there, with its space collapsed."""
        response = self.get(step)
        assert response.status_code == 200, response.get_data(as_text=True)
        return re.sub(r"\s+", " ", response.get_data(as_text=True))

    def plan(self) -> Json:
        """Return the subscription."""
        return self.sandbox.get(f"/v1/subscriptions/{self.subscription}")

    def default(self) -> str | None:
        """Return the customer's default card."""
        customer = self.sandbox.get(f"/v1/customers/{self.customer}")
        found: str | None = customer["invoice_settings"]["default_payment_method"]
        return found

    def types_after(self, number: int) -> list[str]:
        """Return the types of the events since there were so many of them."""
        return self.sandbox.event_types()[number:]

    def count(self) -> int:
        """Return how many events there are."""
        return len(self.sandbox.events())


def open_portal(sandbox: Driver, customer: str, **more: str) -> str:
    made = sandbox.post("/v1/billing_portal/sessions", {"customer": customer, **more})
    return str(made["url"]).removeprefix("http://127.0.0.1:12111")


def offering(*prices: Json, **update: str) -> Json:
    """Return the parameters of a configuration that lets plans change to these prices."""
    prefix = "features[subscription_update]"
    sent = {f"{prefix}[enabled]": "true", f"{prefix}[default_allowed_updates][0]": "price"}
    for number, price in enumerate(prices):
        sent[f"{prefix}[products][{number}][product]"] = price["product"]
        sent[f"{prefix}[products][{number}][prices][0]"] = price["id"]
    return sent | {f"{prefix}{name}": value for name, value in update.items()}


def everything(*prices: Json) -> Json:
    """Return the parameters of a configuration in which all is switched on, with downgrades at the period's end."""
    update = {
        "[default_allowed_updates][1]": "quantity",
        "[default_allowed_updates][2]": "promotion_code",
        "[products][0][adjustable_quantity][enabled]": "true",
        "[products][0][adjustable_quantity][maximum]": "50",
        "[proration_behavior]": "always_invoice",
        "[schedule_at_period_end][conditions][0][type]": "decreasing_item_amount",
    }
    details = {
        f"features[customer_update][allowed_updates][{number}]": name
        for number, name in enumerate(("name", "email", "address", "phone", "tax_id", "shipping"))
    }
    return PORTAL | offering(*prices, **update) | details | {"features[subscription_pause][enabled]": "true"}


def visitor(sandbox: Driver, price: Json, configuration: Json, /, **more: str) -> Portal:
    """Begin a subscription of a new customer, in a portal of this configuration."""
    sandbox.post("/v1/billing_portal/configurations", configuration)
    begun = sandbox.begin(price, **more)
    return Portal(sandbox, begun["customer"], begun["id"], open_portal(sandbox, begun["customer"]))


def hidden(page: str) -> Json:
    """Return what a page's form sends along unseen."""
    return {
        name: value.replace("&amp;", "&")
        for name, value in re.findall(r'type="hidden"\s+name="(\w+)"\s+value="([^"]*)"', page)
    }
