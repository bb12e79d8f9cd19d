"""The hosted pages of a stand-in of one's own, where everything is switched on that our portal leaves off."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

from portal.sandbox import create_sandbox
from tests.browser.visitor import Visitor
from tests.live import serving
from tests.sandbox.driving import KEY, Driver, Json
from tests.sandbox.visiting import everything

Play = Callable[[Visitor, Any], None]
State = Callable[["OpenPortal"], object]


@dataclass(frozen=True)
class OpenPortal:
    """A customer with two seats of Pro, whose portal offers Team and Yearly too."""

    sandbox: Driver
    address: str
    subscription: Json
    team: Json

    @property
    def step(self) -> str:
        return f"subscriptions/{self.subscription['id']}"

    def page(self, step: str = "") -> str:
        """The address of a step, in a session that was just made."""
        made = self.sandbox.post("/v1/billing_portal/sessions", {"customer": self.subscription["customer"]})
        return str(made["url"]).replace("http://127.0.0.1:12111", self.address) + (f"/{step}" if step else "")

    def latest_total(self) -> str:
        """The newest invoice's total, as pages show it."""
        return f"${self.sandbox.latest_invoice(self.subscription)['total'] / 100:.2f}"

    def pause(self) -> None:
        self.sandbox.post(f"/v1/subscriptions/{self.subscription['id']}/pause")

    def fall_behind(self) -> None:
        """Let the renewal fail."""
        card = self.sandbox.card(self.subscription, "pm_card_chargeCustomerFail")
        self.sandbox.change(self.subscription, default_payment_method=card)
        self.sandbox.pass_by(32)

    def open_invoice(self, step: str = "") -> str:
        return f"{self.address}/i/{self.sandbox.subscription(self.subscription)['latest_invoice']}{step}"


@cache
def _running() -> tuple[Driver, str]:
    """One for all pages of a run; it is stopped at the end."""
    app, stack = create_sandbox(api_key=KEY), ExitStack()
    atexit.register(stack.close)
    stack.callback(app.extensions["sandbox"].close)
    return Driver(app), stack.enter_context(serving(app))


def open_portal() -> OpenPortal:
    """A new customer's portal."""
    driver, address = _running()
    pro, team = driver.price(2900), driver.price(9900, name="Team")
    yearly = driver.price(29000, "year", name="Yearly")
    made = driver.post("/v1/billing_portal/configurations", everything(pro, team, yearly))
    if not made["is_default"]:
        default = driver.get("/v1/billing_portal/configurations", is_default="true")["data"][0]["id"]
        driver.post(f"/v1/billing_portal/configurations/{default}", everything(pro, team, yearly))
    begun = driver.begin(pro, **{"items[0][quantity]": "2"})
    numbers = {"type": "eu_vat", "value": "DE123456789"}
    driver.post(f"/v1/customers/{begun['customer']}/tax_ids", numbers)
    driver.post(f"/v1/customers/{begun['customer']}", {"name": "Ada Harbor", "phone": "+49 30 123456"})
    return OpenPortal(driver, address, begun, team)


def hosted_step(step: str = "", *, state: State | None = None) -> Play:
    """A step of the portal; `{}` in it stands for the larger plan's price."""

    def play(someone: Visitor, _company: Any) -> None:
        portal = open_portal()
        if state is not None:
            state(portal)
        named = step.format(portal.team["id"])
        someone.page.goto(portal.page(f"{portal.step}/{named}" if named and named != "customer" else named))
        someone.page.get_by_role("heading", level=1).wait_for()

    return play


def wrong_details(someone: Visitor, company: Any) -> None:
    """The form for the billing details, sent off with a tax id that is none."""
    hosted_step("customer")(someone, company)
    someone.page.get_by_label("Number of the tax id").fill("12")
    someone.press("Save details")
    someone.page.get_by_role("alert").wait_for()


def planned(someone: Visitor, company: Any) -> None:
    """The home page, while a change waits for the end of the period."""
    hosted_step("update/confirm?quantity=1")(someone, company)
    someone.page.get_by_role("button", name="Confirm").click()
    someone.page.get_by_role("status").wait_for()


def unpaid(step: str) -> Play:
    """A page of an invoice that is open since its payment failed."""

    def play(someone: Visitor, _company: Any) -> None:
        portal = open_portal()
        portal.fall_behind()
        someone.page.goto(portal.open_invoice(step))
        someone.page.get_by_role("heading", level=1).wait_for()

    return play
