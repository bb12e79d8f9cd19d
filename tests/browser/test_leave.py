"""Leaving and coming back by keyboard alone: said before and after, and each step known once Stripe has it."""

from __future__ import annotations

from playwright.sync_api import expect
from sqlalchemy import select

from portal.billing.models import Subscription
from portal.core.database import db
from tests.browser.keyboard import press_enter_on, tab_to, type_into
from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive, Visitor


def test_cancel_with_a_reason_keep_the_plan_after_all_pause_it_and_let_it_go_on(
    arrive: Arrive, stack: RunningStack
) -> None:
    person = newcomer(stack, "Leaving Lavender")
    someone = arrive(person)
    someone.choose("Business", person.team_id)
    someone.pay()
    someone.wait_until_on("Business")
    someone.open_overview(person.team_id)

    cancel(someone)
    expect(someone.card("Plan")).to_contain_text("Ending")
    expect(someone.card("Plan")).to_contain_text("Until then everything stays as it is")
    press_enter_on(someone.card("Plan").get_by_role("button", name="Resume plan"))
    back_to_the_overview(someone, "Business goes on")
    expect(someone.card("Plan")).to_contain_text("Active")

    press_enter_on(someone.card("Plan").get_by_role("link", name="Pause plan"))
    expect(someone.page.get_by_role("main")).to_contain_text("is not given back")
    press_enter_on(someone.page.get_by_role("button", name="Pause plan"))
    back_to_the_overview(someone, "Business is paused")
    expect(someone.card("Credits")).to_contain_text("Frozen")
    press_enter_on(someone.card("Plan").get_by_role("button", name="Let the plan go on"))
    back_to_the_overview(someone, "Business goes on")
    expect(someone.card("Plan")).to_contain_text("Active")
    expect(someone.card("Recent invoices").get_by_role("row")).to_have_count(2)  # its head, and what was paid at first


def cancel(someone: Visitor) -> None:
    """Two steps from the plan's card: its link, and the button of the page that it leads to."""
    page = someone.page
    press_enter_on(someone.card("Plan").get_by_role("link", name="Cancel plan"))
    expect(page.get_by_role("heading", name="Cancel Business", level=1)).to_be_visible()
    expect(someone.card("What happens")).to_contain_text("Nothing is deleted.")
    tab_to(page.get_by_label("Why, if you like to say"))
    page.keyboard.type("It costs")
    type_into(page.get_by_label("Anything else"), "We will be back in spring.")
    press_enter_on(page.get_by_role("button", name="Cancel plan"))
    expect(page.get_by_role("main")).to_contain_text("Nothing is deleted.")
    expect(page.get_by_role("heading", name="Business ends on")).to_be_visible()
    assert _mirrored(someone) == ("too_expensive", "We will be back in spring.")
    back_to_the_overview(someone, "Business ends on")


def _mirrored(someone: Visitor) -> tuple[str | None, str | None]:
    with someone.stack.portal.app_context():
        query = select(Subscription.cancel_feedback, Subscription.cancel_comment)
        row = db.session.execute(query.where(Subscription.team_id == someone.team_id)).one()
        db.session.remove()
    return row.cancel_feedback, row.cancel_comment


def back_to_the_overview(someone: Visitor, heading: str) -> None:
    expect(someone.page.get_by_role("heading", name=heading)).to_be_visible()
    press_enter_on(someone.page.get_by_role("link", name="Go to the overview"))
    expect(someone.page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
