"""What Stripe's page may ask on the way: the bank whether it is you (3-D Secure), and for a promotion code."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive
from tests.stage import ASKS_WHO_PAYS


def test_3d_secure_failed_then_passed(arrive: Arrive, stack: RunningStack) -> None:
    """Failing it charges nothing and the page takes another try; passing it starts the plan."""
    person = newcomer(stack, "Careful Cards")
    someone = arrive(person)
    page = someone.page
    someone.choose("Business", person.team_id)
    someone.pay(ASKS_WHO_PAYS)
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    someone.press("Fail authentication")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was charged.")
    someone.pay(ASKS_WHO_PAYS)
    someone.press("Complete authentication")
    someone.wait_until_on("Business")
    expect(page.get_by_role("main")).to_contain_text("$299.00 USD")
    page.get_by_role("link", name="Go to the overview").click()
    expect(someone.card("Credits")).to_contain_text("20,000 available")


def test_a_promotion_code_before_the_page_and_on_it(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Bargain Bookshop")
    someone = arrive(person)
    page = someone.page
    someone.choose("Business", person.team_id)
    page.get_by_label("Promotion code").fill("LAUNCH20")
    someone.press("Apply code")
    expect(page.get_by_role("main")).to_contain_text("$239.20")
    someone.pay()
    someone.wait_until_on("Business")
    expect(page.get_by_role("main")).to_contain_text("$239.20 USD")

    someone.go(f"/teams/{person.team_id}/credits")
    page.get_by_text("I have a promotion code").click()
    page.get_by_label("Promotion code").fill("LAUNCH21")
    someone.press("Buy 500 for $10.00 USD")
    expect(page.get_by_role("heading", name="There is no such promotion code")).to_be_visible()
    page.get_by_role("link", name="Back to the credits").click()
    page.get_by_text("I have a promotion code").click()
    page.get_by_label("Promotion code").fill("launch20")
    someone.press("Buy 500 for $10.00 USD")
    expect(page.get_by_role("main")).to_contain_text("$8.00")
    someone.pay()
    expect(page.get_by_role("heading", name="500 credits are yours now")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("$8.00 USD")
