"""A trial's credits, spent through the API with a key made on the page, until there are none."""

from __future__ import annotations

from collections.abc import Callable

import requests
from playwright.sync_api import expect

from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive, Visitor

INSUFFICIENT_FUNDS = "4000000000009995"
COST_CREDITS = 5  # of one campaign


def test_a_trial_is_spent_until_402_and_goes_on_with_a_bundle(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Trial Tailors")
    someone = arrive(person)
    page = someone.page
    someone.choose("Pro", person.team_id)
    expect(page.get_by_role("main")).to_contain_text("14 days free")
    someone.pay()
    someone.wait_until_on("Pro")
    expect(page.get_by_role("main")).to_contain_text("your trial runs until")
    someone.open_overview(person.team_id)
    expect(someone.card("Plan")).to_contain_text("Trial")
    expect(someone.card("Credits")).to_contain_text("5,000 available")

    report = reporter(stack, make_key(someone, person.team_id))
    for number in range(5):
        answer = report(f"batch-{number}", 200)
        assert (answer.status_code, answer.json()["balance"]) == (200, 5_000 - (number + 1) * 200 * COST_CREDITS)
    again = report("batch-4", 200)
    assert (again.status_code, again.json()["balance"], again.headers["Idempotent-Replayed"]) == (200, 0, "true")
    refused = report("one-more", 1)
    assert refused.status_code == 402
    error = refused.json()["error"]
    assert (error["balance"], error["cost"]) == (0, COST_CREDITS)

    page.goto(error["buy_url"])
    expect(page.get_by_role("heading", name="Credits", level=1)).to_be_visible()
    expect(someone.card("Balance")).to_contain_text("0 available")
    someone.card("Buy credits").get_by_text("1,000", exact=True).click()
    someone.press("Buy 1,000 for $18.00 USD")
    someone.pay(INSUFFICIENT_FUNDS)
    expect(page.get_by_role("alert")).to_contain_text("insufficient funds")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was charged.")
    assert report("one-more", 1).status_code == 402
    someone.pay()
    expect(page.get_by_role("heading", name="1,000 credits are yours now")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("$18.00 USD")

    answer = report("one-more", 1)
    assert (answer.status_code, answer.json()["balance"]) == (200, 1_000 - COST_CREDITS)
    page.get_by_role("link", name="Go to the credits").click()
    expect(someone.card("Balance")).to_contain_text("995 available")
    first = someone.card("History").get_by_role("row").nth(1)
    expect(first).to_contain_text("one-more")
    expect(first).to_contain_text("995")


def test_without_scripts_a_bundle_is_bought_too(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Script Free Soaps")
    with_scripts = arrive(person)
    with_scripts.choose("Business", person.team_id)
    with_scripts.pay()
    with_scripts.wait_until_on("Business")
    someone = arrive(person, java_script_enabled=False)
    someone.go(f"/teams/{person.team_id}/credits")
    someone.press("Buy credits")
    someone.pay()
    for _ in range(30):
        someone.page.get_by_role("link", name="Check again").or_(someone.page.get_by_text("yours now")).wait_for()
        if someone.page.get_by_text("yours now").count():
            break
        someone.page.wait_for_timeout(500)
        someone.page.reload()
    expect(someone.page.get_by_role("heading", name="500 credits are yours now")).to_be_visible()


def test_after_canceling_one_button_leads_back_to_the_same_page(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Twice Is Nice")
    someone = arrive(person)
    page = someone.page
    someone.choose("Business", person.team_id)
    someone.pay()
    someone.wait_until_on("Business")
    someone.go(f"/teams/{person.team_id}/credits")
    someone.press("Buy 500 for $10.00 USD")
    page.wait_for_url(f"{stack.sandbox_url}/**")
    first = page.url
    page.get_by_role("link", name="Cancel and go back").click()
    expect(page.get_by_role("heading", name="The checkout was canceled")).to_be_visible()
    someone.press("Try again: 500 credits")
    page.wait_for_url(f"{stack.sandbox_url}/**")
    assert page.url == first


def test_a_revoked_key_opens_nothing(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Locksmiths")
    someone = arrive(person)
    page = someone.page
    report = reporter(stack, make_key(someone, person.team_id))
    assert report("before", 1).status_code == 200

    keys = someone.card("Keys")
    keys.get_by_text("Revoke", exact=False).first.click()
    someone.press("Revoke the key")
    expect(page.get_by_role("status").filter(has_text="is revoked")).to_be_visible()
    expect(keys).to_contain_text("Revoked")
    assert report("after", 1).status_code == 401


def make_key(someone: Visitor, team_id: str) -> str:
    """Make a key on the page; its secret is shown once and gone after a reload."""
    page = someone.page
    someone.go(f"/teams/{team_id}/api-keys")
    page.get_by_label("Name").fill("Production backend")
    someone.press("Create key")
    shown = page.get_by_role("region", name="Copy the key “Production backend” now")
    expect(shown).to_be_visible()
    expect(shown.get_by_role("heading")).to_be_focused()
    secret = shown.locator("code").inner_text()
    assert secret.startswith("tp_test_")

    page.reload()
    expect(someone.card("Keys")).to_contain_text("Production backend")
    assert secret not in page.content()
    return secret


def reporter(stack: RunningStack, key: str) -> Callable[[str, int], requests.Response]:
    """Reports campaigns as a customer's backend does: idempotency key, quantity."""

    def report(idempotency_key: str, quantity: int) -> requests.Response:
        return requests.post(
            f"{stack.base_url}/api/v1/usage",
            json={"meter": "generate_campaign", "quantity": quantity},
            headers={"Authorization": f"Bearer {key}", "Idempotency-Key": idempotency_key},
            timeout=20,
        )

    return report
