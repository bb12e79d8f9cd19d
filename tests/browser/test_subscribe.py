"""Buying a plan in the browser, from signing up to the overview that shows it."""

from __future__ import annotations

import requests
from playwright.sync_api import expect
from sqlalchemy import func, select

from portal.billing.models import Customer, Invoice, PaymentMethod, Subscription
from portal.core.database import db
from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive, Visitor
from tests.stage import DECLINED


def test_sign_up_and_subscribe_to_business(arrive: Arrive) -> None:
    someone = arrive()
    page = someone.page
    someone.go("/pricing")
    page.get_by_role("link", name="Create account").click()
    someone.sign_up("robin@example.com", "a sentence is better", "Business Bakery")
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()

    someone.confirm_address("robin@example.com", "a sentence is better")
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


def test_a_declined_card_leaves_nothing_behind(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Declined Deli")
    someone = arrive(person)
    page = someone.page
    someone.choose("Business", person.team_id)
    someone.pay(DECLINED)
    expect(page.get_by_role("alert")).to_contain_text("Your card was declined.")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was charged.")

    page.get_by_role("link", name="Cancel and go back").click()
    expect(page.get_by_role("heading", name="The checkout was canceled")).to_be_visible()
    expect(page.get_by_text("Nothing was charged and nothing has changed.")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Go to the overview").click()

    expect(someone.card("Plan")).to_contain_text("Free")
    expect(someone.card("Credits")).to_contain_text("100 available")
    expect(someone.card("Recent invoices")).to_contain_text("No invoices yet")
    assert rows_of(stack, person.team_id) == {"subscriptions": 0, "invoices": 0, "payment methods": 0}
    assert at_stripe(stack, person.team_id) == {"subscriptions": 0, "invoices": 0}


def test_a_second_subscription_is_refused_in_words(arrive: Arrive, stack: RunningStack) -> None:
    """The page still offers the plan in a tab that was open before the team had one."""
    person = newcomer(stack, "Second Thoughts")
    someone = arrive(person)
    late = Visitor(stack, someone.page.context.new_page())
    late.go(f"/pricing?team={person.team_id}")

    someone.choose("Pro", person.team_id)
    someone.pay()
    someone.wait_until_on("Pro")
    late.plan_button("Business").click()
    expect(late.page.get_by_role("heading", name="The checkout did not start")).to_be_visible()
    expect(late.page.get_by_role("region", name="The team already has a plan")).to_contain_text(
        "Nothing was charged and nothing has changed."
    )

    late.go(f"/pricing?team={person.team_id}")
    expect(late.plan_button("Pro")).to_have_text("Your plan")
    expect(late.plan_button("Business")).to_have_text("Upgrade to Business")


def rows_of(stack: RunningStack, team_id: str) -> dict[str, int]:
    """How much of a purchase stands in our database."""
    queries = {
        "subscriptions": select(func.count(Subscription.id)).where(Subscription.team_id == team_id),
        "invoices": select(func.count(Invoice.id)).where(Invoice.team_id == team_id),
        "payment methods": select(func.count(PaymentMethod.id)).where(PaymentMethod.team_id == team_id),
    }
    with stack.portal.app_context():
        return {name: db.session.execute(query).scalar_one() for name, query in queries.items()}


def at_stripe(stack: RunningStack, team_id: str) -> dict[str, int]:
    """How much of a purchase stands at the stand-in."""
    customer, key = customer_of(stack, team_id), stack.settings["STRIPE_SECRET_KEY"]
    found: dict[str, int] = {}
    for name in ("subscriptions", "invoices"):
        address = f"{stack.sandbox_url}/v1/{name}?customer={customer}&limit=100"
        answer = requests.get(address, auth=(key, ""), timeout=20)
        answer.raise_for_status()
        found[name] = len(answer.json()["data"])
    return found


def customer_of(stack: RunningStack, team_id: str) -> str:
    with stack.portal.app_context():
        found = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == team_id)).scalar_one()
    assert found is not None
    return found
