"""From an invitation to a colleague and back to nobody, by keyboard alone."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.keyboard import press_enter_on, tab_to, type_into
from tests.browser.people import DEMO_TEAM, Household
from tests.browser.visitor import Arrive

GUEST, PASSWORD = "fresh.hire@harbor.example", "a sentence is better"


def test_somebody_without_an_account_is_invited_joins_is_changed_and_removed(
    arrive: Arrive, household: Household
) -> None:
    owner, guest = arrive(household.owner), arrive()
    members = f"/teams/{household.team_id}/members"

    owner.go(members)
    type_into(owner.page.get_by_label("E-mail"), GUEST)
    tab_to(owner.page.get_by_role("combobox", name="Role"))
    owner.page.keyboard.press("ArrowDown")
    press_enter_on(owner.page.get_by_role("button", name="Send invitation"))
    expect(owner.card("Invitations").get_by_role("row", name=GUEST)).to_contain_text("Billing")
    expect(owner.page.get_by_role("status")).to_contain_text(f"An invitation is on its way to {GUEST}")
    expect(owner.card("Seats")).to_contain_text("kept by invitations")

    guest.open_mail(GUEST, f"Owner invites you to {DEMO_TEAM}")
    press_enter_on(guest.page.get_by_role("region", name="Links").get_by_role("link").first)
    press_enter_on(guest.page.get_by_role("link", name="Create an account to join"))
    expect(guest.page.get_by_label("E-mail")).to_have_value(GUEST)
    type_into(guest.page.get_by_label("Password"), PASSWORD)
    guest.page.keyboard.press("Enter")
    expect(guest.page.get_by_role("heading", name="Look into your mail")).to_be_visible()

    guest.open_mail(GUEST, "Confirm your address")
    press_enter_on(guest.page.get_by_role("region", name="Links").get_by_role("link").first)
    type_into(guest.page.get_by_label("Password"), PASSWORD)
    guest.page.keyboard.press("Enter")
    type_into(guest.page.get_by_label("E-mail"), GUEST)
    type_into(guest.page.get_by_label("Password"), PASSWORD)
    guest.page.keyboard.press("Enter")
    press_enter_on(guest.card("You are invited").get_by_role("button", name=f"Join {DEMO_TEAM}"))
    expect(guest.card("In the team").get_by_role("row", name=GUEST)).to_contain_text("You")

    owner.go(members)
    press_enter_on(owner.page.get_by_role("link", name="Change fresh.hire"))
    tab_to(owner.page.get_by_role("combobox", name="Role"))
    owner.page.keyboard.press("ArrowDown")
    press_enter_on(owner.page.get_by_role("button", name="Change the role"))
    expect(owner.card("In the team").get_by_role("row", name=GUEST)).to_contain_text("Member")

    press_enter_on(owner.page.get_by_role("link", name="Change fresh.hire"))
    press_enter_on(owner.page.locator("summary", has_text="Remove"))
    press_enter_on(owner.page.get_by_role("button", name="Remove fresh.hire"))
    expect(owner.page.get_by_role("status")).to_contain_text("fresh.hire is out of the team")
    assert guest.go(members).status == 404
