"""What stands at the edge of every page: the appearance, the team switcher, the way out."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import newcomer
from tests.browser.running import RunningStack
from tests.browser.visitor import Arrive


def test_the_appearance_is_kept_and_shown(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Day and Night")
    someone = arrive(person, color_scheme="light")
    page = someone.page
    someone.open_overview(person.team_id)
    expect(page.get_by_role("button", name="System")).to_have_attribute("aria-pressed", "true")
    assert not is_dark(page)

    for words, dark in (("Dark", True), ("Light", False)):
        someone.press(words)
        expect(page.get_by_role("button", name=words)).to_have_attribute("aria-pressed", "true")
        page.emulate_media(color_scheme="light" if dark else "dark")
        assert is_dark(page) is dark
        someone.go("/pricing")
        assert is_dark(page) is dark, "the choice goes along to other pages"
        someone.open_overview(person.team_id)

    someone.press("System")
    expect(page.get_by_role("button", name="System")).to_have_attribute("aria-pressed", "true")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert is_dark(page) is (scheme == "dark")


def test_the_switcher_leads_to_every_team(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Twin Towers", teams=2)
    someone = arrive(person)
    page = someone.page
    someone.go("/teams")
    page.get_by_role("main").get_by_role("link", name="Twin Towers Free", exact=True).click()
    assert someone.team_id == person.team_id

    navigation = page.get_by_role("navigation", name="Main")
    navigation.get_by_text("Twin Towers").first.click()
    for name in ("Twin Towers", "Twin Towers 2"):
        expect(navigation.get_by_role("link", name=f"{name} Free").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(navigation.get_by_role("link", name="Twin Towers 2")).to_be_hidden()
    navigation.get_by_text("Twin Towers").first.click()
    navigation.get_by_role("link", name="Twin Towers 2").click()
    expect(page.get_by_role("main")).to_contain_text("Twin Towers 2")
    assert someone.team_id != person.team_id


def test_after_signing_out_back_shows_nothing_private(arrive: Arrive, stack: RunningStack) -> None:
    person = newcomer(stack, "Secret Garden")
    someone = arrive(person)
    page = someone.page
    someone.open_overview(person.team_id)
    someone.press("Sign out")
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in to billing")).to_be_visible()
    assert "Secret Garden" not in page.content()
    someone.go(f"/teams/{person.team_id}/billing")
    assert someone.path == "/login"


def is_dark(page: Page) -> bool:
    """Whether the page's ground is darker than its words."""
    ground, words = page.evaluate(
        """() => {
            const lightness = (colour) => {
                const dot = document.createElement("canvas").getContext("2d");
                dot.fillStyle = colour;
                dot.fillRect(0, 0, 1, 1);
                const [red, green, blue] = dot.getImageData(0, 0, 1, 1).data;
                return (red + green + blue) / 765;
            };
            const style = getComputedStyle(document.body);
            return [lightness(style.backgroundColor), lightness(style.color)];
        }"""
    )
    assert ground != pytest.approx(words)
    return bool(ground < words)
