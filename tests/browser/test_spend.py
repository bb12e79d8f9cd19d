"""A trial's credits, spent through the API with a key made on the page, until there are none."""

from __future__ import annotations

from collections.abc import Callable

import requests
from playwright.sync_api import expect

from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive, Visitor

COST_CREDITS = 5  # of one campaign


def test_a_trial_is_spent_until_402(arrive: Arrive, stack: RunningStack) -> None:
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

    someone.open_overview(person.team_id)
    expect(someone.card("Credits")).to_contain_text("0 available")
    page.goto(error["buy_url"])
    expect(page.get_by_role("heading", name="Pick the plan that fits the team")).to_be_visible()
    expect(page.get_by_role("navigation", name="Account")).to_contain_text("Trial Tailors")


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
