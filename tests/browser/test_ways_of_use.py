"""The same checkout by keyboard alone, and without JavaScript."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from tests.browser.keyboard import tab_to, type_into
from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive, Visitor

PASSWORD = "a sentence is better"


def test_sign_in_and_buy_by_keyboard_alone(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Keyboard Kitchen", password=PASSWORD)
    someone = arrive()
    page = someone.page
    someone.go("/login")
    type_into(page.get_by_label("E-mail"), person.email)
    type_into(page.get_by_label("Password"), PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()

    tab_to(page.get_by_role("link", name="Choose a plan"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Pick the plan that fits the team")).to_be_visible()
    tab_to(page.get_by_role("radio", name="Monthly"))
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("interval=year"))
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Business", exact=True))
    button = card.locator(".tp-if-year").get_by_role("button")
    tab_to(button)
    assert button.evaluate("element => getComputedStyle(element).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.wait_for_url(f"{stack.sandbox_url}/**")
    expect(page.get_by_role("main")).to_contain_text("$2,990.00")


def test_the_first_tab_leads_past_the_navigation(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Skippers")
    someone = arrive(person)
    someone.open_overview(person.team_id)
    someone.page.keyboard.press("Tab")
    expect(someone.page.get_by_role("link", name="Skip to content")).to_be_focused()
    someone.page.keyboard.press("Enter")
    expect(someone.page.get_by_role("main")).to_be_focused()


def test_on_a_phone_the_menu_opens_and_closes_by_keyboard(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Small Screens")
    someone = arrive(person, viewport={"width": 360, "height": 740})
    page = someone.page
    someone.open_overview(person.team_id)
    expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
    tab_to(page.get_by_role("button", name="Menu"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
    expect(page.get_by_role("button", name="Menu")).to_be_focused()


def test_buying_works_without_javascript(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Plain Pages", password=PASSWORD)
    someone = arrive(java_script_enabled=False)
    page = someone.page
    someone.sign_in(person.email, PASSWORD)
    someone.choose("Business", person.team_id)
    returns_to = page.get_by_role("link", name="Cancel and go back").get_attribute("href")
    assert returns_to is not None

    waiting = Visitor(stack, page.context.new_page())
    waiting.page.goto(returns_to.partition("?")[0])
    expect(waiting.page.get_by_role("heading", name="Business is on its way")).to_be_visible()
    someone.pay()
    check_again_until(waiting.page.get_by_role("heading", name="You are on Business now"))
    waiting.page.get_by_role("link", name="Go to the overview").click()
    expect(waiting.card("Credits")).to_contain_text("20,000 available")

    waiting.press("Dark")
    expect(waiting.page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    waiting.press("Sign out")
    expect(waiting.page.get_by_role("link", name="Sign in")).to_be_visible()


def check_again_until(done: Locator) -> None:
    """Press the link again and again, as a person without scripts does."""
    again = done.page.get_by_role("link", name="Check again")
    for _ in range(200):
        expect(again.or_(done)).to_be_visible()
        if done.is_visible():
            return
        again.click()
    raise AssertionError("the return page does not turn")
