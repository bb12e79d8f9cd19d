"""A subscriber's year: after each step our rows are what Stripe says, and every invoice is what was shown before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal.billing.models import Invoice, PaymentMethod, Subscription, SubscriptionItem
from portal.core.database import db
from portal.credits.queries import balance
from tests.cast import Cast
from tests.purchases import states, violations
from tests.stage import Stage

Json = dict[str, Any]

DAY = timedelta(days=1)
PREVIEW = "/v1/invoices/create_preview"
CREDITS = {"free": 100, "pro": 5_000, "business": 20_000}
INVOICE_MEMBERS = (
    "number", "status", "billing_reason", "currency", "total", "amount_due", "amount_paid", "hosted_invoice_url",
    "invoice_pdf",
)  # fmt: skip


def instant(epoch: int | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


class Year:
    """One subscriber of ours, at Stripe and here."""

    def __init__(self, cast: Cast, stage: Stage) -> None:
        self.stage, self.team_id = stage, cast.team_id
        stage.subscribe(cast.owner, cast.team_id, "pro")
        stage.deliver_all()
        self.id = db.session.execute(select(Subscription.stripe_id)).scalar_one()
        self.seen = 0
        self.hold()

    @property
    def now(self) -> Json:
        return self.stage.stripe("GET", f"/v1/subscriptions/{self.id}")

    @property
    def item(self) -> Json:
        first: Json = self.now["items"]["data"][0]
        return first

    def price(self, purpose: str, plan: str) -> str:
        key = f"turnpike_{purpose}_{plan}_month"
        return str(self.stage.stripe("GET", "/v1/prices", **{"lookup_keys[0]": key})["data"][0]["id"])

    def look(self, **details: Any) -> Json:
        """What the next invoice comes to, or what these changes would."""
        named = {f"subscription_details[{name.replace('[', '][', 1)}": value for name, value in details.items()}
        named = {name if name.endswith("]") else f"{name}]": value for name, value in named.items()}
        return self.stage.stripe("POST", PREVIEW, subscription=self.id, **named)

    def send(self, path: str = "", **sent: Any) -> Json:
        """Change the subscription, and take the news of it in."""
        answer = self.stage.stripe("POST", f"/v1/subscriptions/{self.id}{path}", **sent)
        self.stage.deliver_all()
        return answer

    def change(self, **sent: Any) -> Json:
        """Change it for money at once; returns the invoice, which is what was shown."""
        sent["proration_behavior"] = "always_invoice"
        shown = self.look(**sent)
        self.send(**sent)
        return self.compare(shown)

    def pass_by(self, by: timedelta) -> None:
        self.stage.advance(by)
        self.stage.deliver_all()
        self.hold()

    def pass_until(self, epoch: int) -> None:
        now = self.stage.stripe("GET", "/_sandbox/clock")["now"]
        self.pass_by(timedelta(seconds=epoch - now + 1))

    def renew(self) -> Json:
        """Go to the next period; returns its invoice, which is what was shown."""
        shown = self.look()
        self.pass_until(self.item["current_period_end"])
        return self.compare(shown)

    def compare(self, shown: Json) -> Json:
        made = self.stage.stripe("GET", f"/v1/invoices/{self.now['latest_invoice']}")
        assert (made["total"], made["amount_due"]) == (shown["total"], shown["amount_due"])
        assert [line["amount"] for line in made["lines"]["data"]] == [line["amount"] for line in shown["lines"]["data"]]
        self.seen += 1
        self.hold()
        return made

    def new_card(self, stock: str) -> str:
        return str(
            self.stage.stripe("POST", f"/v1/payment_methods/{stock}/attach", customer=self.now["customer"])["id"]
        )

    def hold(self) -> None:
        """Hold every row of ours against the object it mirrors."""
        assert states() <= {"done", "ignored"}
        self._hold_subscription(self.now)
        for invoice in self.stage.stripe("GET", "/v1/invoices", subscription=self.id, limit=100)["data"]:
            self._hold_invoice(invoice)
        self._hold_cards()
        assert violations() == []
        db.session.rollback()

    def _hold_subscription(self, theirs: Json) -> None:
        ours = db.session.execute(select(Subscription).where(Subscription.stripe_id == self.id)).scalar_one()
        members = ("status", "default_payment_method", "latest_invoice", "currency")
        assert {name: getattr(ours, name) for name in members} == {name: theirs[name] for name in members}
        moments = ("trial_start", "trial_end", "cancel_at", "canceled_at", "ended_at")
        assert {name: getattr(ours, name) for name in moments} == {name: instant(theirs[name]) for name in moments}
        query = select(SubscriptionItem).where(SubscriptionItem.subscription_id == ours.id)
        found = {
            (one.stripe_id, one.stripe_price_id, one.quantity, one.current_period_start, one.current_period_end)
            for one in db.session.execute(query).scalars()
        }
        assert found == {
            (
                item["id"],
                item["price"]["id"],
                item.get("quantity", 1),
                instant(item["current_period_start"]),
                instant(item["current_period_end"]),
            )
            for item in theirs["items"]["data"]
        }

    def _hold_invoice(self, theirs: Json) -> None:
        ours = db.session.execute(select(Invoice).where(Invoice.stripe_id == theirs["id"])).scalar_one()
        assert {name: getattr(ours, name) for name in INVOICE_MEMBERS} == {
            name: theirs[name] for name in INVOICE_MEMBERS
        }
        assert ours.created_at == instant(theirs["created"])
        lines = self.stage.stripe("GET", f"/v1/invoices/{theirs['id']}/lines", limit=100)["data"]
        kept = ("amount", "quantity", "description")
        assert [{name: line[name] for name in kept} for line in ours.lines] == [
            {name: line[name] for name in kept} for line in lines
        ]

    def _hold_cards(self) -> None:
        found = db.session.execute(select(PaymentMethod).where(PaymentMethod.detached.is_(False))).scalars()
        ours = {(one.stripe_id, one.brand, one.last4, one.exp_month, one.exp_year) for one in found}
        customer = self.now["customer"]
        theirs = self.stage.stripe("GET", f"/v1/customers/{customer}/payment_methods", limit=100)["data"]
        assert ours == {
            (one["id"], *(one["card"][name] for name in ("brand", "last4", "exp_month", "exp_year"))) for one in theirs
        }


@pytest.fixture
def year(cast: Cast, stage: Stage) -> Year:
    return Year(cast, stage)


@pytest.mark.lifecycle
def test_a_subscribers_year(year: Year) -> None:
    _try_and_pay(year)
    _upgrade_and_grow(year)
    _fail_and_recover(year)
    _downgrade(year)
    _pause_and_resume(year)
    _end(year)
    invoices = year.stage.stripe("GET", "/v1/invoices", subscription=year.id, limit=100)["data"]
    # All but the first one, of the trial and over nothing.
    assert year.seen == len(invoices) - 1


def _try_and_pay(year: Year) -> None:
    assert (year.now["status"], balance(year.team_id).available) == ("trialing", CREDITS["pro"])
    assert (year.renew()["total"], year.now["status"]) == (9_900, "active")
    assert balance(year.team_id).available == CREDITS["pro"]


def _upgrade_and_grow(year: Year) -> None:
    year.pass_by(10.3 * DAY)
    upgrade = year.change(**{"items[0][id]": year.item["id"], "items[0][price]": year.price("plan", "business")})
    assert upgrade["status"] == "paid"
    year.pass_by(4.9 * DAY)
    seats = year.change(**{"items[0][price]": year.price("seat", "business"), "items[0][quantity]": 3})
    assert 0 < seats["total"] < 3_000
    assert year.renew()["total"] == 29_900 + 3 * 1_000
    assert balance(year.team_id).available == CREDITS["business"]


def _fail_and_recover(year: Year) -> None:
    year.send(default_payment_method=year.new_card("pm_card_chargeCustomerFail"))
    assert (year.renew()["status"], year.now["status"]) == ("open", "past_due")
    assert balance(year.team_id).available == 0, "nothing is granted that is not paid"
    year.pass_by(3 * DAY)
    year.send(default_payment_method=year.new_card("pm_card_visa"))
    year.pass_by(2 * DAY)
    assert year.now["status"] == "active"
    assert balance(year.team_id).available == CREDITS["business"]


def _downgrade(year: Year) -> None:
    schedule = year.stage.stripe("POST", "/v1/subscription_schedules", from_subscription=year.id)
    first = schedule["phases"][0]
    sent: Json = {"phases[0][start_date]": first["start_date"], "phases[0][end_date]": first["end_date"]}
    for number, item in enumerate(first["items"]):
        sent |= {f"phases[0][items][{number}][{name}]": item[name] for name in ("price", "quantity") if name in item}
    sent |= {"phases[1][items][0][price]": year.price("plan", "pro"), "phases[1][duration][interval]": "month"}
    year.stage.stripe("POST", f"/v1/subscription_schedules/{schedule['id']}", **sent)
    year.stage.deliver_all()
    year.hold()
    assert year.renew()["total"] == 9_900
    assert balance(year.team_id).available == CREDITS["pro"]
    assert year.renew()["total"] == 9_900


def _pause_and_resume(year: Year) -> None:
    year.pass_by(9.1 * DAY)
    year.send("/pause")
    year.hold()
    year.pass_by(45 * DAY)
    assert year.now["status"] == "paused"
    shown = year.look(resume_at="now")
    year.send("/resume")
    assert (year.compare(shown)["status"], year.now["status"]) == ("paid", "active")
    assert year.renew()["total"] == 9_900


def _end(year: Year) -> None:
    year.send(cancel_at_period_end="true")
    year.hold()
    year.pass_until(year.now["cancel_at"])
    assert year.now["status"] == "canceled"
    subscription = db.session.execute(select(Subscription).where(Subscription.stripe_id == year.id)).scalar_one()
    assert subscription.ended_at == instant(year.now["ended_at"])
    assert balance(year.team_id).available == CREDITS["free"]
