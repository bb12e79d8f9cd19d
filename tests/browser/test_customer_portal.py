"""The card changed, the plan canceled and resumed in the hosted customer portal, each shown here once it is true."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.open_portal import open_portal
from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import CVC, EXPIRY, Arrive, Visitor

MASTERCARD = "5555555555554444"


def test_card_changed_plan_canceled_and_resumed(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Portal Pottery")
    someone = arrive(person)
    someone.choose("Business", person.team_id)
    someone.pay()
    someone.wait_until_on("Business")
    someone.open_overview(person.team_id)

    change_the_card(someone)
    expect(someone.card("Billing details")).to_contain_text("Mastercard ending in 4444")

    cancel(someone)
    expect(someone.card("Plan")).to_contain_text("Ending")
    expect(someone.card("Plan")).to_contain_text("Until then everything stays as it is")
    expect(someone.card("Credits")).to_contain_text("20,000 available")
    expect(someone.card("Plan").get_by_role("link", name="Cancel plan")).to_have_count(0)

    resume(someone)
    expect(someone.card("Plan")).to_contain_text("Active")
    expect(someone.card("Plan").get_by_role("link", name="Cancel plan")).to_be_visible()
    expect(someone.page.locator("#back-from-stripe")).to_have_count(0)


def change_the_card(someone: Visitor) -> None:
    page = someone.page
    someone.card("Billing details").get_by_role("button", name="Update card").click()
    expect(page.get_by_role("heading", name="Change your card")).to_be_visible()
    page.get_by_label("Card number").fill(MASTERCARD)
    page.get_by_label("Expiry").fill(EXPIRY)
    page.get_by_label("Security code").fill(CVC)
    page.get_by_label("Name on card").fill("Robin Payer")
    someone.press("Save card")
    expect(page.get_by_role("heading", name="The card was changed")).to_be_visible()
    page.get_by_role("link", name="Go to the overview").click()


def cancel(someone: Visitor) -> None:
    """By the way that the API opens, too: our own page cancels by itself."""
    page = someone.page
    someone.send(f"/teams/{someone.team_id}/portal", {"flow": "subscription_cancel"})
    expect(page.get_by_role("heading", name="Cancel your plan")).to_be_visible()
    page.get_by_label("It costs too much").check()
    someone.press("Cancel plan")
    expect(page.get_by_role("heading", name="Business ends on")).to_be_visible()
    page.get_by_role("link", name="Go to the overview").click()


def resume(someone: Visitor) -> None:
    """The whole portal opens; the overview that one comes back to turns by itself."""
    page = someone.page
    someone.card("Plan").get_by_role("button", name="Manage at Stripe").click()
    someone.press("Don't cancel")
    expect(page.get_by_role("status")).to_contain_text("Your plan goes on as before.")
    page.get_by_role("link", name="Go back to your account").click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def test_plan_changed_paused_and_resumed_where_that_is_offered(arrive: Arrive) -> None:
    """In a portal with everything switched on: what is shown is charged, and nothing goes on without being asked."""
    portal, someone = open_portal(), arrive()
    someone.page.goto(portal.page())
    shown = change_the_plan(someone)
    assert shown == portal.latest_total()
    pause_the_plan(someone)
    resume_the_plan(someone)
    assert portal.sandbox.subscription(portal.subscription)["status"] == "active"


def change_the_plan(someone: Visitor) -> str:
    """Returns the sum on the button that was pressed."""
    page = someone.page
    page.get_by_role("link", name="Change plan").click()
    page.get_by_label("Team").check()
    someone.press("See what it costs")
    expect(page.get_by_role("heading", name="To 2 \u00d7 Team, $198.00 / month")).to_be_visible()
    button = page.get_by_role("button", name="Confirm and pay")
    shown = button.inner_text().removeprefix("Confirm and pay ")
    button.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Your plan is changed.")
    expect(someone.card("Plan")).to_contain_text("$198.00 / month")
    return shown


def pause_the_plan(someone: Visitor) -> None:
    page = someone.page
    page.get_by_role("link", name="Pause plan").click()
    someone.press("Pause plan")
    expect(page.get_by_role("status")).to_contain_text("Your plan is paused.")
    expect(someone.card("Plan")).to_contain_text("It goes on by itself on")


def resume_the_plan(someone: Visitor) -> None:
    page = someone.page
    page.get_by_role("link", name="Resume plan").click()
    expect(page.get_by_text("Due today")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_have_text("Your plan goes on.")
    expect(someone.card("Plan")).to_contain_text("Active")
