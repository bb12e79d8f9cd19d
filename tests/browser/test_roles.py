"""Who may look and who may buy, as their pages and buttons tell them."""

from __future__ import annotations

from playwright.sync_api import expect

from portal.catalog.pricing_page import ONLY_BUYERS
from portal.core.authz import Role
from tests.browser.people import DEMO_TEAM, Household, colleague, newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive


def test_a_member_may_look_but_not_buy(arrive: Arrive, stack: RunningStack) -> None:
    team_id = newcomer(stack, "Lookers").team_id
    someone = arrive(colleague(stack, team_id, Role.MEMBER))
    page = someone.page
    someone.open_overview(team_id)
    expect(someone.card("Credits")).to_contain_text("100 available")
    expect(someone.card("Plan")).to_contain_text("Owners, admins and billing contacts can choose a plan.")
    expect(page.get_by_role("link", name="Choose a plan")).to_have_count(0)

    someone.go(f"/pricing?team={team_id}")
    for plan in ("Starter", "Pro", "Business"):
        expect(someone.plan_button(plan)).to_be_disabled()
        expect(someone.plan_button(plan)).to_have_accessible_description(ONLY_BUYERS)
    order: dict[str, str | float | bool] = {"plan": "pro", "interval": "month", "csrf_token": someone.csrf_token()}
    assert page.request.post(f"{stack.base_url}/teams/{team_id}/checkout", form=order).status == 403

    someone.go(f"/teams/{team_id}/api-keys")
    expect(someone.card("Keys")).to_contain_text("Owners and admins can create and revoke keys.")
    expect(page.get_by_role("button", name="Create key")).to_have_count(0)


def test_a_billing_contact_may_buy(arrive: Arrive, stack: RunningStack) -> None:
    team_id = newcomer(stack, "Payers").team_id
    someone = arrive(colleague(stack, team_id, Role.BILLING))
    someone.choose("Starter", team_id)
    someone.pay()
    someone.wait_until_on("Starter")
    expect(someone.page.get_by_role("link", name="API keys")).to_have_count(0)


def test_for_an_outsider_the_team_does_not_exist(arrive: Arrive, household: Household) -> None:
    someone = arrive(household.outsider)
    team = f"/teams/{household.team_id}"
    for path in (
        f"{team}/billing",
        f"{team}/api-keys",
        f"{team}/checkout/chk_{'0' * 26}",
        f"/pricing?team={household.team_id}",
    ):
        assert someone.go(path).status == 404, path
        expect(someone.page.get_by_role("heading", level=1)).to_have_text("This page does not exist")
        assert DEMO_TEAM not in someone.page.content()


def test_a_stranger_is_sent_to_sign_in_and_back(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Way Back", password="a sentence is better")
    someone = arrive()
    someone.go(f"/teams/{person.team_id}/api-keys")
    assert someone.path == "/login"
    someone.fill_in_sign_in(person.email, "a sentence is better")
    expect(someone.page.get_by_role("heading", name="API keys", level=1)).to_be_visible()
