"""What a person does with their own account: another address, codes at sign-in, an end to every session."""

from __future__ import annotations

import re
import time

from passlib.totp import TOTP
from playwright.sync_api import Page, expect

from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive

PASSWORD = "a sentence is better"


def code_of(key: str, half_minutes: int = 0) -> str:
    return str(TOTP(key.replace("-", "")).generate(time.time() + 30 * half_minutes).token)


def open_security(page: Page, base_url: str) -> None:
    page.goto(f"{base_url}/account/security")
    expect(page.get_by_role("heading", name="Security", level=1)).to_be_visible()


def test_another_address_is_proven_by_its_mail(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Moving House", password=PASSWORD)
    someone = arrive()
    page = someone.page
    someone.sign_in(person.email, PASSWORD)
    open_security(page, stack.base_url)
    page.get_by_role("link", name="Change the e-mail").click()
    page.get_by_label("New e-mail").fill("moved@elsewhere.example")
    someone.press("Send the link")
    expect(page.get_by_text("a link is on its way")).to_be_visible()

    someone.open_mail("moved@elsewhere.example", "Confirm your new address")
    someone.follow_link_in_mail()
    expect(page.get_by_text("moved@elsewhere.example")).to_be_visible()
    someone.press("Use this address")
    expect(page.get_by_role("heading", name="Security", level=1)).to_be_visible()
    expect(page.get_by_role("region", name="Signing in")).to_contain_text("moved@elsewhere.example")
    someone.open_mail(person.email, "The address of your account")

    again = arrive()
    again.sign_in("moved@elsewhere.example", PASSWORD)


def test_codes_are_turned_on_and_let_in_and_a_recovery_code_does_too(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Two Locks", password=PASSWORD)
    someone = arrive()
    page = someone.page
    someone.sign_in(person.email, PASSWORD)
    open_security(page, stack.base_url)
    page.get_by_role("link", name="Turn on codes at sign-in").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    key = page.locator("code").first.inner_text()
    page.get_by_label("Code").fill(code_of(key, -1))
    someone.press("Turn codes on")
    codes = page.locator("#recovery-codes").inner_text().split()
    assert len(codes) == 10
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_role("region", name="Signing in")).to_contain_text("10 recovery codes left")

    with_app = arrive()
    with_app.go("/login")
    with_app.fill_in_sign_in(person.email, PASSWORD)
    with_app.page.get_by_label("Code").fill("000000")
    with_app.press("Sign in")
    expect(with_app.page.get_by_text("This code is wrong")).to_be_visible()
    with_app.page.get_by_label("Code").fill(code_of(key))
    with_app.press("Sign in")
    expect(with_app.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()

    without_phone = arrive()
    without_phone.go("/login")
    without_phone.fill_in_sign_in(person.email, PASSWORD)
    without_phone.page.get_by_role("link", name="Use a recovery code").click()
    without_phone.page.get_by_label("Recovery code").fill(codes[0])
    without_phone.press("Sign in")
    expect(without_phone.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    open_security(page, stack.base_url)
    expect(page.get_by_role("region", name="Signing in")).to_contain_text("9 recovery codes left")


def test_signing_out_everywhere_is_felt_by_the_other_browser(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Left Behind", password=PASSWORD)
    here, there = arrive(), arrive()
    for someone in (here, there):
        someone.sign_in(person.email, PASSWORD)
    open_security(here.page, stack.base_url)
    sessions = here.page.get_by_role("region", name="Where you are signed in")
    expect(sessions.get_by_text("This device")).to_have_count(1)
    here.press("Sign out everywhere else")
    expect(here.page.get_by_text("You are signed out everywhere else")).to_be_visible()
    expect(sessions.get_by_role("row")).to_have_count(2)

    there.go(f"/teams/{person.team_id}/billing")
    expect(there.page).to_have_url(re.compile(r"/login\?next="))
    here.go(f"/teams/{person.team_id}/billing")
    expect(here.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
