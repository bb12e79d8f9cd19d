"""What a change of plan or seats looks like in its states, for a team that pays by the month."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import delete, select

from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.models import Subscription, SubscriptionItem
from portal.catalog.models import Price
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.notifications.messages import Message, addons_changed, plan_changed, seats_changed
from portal.notifications.outbox import put_mail
from tests.browser.people import Person
from tests.browser.visitor import Visitor

FAR = timedelta(days=365)


class HasChanger(Protocol):
    """Whom these pages are shown to."""

    @property
    def changer(self) -> Person: ...


Play = Callable[[Visitor, HasChanger], None]


def changer(company: HasChanger) -> Person:
    return company.changer


def subscribed(someone: Visitor, company: HasChanger) -> str:
    """See to it that the team is on Business, and return its id."""
    person = company.changer
    someone.open_overview(person.team_id)
    if someone.page.get_by_role("link", name="Choose a plan").count():
        someone.choose("Business", person.team_id)
        someone.pay()
        someone.wait_until_on("Business")
    return person.team_id


def page(path: str) -> Play:
    def play(someone: Visitor, company: HasChanger) -> None:
        someone.go(f"/teams/{subscribed(someone, company)}/{path}")

    return play


def preview(plan: str, interval: str = "Monthly") -> Play:
    def play(someone: Visitor, company: HasChanger) -> None:
        someone.go(f"/teams/{subscribed(someone, company)}/plan")
        someone.page.get_by_label("Plan", exact=True).select_option(label=plan)
        someone.page.get_by_text(interval, exact=True).click()
        someone.press("Show the preview")
        someone.page.get_by_role("heading", name="Preview", exact=True).wait_for()

    return play


def seats_preview(seats: int) -> Play:
    def play(someone: Visitor, company: HasChanger) -> None:
        someone.go(f"/teams/{subscribed(someone, company)}/seats")
        someone.page.get_by_label("Seats, all of them").fill(str(seats))
        someone.press("Show the preview")
        someone.page.get_by_role("heading", name="Preview", exact=True).wait_for()

    return play


def addon_preview(someone: Visitor, company: HasChanger) -> None:
    someone.go(f"/teams/{subscribed(someone, company)}/addons")
    someone.page.get_by_label("How many, 0 to 5").fill("2")
    someone.press("Show the preview")
    someone.page.get_by_role("heading", name="Preview", exact=True).wait_for()


def addon_wrong(someone: Visitor, company: HasChanger) -> None:
    someone.go(f"/teams/{subscribed(someone, company)}/addons")
    someone.page.locator("main form").evaluate("form => { form.noValidate = true; }")
    someone.page.get_by_label("How many, 0 to 5").fill("")
    someone.press("Show the preview")
    someone.page.locator("[aria-invalid]").wait_for()


def with_addons(path: str) -> Play:
    """The team has add-ons, one of which its plan does not sell any more."""

    def play(someone: Visitor, company: HasChanger) -> None:
        team_id = subscribed(someone, company)
        with someone.stack.portal.app_context():
            with unit_of_work() as session:
                subscription = session.execute(select(Subscription).where(Subscription.team_id == team_id)).scalar_one()
                for lookup_key in ("turnpike_addon_longer_history_year", "turnpike_addon_audit_log_month"):
                    session.add(_addon_item(subscription, lookup_key))
            db.session.remove()
        someone.go(f"/teams/{team_id}/{path}")
        with someone.stack.portal.app_context():
            with unit_of_work() as session:
                session.execute(delete(SubscriptionItem).where(SubscriptionItem.stripe_id.like("si_scene_%")))
            db.session.remove()

    return play


def _addon_item(subscription: Subscription, lookup_key: str) -> SubscriptionItem:
    price = db.session.execute(select(Price.stripe_price_id).where(Price.lookup_key == lookup_key, Price.active))
    return SubscriptionItem(
        id=new_id("sitem"), subscription_id=subscription.id, team_id=subscription.team_id, stripe_id=f"si_scene_{lookup_key}",
        stripe_price_id=price.scalar_one(), quantity=2 if "history" in lookup_key else 1,
        current_period_start=subscription.current_period_start, current_period_end=subscription.current_period_end,
    )  # fmt: skip


def seats_wrong(someone: Visitor, company: HasChanger) -> None:
    someone.go(f"/teams/{subscribed(someone, company)}/seats")
    someone.page.locator("main form").evaluate("form => { form.noValidate = true; }")
    someone.page.get_by_label("Seats, all of them").fill("")
    someone.press("Show the preview")
    someone.page.locator("[aria-invalid]").wait_for()


def refused(someone: Visitor, company: HasChanger) -> None:
    team_id = subscribed(someone, company)
    someone.send(f"/teams/{team_id}/plan/previews", {"plan": "business", "interval": "month"})
    someone.page.get_by_role("heading", name="Nothing would change").wait_for()


def standing(**values: Any) -> Play:
    """A change in a state, as the worker would have left it; nobody looks at it again."""

    def play(someone: Visitor, company: HasChanger) -> None:
        preview("Business", "Yearly")(someone, company)
        preview_id = someone.page.url.rsplit("/", 1)[1]
        with someone.stack.portal.app_context():
            with unit_of_work() as session:
                shown = session.execute(select(ChangePreview).where(ChangePreview.id == preview_id)).scalar_one()
                row = {"state": "pending", "finished_at": None} | values
                change = PendingChange(
                    id=new_id("chg"), team_id=shown.team_id, user_id=shown.user_id, preview_id=shown.id,
                    idempotency_key=new_id("key"), run_at=app_now() + FAR, **row,
                )  # fmt: skip
                session.add(change)
                session.flush()
                address = f"/teams/{shown.team_id}/plan/changes/{change.id}"
            db.session.remove()
        someone.go(address)
        with someone.stack.portal.app_context():
            with unit_of_work() as session:
                left = session.execute(select(PendingChange).where(PendingChange.id == change.id)).scalar_one()
                left.state, left.finished_at = "canceled", app_now()
            db.session.remove()

    return play


def planned(someone: Visitor, company: HasChanger) -> None:
    """A smaller plan that comes when the period ends, on the overview."""
    team_id = subscribed(someone, company)
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            row = session.execute(select(Subscription).where(Subscription.team_id == team_id)).scalar_one()
            row.scheduled_plan_key, row.scheduled_interval, row.scheduled_seats_extra = "pro", "month", 0
            row.scheduled_at = row.current_period_end
        db.session.remove()
    someone.open_overview(team_id)


def mail(kind: str) -> Play:
    def play(someone: Visitor, company: HasChanger) -> None:
        with someone.stack.portal.app_context():
            message = _mail(kind, company.changer.email)
            with unit_of_work():
                put_mail(message, f"scene:{kind}")
            db.session.remove()
        someone.open_mail(company.changer.email, message.subject)

    return play


def _mail(kind: str, to: str) -> Message:
    link = "https://billing.example.com/teams"
    if kind == "addons":
        return addons_changed(
            to, addon="Another year of history", quantity=2, plan_name="Pro", charged="$84.57 USD", link=link
        )
    if kind == "seats":
        return seats_changed(to, seats=12, plan_name="Pro", charged="$11.53 USD", link=link)
    when = "3 Dec 2026" if kind == "planned" else ""
    return plan_changed(to, plan_name="Business", every="monthly", charged="$84.57 USD", from_when=when, link=link)
