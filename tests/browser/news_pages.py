"""The inbox, its switches, the way out of a mail, and exports in their states."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select

from portal.accounts.models import User
from portal.core.addresses import own_address
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.exports.models import Export, ExportPart
from portal.notifications import inbox, messages
from portal.notifications.messages import Message
from portal.notifications.models import Notification
from portal.notifications.notify import notify_person, notify_team
from portal.notifications.unsubscribing import unsubscribe_address
from tests.browser.people import Person
from tests.browser.visitor import Visitor

Play = Callable[[Visitor, Any], None]
Tell = Callable[[str], Message]


def news(team_id: str) -> dict[str, Tell]:
    """One of each severity, as a team gets them."""
    link = own_address("billing.overview", team_id=team_id)
    failed: dict[str, Any] = {"amount": "$99.00 USD", "plan_name": "Pro", "next_try": "28 Nov 2026"}
    return {
        "card": lambda to: messages.card_expiring(to, card="Visa •••• 4242", ends="12/2026", link=link),
        "seats": lambda to: messages.seats_changed(to, seats=12, plan_name="Pro", charged="$48.00 USD", link=link),
        "failed": lambda to: messages.payment_failed(to, first=True, last=False, link=link, **failed),
        "paid": lambda to: messages.payment_recovered(to, amount="$99.00 USD", number="FW-0411", link=link),
    }


def tell_all(someone: Visitor, person: Person) -> str:
    """Let the person's inbox be these four and no other, the oldest of them read; returns the person's id."""
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            user_id = session.execute(select(User.id).where(User.email == person.email)).scalar_one()
            session.execute(delete(Notification).where(Notification.user_id == user_id))
            for number, message in enumerate(news(person.team_id).values()):
                notify_team(person.team_id, new_id("fact"), message)
                if number == 0:
                    inbox.mark_read(user_id)
        db.session.remove()
    return user_id


def inbox_page(query: str = "") -> Play:
    def play(someone: Visitor, company: Any) -> None:
        tell_all(someone, company.reader)
        someone.go(f"/inbox{query}")

    return play


def history(someone: Visitor, company: Any) -> None:
    user_id = tell_all(someone, company.reader)
    with someone.stack.portal.app_context():
        with unit_of_work():
            inbox.dismiss(user_id)
        db.session.remove()
    someone.go("/inbox?show=all")


def up_to_date(someone: Visitor, company: Any) -> None:
    history(someone, company)
    someone.go("/inbox")


def way_out(kind: str, press: str | None = None) -> Play:
    """The page that a mail's link leads to, perhaps with its button pressed."""

    def play(someone: Visitor, company: Any) -> None:
        with someone.stack.portal.app_context():
            user_id = db.session.execute(select(User.id).where(User.email == company.guest.email)).scalar_one()
            address = unsubscribe_address(user_id, kind)
            db.session.remove()
        someone.page.goto(address)
        if press:
            someone.press(press)
            someone.page.get_by_role("heading", name="These mails are stopped").wait_for()

    return play


def stoppable_mail(someone: Visitor, company: Any) -> None:
    """A mail that can be stopped goes to somebody who looks after the billing of a team of others' or their own."""
    tell_all(someone, company.reader)
    someone.open_mail(company.reader.email, "Your team has 12 seats now")


def welcome(someone: Visitor, company: Any) -> None:
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            user_id = session.execute(select(User.id).where(User.email == company.reader.email)).scalar_one()
            team_link = own_address("accounts.members", team_id=company.reader.team_id)
            message = messages.welcome(
                company.reader.email, person="Robin Field", team_link=team_link, link=own_address("accounts.teams")
            )
            notify_person(user_id, message, new_id("fact"))
        db.session.remove()
    someone.open_mail(company.reader.email, message.subject)


def export_row(someone: Visitor, person: Person, **values: Any) -> str:
    """An export of the person's team that no worker goes on with before `run_at`; its id."""
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            user_id = session.execute(select(User.id).where(User.email == person.email)).scalar_one()
            defaults: dict[str, Any] = {
                "id": new_id("exp"), "team_id": person.team_id, "user_id": user_id, "source": "payments",
                "format": "csv", "arguments": {}, "time_zone": "UTC", "state": "done", "rows_total": 1_284,
                "rows_done": 1_284, "expires_at": app_now() + timedelta(days=7),
            }  # fmt: skip
            made = defaults | values
            if made["state"] in ("done", "failed"):
                made["finished_at"] = app_now()
            if made["state"] == "done":
                made["size_bytes"] = 184_320
            session.add(Export(**made))
            session.flush()
            session.add(ExportPart(export_id=made["id"], number=0, data=b"Date"))
        db.session.remove()
    return str(made["id"])


RUNNING: dict[str, Any] = {
    "source": "credits", "state": "running", "rows_total": 48_210, "rows_done": 22_000, "arguments": {"kind": "usage"},
}  # fmt: skip


def exports_page(query: str = "", *, all_states: bool = False) -> Play:
    def play(someone: Visitor, company: Any) -> None:
        reader = company.reader
        with someone.stack.portal.app_context():
            with unit_of_work() as session:
                session.execute(delete(Export).where(Export.team_id == reader.team_id))
            db.session.remove()
        if all_states:
            export_row(someone, reader, arguments={"status": "failed", "since": "2026-01-01"})
            export_row(someone, reader, source="credits", format="xlsx", state="failed", failure="too_long")
            export_row(someone, reader, source="invoices", format="xlsx")
            export_row(someone, reader, **RUNNING, run_at=app_now() + timedelta(days=1))
        someone.go(f"/teams/{reader.team_id}/exports{query}")

    return play


def second_export(someone: Visitor, company: Any) -> None:
    exports_page(all_states=True)(someone, company)
    someone.press("Export")
    someone.page.get_by_text("An export of this team is being made.").wait_for()
