"""Stripe's customer portal as the stand-in serves it, in the steps that a customer sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.browser.people import Person
from tests.browser.visitor import Visitor

Play = Callable[[Visitor, Any], None]


def portal_page(person: Callable[[Any], Person], heading: str, flow: str = "") -> Play:
    """The portal where it opens: at home, or at the step that one of our buttons leads to."""

    def play(someone: Visitor, company: Any) -> None:
        _open(someone, person(company).team_id, flow)
        someone.page.get_by_role("heading", name=heading).first.wait_for()

    return play


def no_such_card(person: Callable[[Any], Person]) -> Play:
    """The form for a card, sent off with a number that is none."""

    def play(someone: Visitor, company: Any) -> None:
        _open(someone, person(company).team_id, "payment_method_update")
        page = someone.page
        page.get_by_label("Card number").fill("4242424242424241")
        page.get_by_label("Expiry").fill("12 / 34")
        page.get_by_label("Security code").fill("123")
        page.get_by_label("Name on card").fill("Robin Payer")
        someone.press("Save card")
        page.get_by_role("alert").first.wait_for()

    return play


def _open(someone: Visitor, team_id: str, flow: str) -> None:
    someone.open_overview(team_id)
    someone.send(f"/teams/{team_id}/portal", {"flow": flow})
    someone.page.wait_for_url(f"{someone.stack.sandbox_url}/**")
