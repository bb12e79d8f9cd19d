"""What canceling, pausing and going on look like, for a team that pays by the month. Each scene brings its state about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.notifications.messages import Message, plan_canceled, plan_paused, plan_resumed
from portal.notifications.outbox import put_mail
from tests.browser.people import Person
from tests.browser.visitor import Visitor

LINK = "https://billing.example.com/teams"
OUTCOME = [
    ("Money", "Nothing more is charged for the plan. It is paid for until 18 Dec 2026."),
    ("Features", "All of Business works until 18 Dec 2026. Then the team is on Free."),
    ("Data", "Nothing is deleted. Usage, invoices, members and settings stay where they are."),
]


class HasLeaver(Protocol):
    """Whom these pages are shown to."""

    @property
    def leaver(self) -> Person: ...


Play = Callable[[Visitor, HasLeaver], None]


def leaver(company: HasLeaver) -> Person:
    return company.leaver


def running(someone: Visitor, company: HasLeaver) -> str:
    """See to it that the team is on Business, which neither ends nor is paused; returns the team's id."""
    team_id = company.leaver.team_id
    someone.open_overview(team_id)
    if someone.page.get_by_role("link", name="Choose a plan").count():
        someone.choose("Business", team_id)
        someone.pay()
        someone.wait_until_on("Business")
    for button in ("Resume plan", "Let the plan go on"):
        if someone.page.get_by_role("button", name=button, exact=True).count():
            someone.press(button)
            someone.page.get_by_role("heading", name="Business goes on").wait_for()
    return team_id


def page(path: str) -> Play:
    def play(someone: Visitor, company: HasLeaver) -> None:
        someone.go(f"/teams/{running(someone, company)}/plan/{path}")

    return play


def cancel_wrong(someone: Visitor, company: HasLeaver) -> None:
    page("cancellation")(someone, company)
    someone.page.get_by_label("Anything else").fill("x" * 501)
    someone.press("Cancel plan")
    someone.page.locator("[aria-invalid]").wait_for()


def cancel_preview(someone: Visitor, company: HasLeaver) -> None:
    page("cancellation")(someone, company)
    someone.page.get_by_label("Now").check()
    someone.press("Cancel plan")
    someone.page.get_by_role("heading", name="End Business now").wait_for()


def canceled(someone: Visitor, company: HasLeaver) -> None:
    page("cancellation")(someone, company)
    someone.page.get_by_label("Why, if you like to say").select_option("too_expensive")
    someone.press("Cancel plan")
    someone.page.get_by_role("heading", name="Business ends on").wait_for()


def resumed(someone: Visitor, company: HasLeaver) -> None:
    canceled(someone, company)
    someone.press("Take it back")
    someone.page.get_by_role("heading", name="Business goes on").wait_for()


def paused(someone: Visitor, company: HasLeaver) -> None:
    page("pause")(someone, company)
    someone.press("Pause plan")
    someone.page.get_by_role("heading", name="Business is paused").wait_for()


def cancel_paused(someone: Visitor, company: HasLeaver) -> None:
    paused(someone, company)
    someone.go(f"/teams/{company.leaver.team_id}/plan/cancellation")


def mail(kind: str) -> Play:
    def play(someone: Visitor, company: HasLeaver) -> None:
        with someone.stack.portal.app_context():
            message = _mail(kind, company.leaver.email)
            with unit_of_work():
                put_mail(message, f"scene:{kind}")
            db.session.remove()
        someone.open_mail(company.leaver.email, message.subject)

    return play


def _mail(kind: str, to: str) -> Message:
    match kind:
        case "paused":
            return plan_paused(to, plan_name="Business", outcome=OUTCOME, link=LINK)
        case "resumed":
            return plan_resumed(to, plan_name="Business", paused=False, link=LINK)
    ended = kind == "ended"
    return plan_canceled(to, plan_name="Business", day="18 Dec 2026", ended=ended, outcome=OUTCOME, link=LINK)
