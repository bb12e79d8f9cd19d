"""Going through a page without a mouse."""

from __future__ import annotations

from playwright.sync_api import Locator

STEPS_MAX = 60


def type_into(field: Locator, text: str) -> None:
    tab_to(field)
    field.page.keyboard.type(text)


def press_enter_on(goal: Locator) -> None:
    tab_to(goal)
    goal.page.keyboard.press("Enter")


def tab_to(goal: Locator) -> None:
    """Press Tab until the focus is there; where it never comes, a keyboard cannot go."""
    for _ in range(STEPS_MAX):
        if goal.evaluate("element => element === document.activeElement"):
            return
        goal.page.keyboard.press("Tab")
    raise AssertionError(f"{goal} is not reached by {STEPS_MAX} tabs")
