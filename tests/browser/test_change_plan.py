"""Changing the plan in the browser: from the page of plans, by a preview, to the invoice that says what it said."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive


def test_change_the_plan_by_its_preview_and_plan_a_smaller_one(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Growing Garden")
    someone = arrive(person)
    page = someone.page
    someone.choose("Business", person.team_id)
    someone.pay()
    someone.wait_until_on("Business")

    someone.go(f"/pricing?team={person.team_id}&interval=year")
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Business", exact=True))
    card.get_by_role("button", name="Switch to yearly").click()
    expect(page.get_by_role("heading", name="Pay Business yearly")).to_be_visible()
    pay = page.get_by_role("button", name="and change plan")
    amount = (pay.text_content() or "").strip().removeprefix("Pay ").removesuffix(" and change plan")
    assert amount.startswith("$2,69"), "a year less the month that was paid a moment ago"
    pay.focus()
    page.keyboard.press("Enter")
    someone.wait_until_on("Business")
    expect(page.get_by_role("main")).to_contain_text(amount)

    page.get_by_role("link", name="Go to the overview").click()
    expect(someone.card("Plan")).to_contain_text("$2,990.00 USD a year")
    expect(someone.card("Recent invoices")).to_contain_text(amount)

    page.get_by_role("link", name="Change plan").click()
    page.get_by_label("Plan", exact=True).select_option(label="Pro")
    page.get_by_text("Monthly", exact=True).click()
    someone.press("Show the preview")
    someone.press("Plan this change")
    expect(page.get_by_role("heading", name="Pro begins on")).to_be_visible()
    page.get_by_role("link", name="Go to the overview").click()
    expect(someone.card("Plan")).to_contain_text("Scheduled")
    someone.press("Undo")
    expect(page.get_by_role("heading", name="You stay on Business")).to_be_visible()
