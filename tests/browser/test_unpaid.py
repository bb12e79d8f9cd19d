"""A renewal that is not paid, from the mail to the recovered plan, without a mouse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import requests
from playwright.sync_api import expect

from portal.billing.models import Customer
from portal.catalog.queries import price_for
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.browser.keyboard import press_enter_on, type_into
from tests.browser.people import Person, newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import CVC, EXPIRY, Arrive, Visitor
from tests.stage import VISA
from tests.worker_process import until

MONTH_AND_MORE = timedelta(days=31, hours=2)


def test_a_failed_payment_is_mended_by_the_link_in_its_mail(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Overdue Orchard")
    let_the_renewal_fail(stack, person)
    someone = arrive(person)
    page = someone.page
    subject = "Your payment of $299.00 USD did not go through"
    expect_mail(someone, person, subject)

    press_enter_on(page.get_by_role("region", name="Links").get_by_role("link").first)
    expect(page.get_by_role("heading", name="$299.00 USD are still to be paid")).to_be_visible()
    press_enter_on(page.get_by_role("main").get_by_role("button", name="Pay now"))
    expect(page.get_by_role("heading", name="The payment did not go through")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("Nothing was charged.")

    press_enter_on(page.get_by_role("button", name="Update card"))
    expect(page.get_by_role("heading", name="Change your card")).to_be_visible()
    for label, text in (
        ("Card number", VISA),
        ("Expiry", EXPIRY),
        ("Security code", CVC),
        ("Name on card", "Robin Field"),
    ):
        type_into(page.get_by_label(label), text)
    press_enter_on(page.get_by_role("button", name="Save card"))
    expect(page.get_by_role("heading", name="The card was changed")).to_be_visible()
    press_enter_on(page.get_by_role("button", name="Pay the open invoice with it"))
    expect(page.get_by_role("heading", name="The invoice is paid")).to_be_visible()

    press_enter_on(page.get_by_role("main").get_by_role("link", name="Go to the overview"))
    expect(someone.card("Plan")).to_contain_text("Active")
    expect(page.get_by_text("did not go through")).to_have_count(0)
    expect_mail(someone, person, "$299.00 USD is paid")


def expect_mail(someone: Visitor, person: Person, subject: str) -> None:
    """Look into the mailbox until the worker has written it, and open it."""

    def is_there() -> bool:
        someone.go("/dev/mail")
        row = someone.page.get_by_role("row").filter(has_text=person.email)
        return row.get_by_role("link", name=subject).count() > 0

    with someone.stack.portal.app_context():
        until(is_there, "the mail is there")
    someone.open_mail(person.email, subject)


def let_the_renewal_fail(stack: RunningStack, person: Person) -> None:
    """A customer on a clock of its own, who subscribed a month ago and whose card does not pay any more.

    Nobody else's time moves, so that the other tests on this stack do not notice.
    """
    with stack.portal.app_context():
        price = price_for("business", "month")
        began = int((clock.now() - MONTH_AND_MORE - timedelta(hours=1)).timestamp())
        db.session.remove()
    assert price is not None
    stripe = Stripe(stack)
    own_clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time=began)["id"]
    customer = stripe.post("/v1/customers", email=person.email, test_clock=own_clock)["id"]
    with stack.portal.app_context():
        with unit_of_work() as session:
            session.add(Customer(team_id=person.team_id, params={}, stripe_id=customer, email=person.email))
        db.session.remove()
    stripe.give_card(customer, "pm_card_visa")
    stripe.post("/v1/subscriptions", customer=customer, **{"items[0][price]": price.stripe_price_id})
    stripe.give_card(customer, "pm_card_chargeCustomerFail")
    stripe.post(
        f"/v1/test_helpers/test_clocks/{own_clock}/advance", frozen_time=began + int(MONTH_AND_MORE.total_seconds())
    )


class Stripe:
    """The stand-in of a running stack, as anybody with the key may use it."""

    def __init__(self, stack: RunningStack) -> None:
        self._address, self._key = stack.sandbox_url, stack.settings["STRIPE_SECRET_KEY"]

    def post(self, path: str, **params: Any) -> dict[str, Any]:
        answer = requests.post(self._address + path, data=params, auth=(self._key, ""), timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def give_card(self, customer: str, stock: str) -> None:
        card = self.post(f"/v1/payment_methods/{stock}/attach", customer=customer)["id"]
        self.post(f"/v1/customers/{customer}", **{"invoice_settings[default_payment_method]": card})
