"""Getting in when something went wrong: a wrong password, a forgotten one, a lost confirmation."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive

OLD, NEW = "a sentence is better", "another sentence is as good"
WRONG_PAIR = "E-mail and password do not match, or the address is not confirmed yet."


def test_a_wrong_password_says_so_and_a_new_one_is_set_by_mail(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Forgetful Friends", password=OLD)
    someone = arrive()
    page = someone.page
    someone.go("/login")
    someone.fill_in_sign_in(person.email, "not the one")
    expect(page.get_by_text(WRONG_PAIR)).to_have_count(1)
    expect(page.get_by_label("E-mail")).to_have_value(person.email)

    page.get_by_role("link", name="Forgot it?").click()
    page.get_by_label("E-mail of your account").fill(person.email)
    someone.press("Send the link")
    expect(page.get_by_role("status")).to_be_visible()
    someone.open_mail(person.email, "Choose a new password")
    someone.follow_link_in_mail()
    first, again = page.get_by_label("New password", exact=True), page.get_by_label("New password again")
    first.fill("short")
    again.fill("short")
    someone.press("Save the password")
    expect(first).to_have_attribute("aria-invalid", "true")
    expect(first).to_be_focused()
    first.fill(NEW)
    again.fill(NEW)
    someone.press("Save the password")
    page.wait_for_url("**/login")

    someone.fill_in_sign_in(person.email, OLD)
    expect(page.get_by_text(WRONG_PAIR)).to_be_visible()
    someone.fill_in_sign_in(person.email, NEW)
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def test_a_lost_confirmation_is_sent_again(arrive: Arrive) -> None:
    someone = arrive()
    page = someone.page
    someone.go("/signup")
    someone.sign_up("lost@example.com", OLD, "Lost and Found")
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    someone.go("/login")
    someone.fill_in_sign_in("lost@example.com", OLD)
    expect(page.get_by_text(WRONG_PAIR)).to_be_visible()

    page.get_by_role("link", name="Send it again").click()
    page.get_by_label("E-mail of your account").fill("lost@example.com")
    someone.press("Send the link")
    expect(page.get_by_role("status")).to_be_visible()
    someone.go("/dev/mail")
    expect(page.get_by_role("row").filter(has_text="lost@example.com")).to_have_count(2)
    someone.confirm_address("lost@example.com", OLD)
    someone.fill_in_sign_in("lost@example.com", OLD)
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def test_a_form_that_is_not_filled_in_says_which_field(arrive: Arrive) -> None:
    someone = arrive()
    page = someone.page
    someone.go("/signup")
    page.locator("form").evaluate("form => { form.noValidate = true; }")
    someone.sign_up("no address", "short", "")
    for label in ("E-mail", "Password", "Team name"):
        expect(page.get_by_label(label)).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label(label)).to_have_accessible_description(re.compile(r"\S"))
    expect(page.get_by_label("E-mail")).to_be_focused()
