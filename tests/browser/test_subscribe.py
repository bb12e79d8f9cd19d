"""Buying a plan in the browser, from signing up to the overview that shows it."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.visitor import Arrive


def test_sign_up_and_subscribe_to_business(arrive: Arrive) -> None:
    someone = arrive()
    page = someone.page
    someone.go("/pricing")
    page.get_by_role("link", name="Create account").click()
    someone.sign_up("robin@example.com", "a sentence is better", "Business Bakery")
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()

    someone.open_mail("robin@example.com", "Confirm your address")
    someone.follow_link_in_mail()
    expect(page.get_by_text("Your address is confirmed.")).to_be_visible()
    someone.fill_in_sign_in("robin@example.com", "a sentence is better")
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    expect(someone.card("Plan")).to_contain_text("Free")
    team_id = someone.team_id

    someone.choose("Business", team_id)
    expect(page.get_by_role("main")).to_contain_text("$299.00")
    someone.pay()
    someone.wait_until_on("Business")
    expect(page.get_by_role("main")).to_contain_text("$299.00 USD")
    page.get_by_role("link", name="Go to the overview").click()

    expect(someone.card("Plan")).to_contain_text("Business")
    expect(someone.card("Plan")).to_contain_text("Active")
    expect(someone.card("Credits")).to_contain_text("20,000 available")
    expect(someone.card("Recent invoices")).to_contain_text("$299.00 USD")
    expect(someone.card("Billing details")).to_contain_text("4242")
