"""Credits that buy themselves, by the pages: turned on, bought, stopped by a dead card, and turned on again."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.people import Person, newcomer
from tests.browser.running import RunningStack
from tests.browser.test_spend import make_key, reporter
from tests.browser.visitor import CVC, EXPIRY, Arrive, Visitor
from tests.stage import VISA
from tests.worker_process import until

SAVED_BUT_DEAD = "4000000000000341"


def test_credits_buy_themselves_until_the_card_is_dead_and_again_with_another_one(
    arrive: Arrive, stack: RunningStack
) -> None:
    person = newcomer(stack, "Self Service Sails")
    someone = arrive(person)
    page = someone.page
    someone.choose("Business", person.team_id)
    someone.pay()
    someone.wait_until_on("Business")

    someone.go(f"/teams/{person.team_id}/credits")
    someone.card("Auto-purchase").get_by_role("link", name="Settings and purchases").click()
    page.get_by_label("When fewer are left than").fill("500")
    page.get_by_label("Buy", exact=True).select_option(label="1,000 credits for $18.00 USD")
    page.get_by_label("Money a day").fill("100")
    page.get_by_label("Money a calendar month").fill("500")
    someone.press("Turn on auto-purchase")
    expect(page.get_by_text("Tick this to turn auto-purchase on.")).to_be_visible()
    page.get_by_label("I allow Fernway").check()
    someone.press("Turn on auto-purchase")
    expect(someone.card("As it stands")).to_contain_text("On")
    expect(someone.card("As it stands")).to_contain_text("Visa ending in 4242")

    report = reporter(stack, make_key(someone, person.team_id))
    assert report("most", 3_920).json()["balance"] == 400
    wait_for(someone, person, "Automatic purchases", "Bought")
    expect(someone.card("As it stands")).to_contain_text("$18.00 USD of")
    someone.go(f"/teams/{person.team_id}/credits")
    expect(someone.card("Balance")).to_contain_text("1,400 available")
    expect(someone.card("History")).to_contain_text("Auto-purchase of 1,000")

    someone.open_overview(person.team_id)
    change_card(someone, SAVED_BUT_DEAD)
    wait_for(someone, person, "As it stands", "ending in 0341")
    assert report("some", 200).json()["balance"] == 400
    wait_for(someone, person, "Automatic purchases", "Failed")
    banner = page.get_by_role("region", name="Auto-purchase has stopped")
    expect(banner).to_contain_text("Nothing was charged.")
    assert report("too-much", 1_000).status_code == 402
    banner.get_by_role("button", name="Update card").click()
    change_card(someone, VISA, opened=True)
    wait_for(someone, person, "As it stands", "ending in 4242")
    # The worker may have seen the new card by now, and then gives it an hour unless it is told otherwise.
    page.get_by_role("button", name=re.compile("^(Turn on again|Buy now)$")).click()
    wait_for(someone, person, "As it stands", "2 of")
    expect(page.get_by_role("region", name="Auto-purchase has stopped")).to_have_count(0)
    wait_for(someone, person, "Balance", "1,400 available", page="credits")


def change_card(someone: Visitor, card: str, *, opened: bool = False) -> None:
    """On Stripe's page, which a button of ours leads to."""
    page = someone.page
    if not opened:
        page.get_by_role("button", name="Update card").first.click()
    page.get_by_label("Card number").fill(card)
    page.get_by_label("Expiry").fill(EXPIRY)
    page.get_by_label("Security code").fill(CVC)
    page.get_by_label("Name on card").fill("Robin Field")
    someone.press("Save card")
    expect(page.get_by_role("heading", name="The card was changed")).to_be_visible()


def wait_for(someone: Visitor, person: Person, card: str, words: str, page: str = "credits/auto-purchase") -> None:
    """Look at the page until the worker has done it."""

    def is_there() -> bool:
        someone.go(f"/teams/{person.team_id}/{page}")
        return words in someone.card(card).inner_text()

    with someone.stack.portal.app_context():
        until(is_there, words)
