"""The stand-in's control panel, page by page, on what the demo team's purchases have left there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.browser.visitor import Visitor

Play = Callable[[Visitor, Any], None]
# Meets nothing that there is, so that nobody's calls are broken by looking at it.
NOWHERE = "POST /v1/nothing"


def panel(path: str, *links: str) -> Play:
    """A page of the panel; from `path` on, the first link of each of these names is followed."""

    def play(someone: Visitor, _company: Any) -> None:
        someone.page.goto(someone.stack.sandbox_url + path)
        for name in links:
            someone.page.get_by_role("link", name=name).first.click()
        someone.page.get_by_role("heading", level=1).wait_for()

    return play


def chaos(someone: Visitor, _company: Any) -> None:
    """The switches, with a rule of each kind."""
    page = someone.page
    page.goto(someone.stack.sandbox_url + "/chaos")
    if page.get_by_text(NOWHERE).count() == 0:
        add_rule(someone, "It is done, and the connection ends without an answer", NOWHERE)
        add_rule(someone, "Sent again after it was taken", "nothing.happened")


def add_rule(someone: Visitor, what: str, match: str) -> None:
    page = someone.page
    page.get_by_label("What happens").select_option(label=what)
    page.get_by_label("To which").fill(match)
    someone.press("Add rule")
    page.get_by_text("It is set.").wait_for()
