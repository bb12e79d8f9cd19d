"""Changing a plan as people do it, by the pages, and what must hold afterwards: our rows are Stripe's objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.models import Invoice, Subscription, SubscriptionItem
from portal.catalog.models import Price
from portal.core import clock
from portal.core.database import db
from tests.cast import Person
from tests.stage import VISA, Stage

Json = dict[str, Any]
T = TypeVar("T", ChangePreview, PendingChange)
HALF = timedelta(days=12)
LEAVING = {
    "cancel": "cancellation",
    "cancel_now": "cancellation",
    "resume": "cancellation/removal",
    "pause": "pause",
    "unpause": "pause/removal",
}


@dataclass
class Changer:
    """A person with a team on a plan, half a period ago."""

    stage: Stage
    person: Person
    team_id: str

    @classmethod
    def on(
        cls, stage: Stage, person: Person, team_id: str, plan: str = "business", interval: str = "month",
        card: str = VISA, *, wait: timedelta = HALF,
    ) -> Changer:  # fmt: skip
        stage.subscribe(person, team_id, plan, interval, card)
        stage.deliver_all()
        if wait:
            stage.advance(wait)
            stage.deliver_all()
        return cls(stage, person, team_id)

    # What people do

    def ask(self, plan: str = "", interval: str = "month", **more: str) -> TestResponse:
        form = {"plan": plan, "interval": interval, **more}
        return self.person.client.post(f"/teams/{self.team_id}/plan/previews", data=form)

    def ask_seats(self, seats: int) -> TestResponse:
        return self.person.client.post(f"/teams/{self.team_id}/seats/previews", data={"seats": str(seats)})

    def ask_addon(self, addon: str, quantity: int | str = 1) -> TestResponse:
        form = {"addon": addon, "quantity": str(quantity)}
        return self.person.client.post(f"/teams/{self.team_id}/addons/previews", data=form)

    def shown(self, answer: TestResponse) -> ChangePreview:
        """The preview that an answer leads to, whose page can be looked at."""
        assert answer.status_code == 303, answer.get_data(as_text=True)
        page = self.person.client.get(answer.location)
        assert page.status_code == 200, page.get_data(as_text=True)
        return read(ChangePreview, answer.location.rsplit("/", 1)[1])

    def agree(self, preview: ChangePreview, person: Person | None = None) -> TestResponse:
        address = f"/teams/{self.team_id}/plan/previews/{preview.id}/agreement"
        return (person or self.person).client.post(address)

    def change(self, plan: str, interval: str = "month", **more: str) -> tuple[ChangePreview, PendingChange]:
        return self.finish(self.shown(self.ask(plan, interval, **more)))

    def change_seats(self, seats: int) -> tuple[ChangePreview, PendingChange]:
        return self.finish(self.shown(self.ask_seats(seats)))

    def change_addon(self, addon: str, quantity: int = 1) -> tuple[ChangePreview, PendingChange]:
        return self.finish(self.shown(self.ask_addon(addon, quantity)))

    def undo(self) -> PendingChange:
        return self.come_to(self.post("plan/planned/removal"))

    def post(self, path: str, **form: str) -> TestResponse:
        return self.person.client.post(f"/teams/{self.team_id}/{path}", data=form)

    def ask_to_leave(self, act: str, **form: str) -> TestResponse:
        """Press the button of an act: one of `LEAVE_KINDS`."""
        if act.startswith("cancel"):
            form = {"when": "now" if act == "cancel_now" else "period_end", **form}
        return self.post(f"plan/{LEAVING[act]}", **form)

    def leave(self, act: str, **form: str) -> tuple[ChangePreview, PendingChange]:
        """Do it; what is shown first is agreed to."""
        answer = self.ask_to_leave(act, **form)
        if "/previews/" in (answer.location or ""):
            return self.finish(self.shown(answer))
        change = self.come_to(answer)
        return read(ChangePreview, change.preview_id), change

    def finish(self, preview: ChangePreview) -> tuple[ChangePreview, PendingChange]:
        """Agree, let the worker work, deliver the news."""
        return preview, self.come_to(self.agree(preview))

    def come_to(self, answer: TestResponse) -> PendingChange:
        assert answer.status_code == 303, answer.get_data(as_text=True)
        self.stage.drain()
        self.stage.deliver_all()
        page = self.person.client.get(answer.location)
        assert page.status_code == 200
        return read(PendingChange, answer.location.rsplit("/", 1)[1])

    def pass_period(self) -> None:
        """Go on until the next period has begun."""
        ends = self.mirrored().current_period_end
        assert ends is not None
        self.stage.advance(ends - now() + timedelta(minutes=5))
        self.stage.deliver_all()

    # What is true

    def live(self) -> Json:
        """The subscription at Stripe, with its schedule."""
        ours = self.mirrored().stripe_id
        return self.stage.stripe("GET", f"/v1/subscriptions/{ours}", **{"expand[0]": "schedule"})

    def mirrored(self) -> Subscription:
        found = db.session.execute(select(Subscription).where(Subscription.team_id == self.team_id)).scalars().one()
        db.session.remove()
        return found

    def invoices(self) -> list[Json]:
        """All of the subscription's invoices at Stripe, newest first."""
        return list(self.stage.stripe("GET", "/v1/invoices", subscription=self.mirrored().stripe_id, limit=100)["data"])

    def switch_card(self, stock: str) -> None:
        """Let another card pay, as if it were changed at Stripe."""
        customer = self.live()["customer"]
        method = self.stage.stripe("POST", f"/v1/payment_methods/{stock}/attach", customer=customer)["id"]
        self.stage.stripe("POST", f"/v1/subscriptions/{self.mirrored().stripe_id}", default_payment_method=method)
        self.stage.deliver_all()

    def code(self, percent_off: int = 20, duration: str = "once") -> str:
        """A promotion code that works, known to Stripe alone."""
        coupon = self.stage.stripe("POST", "/v1/coupons", percent_off=percent_off, duration=duration)["id"]
        made = {"promotion[type]": "coupon", "promotion[coupon]": coupon}
        return str(self.stage.stripe("POST", "/v1/promotion_codes", **made)["code"])

    def assert_mirrored(self) -> None:
        """Our rows of the subscription, its items, what is planned and its invoices equal Stripe's objects."""
        live, ours = self.live(), self.mirrored()
        items = db.session.execute(select(SubscriptionItem).where(SubscriptionItem.team_id == self.team_id)).scalars()
        found = sorted((item.stripe_id, item.stripe_price_id, item.quantity) for item in items)
        db.session.remove()
        assert found == sorted((one["id"], one["price"]["id"], one.get("quantity", 1)) for one in live["items"]["data"])
        assert ours.status == live["status"]
        assert (ours.cancel_at is not None) == (live["cancel_at"] is not None or live["cancel_at_period_end"])
        assert ours.cancel_feedback == live["cancellation_details"]["feedback"]
        assert ours.cancel_comment == live["cancellation_details"]["comment"]
        assert (ours.paused_at is not None) == (live.get("status_details") is not None)
        assert (ours.ended_at is not None) == (live["ended_at"] is not None)
        assert ours.latest_invoice == live["latest_invoice"]
        assert ours.schedule_stripe_id == (live["schedule"]["id"] if live["schedule"] else None)
        assert planned_of(ours) == planned_at_stripe(live)
        assert ours.scheduled_addons == addons_planned_at_stripe(live)
        rows = {
            row.stripe_id: (row.status, row.total, row.amount_due, row.amount_paid)
            for row in _invoice_rows(self.team_id)
        }
        for invoice in self.invoices():
            wanted = (invoice["status"], invoice["total"], invoice["amount_due"], invoice["amount_paid"])
            assert rows[invoice["id"]] == wanted


def now() -> datetime:
    instant = clock.now()
    db.session.remove()
    return instant


def _invoice_rows(team_id: str) -> list[Invoice]:
    rows = list(db.session.execute(select(Invoice).where(Invoice.team_id == team_id)).scalars())
    db.session.remove()
    return rows


def planned_of(ours: Subscription) -> tuple[Any, ...] | None:
    if ours.scheduled_at is None:
        return None
    return (
        ours.scheduled_plan_key,
        ours.scheduled_interval,
        ours.scheduled_seats_extra,
        int(ours.scheduled_at.timestamp()),
    )


def planned_at_stripe(live: Json) -> tuple[Any, ...] | None:
    """The next phase of the schedule, by the lookup keys of its prices."""
    schedule = live["schedule"]
    comes = _phases_to_come(schedule)
    if not comes:
        return None
    keys = {item["price"]: item["quantity"] for item in comes[0]["items"] if "quantity" in item}
    names = {price: lookup_key(price) for price in keys}
    plan = next(name for name in names.values() if name.startswith("turnpike_plan_"))
    _, _, key, interval = plan.split("_")
    extra = sum(keys[price] for price, name in names.items() if name.startswith("turnpike_seat_"))
    return (key, interval, extra, comes[0]["start_date"])


def addons_planned_at_stripe(live: Json) -> dict[str, int] | None:
    """How many of each add-on the next phase has."""
    comes = _phases_to_come(live["schedule"])
    if not comes:
        return None
    found = {lookup_key(item["price"]): item["quantity"] for item in comes[0]["items"] if "quantity" in item}
    addons = {key.removeprefix("turnpike_addon_"): number for key, number in found.items() if "_addon_" in key}
    return {key.rsplit("_", 1)[0]: number for key, number in addons.items()}


def codes_planned_at_stripe(live: Json) -> list[str]:
    """The promotion codes that the next phase gives a discount for."""
    comes = _phases_to_come(live["schedule"])
    return [one["promotion_code"] for one in comes[0]["discounts"] if one["promotion_code"]] if comes else []


def _phases_to_come(schedule: Json | None) -> list[Json]:
    if not schedule:
        return []
    return [phase for phase in schedule["phases"] if phase["start_date"] >= schedule["current_phase"]["end_date"]]


def lookup_key(stripe_price_id: str) -> str:

    key = db.session.execute(select(Price.lookup_key).where(Price.stripe_price_id == stripe_price_id)).scalar_one()
    db.session.remove()
    return key


def read(model: type[T], row_id: str) -> T:
    row = db.session.execute(select(model).where(model.id == row_id), execution_options={"populate_existing": True})
    found = row.scalar_one()
    db.session.remove()
    return found
