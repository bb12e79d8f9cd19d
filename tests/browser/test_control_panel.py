"""The control panel of a stand-in of one's own: from a customer's story to the event, its deliveries and the clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from portal.sandbox import create_sandbox
from tests.browser.control_panel import add_rule
from tests.browser.visitor import Arrive, Visitor
from tests.live import serving
from tests.sandbox.driving import KEY, Driver, Receiver, receiving
from tests.sandbox.test_chaos_deliveries import settled


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def driver(receiver: Receiver) -> Iterator[Driver]:
    app = create_sandbox(api_key=KEY, webhook_url=receiver.url, webhook_secret="whsec_tests", retry_delays=(0.02,))
    yield Driver(app)
    app.extensions["sandbox"].close()


def test_a_customers_story_leads_to_what_happened_and_what_comes(
    arrive: Arrive, driver: Driver, receiver: Receiver
) -> None:
    receiver.statuses[:] = [500, 500]
    customer = driver.post("/v1/customers", {"email": "ada@example.com", "name": "Ada Harbor"})["id"]
    settled(driver)
    driver.paid(driver.session(customer=customer))
    settled(driver)
    with serving(driver.app) as address:
        someone = arrive()
        someone.page.goto(address)
        story(someone)
        send_again(someone)
        break_something(someone)
        advance(someone)


def story(someone: Visitor) -> None:
    page = someone.page
    page.get_by_role("link", name="Ada Harbor").click()
    expect(page.get_by_role("heading", name="Ada Harbor", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="The invoice was paid")).to_be_visible()
    page.get_by_role("link", name="The customer was made").click()


def send_again(someone: Visitor) -> None:
    """The event that nobody took: both attempts are shown, and a button sends it once more."""
    page = someone.page
    deliveries = page.get_by_role("region", name="Deliveries", exact=True)
    expect(deliveries.get_by_text("HTTP 500")).to_have_count(2)
    deliveries.get_by_role("button", name="Send again").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("on its way again")
    seen(page, "Delivered")
    page.get_by_role("region", name="The event as JSON").get_by_role("link", name="cus_").first.click()
    expect(page.get_by_role("heading", name="cus_", level=1)).to_be_visible()


def seen(page: Page, words: str) -> None:
    """The panel shows a moment: it is looked at again until it shows this one."""
    for _ in range(100):
        if page.get_by_text(words, exact=True).count():
            return
        page.reload()
    raise AssertionError(f"{words} is never shown")


def break_something(someone: Visitor) -> None:
    page = someone.page
    page.get_by_role("link", name="Chaos", exact=True).press("Enter")
    add_rule(someone, "429: too many requests", "GET /v1/customers")
    expect(page.get_by_role("region", name="Table of rules")).to_contain_text("GET /v1/customers")
    someone.press("End all of it")
    expect(page.get_by_text("There is no rule, so nothing is broken.")).to_be_visible()


def advance(someone: Visitor) -> None:
    """A month goes by in two presses, and the plan renews."""
    page = someone.page
    page.get_by_role("link", name="Clock", exact=True).click()
    expect(page.get_by_role("region", name="What comes next", exact=True)).to_contain_text("The plan renews")
    someone.press("Advance a day")
    someone.press("To the next event")
    expect(page.get_by_role("status")).to_contain_text("The clock was moved")
    page.get_by_role("link", name="Objects", exact=True).click()
    page.get_by_role("link", name="invoice", exact=True).click()
    expect(page.get_by_role("region", name="Table of objects").get_by_role("link")).to_have_count(2)
