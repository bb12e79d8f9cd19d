"""A subscriber's year: every invoice costs what its preview said, and each state is what the step before led to."""

from datetime import UTC, datetime

import pytest

from tests.sandbox.driving import Driver, Json, Wall

DAY = 86400
START = int(datetime(2027, 1, 15, 8, 20, 41, tzinfo=UTC).timestamp())
PREVIEW = "/v1/invoices/create_preview"


class _Year:
    """One subscriber, looked at before and after each step."""

    def __init__(self, sandbox: Driver) -> None:
        self.sandbox = sandbox
        self.monthly = sandbox.price(2900, name="Pro")
        self.business = sandbox.price(9900, name="Business")
        self.seat = sandbox.price(700, name="Seat")
        self.begun = sandbox.begin(self.monthly, trial_period_days=14)
        self.seen: list[tuple[int, int]] = []

    @property
    def now(self) -> Json:
        """The subscription as it stands."""
        return self.sandbox.subscription(self.begun)

    def look(self, **details: str | int) -> Json:
        """Return the preview of a change, or of the next renewal."""
        named = {
            f"subscription_details[{name.partition('[')[0]}]{_rest(name)}": value for name, value in details.items()
        }
        return self.sandbox.post(PREVIEW, {"subscription": self.begun["id"]} | named)

    def compare(self, preview: Json) -> Json:
        """Hold the newest invoice against what was shown; returns it."""
        made = self.sandbox.latest_invoice(self.begun)
        shown, billed = ([line["amount"] for line in one["lines"]["data"]] for one in (preview, made))
        assert (preview["total"], preview["amount_due"], shown) == (made["total"], made["amount_due"], billed)
        self.seen.append((preview["total"], made["total"]))
        return made

    def renew(self) -> Json:
        """Go to the end of the period and return the invoice of the next one."""
        preview = self.look()
        self.sandbox.pass_until(self.now["items"]["data"][0]["current_period_end"])
        return self.compare(preview)

    def change(self, **sent: str | int) -> Json:
        """Make a change that is paid at once and return its invoice."""
        sent["proration_behavior"] = "always_invoice"
        preview = self.look(**sent)
        self.sandbox.post(f"/v1/subscriptions/{self.begun['id']}", sent)
        return self.compare(preview)


def _rest(name: str) -> str:
    return name[len(name.partition("[")[0]) :]


@pytest.fixture
def year(sandbox: Driver, wall: Wall) -> _Year:
    wall.at = START
    return _Year(sandbox)


def test_a_subscribers_year(sandbox: Driver, year: _Year) -> None:
    _try_and_pay(year)
    _upgrade_and_grow(sandbox, year)
    _fail_and_recover(sandbox, year)
    _downgrade(sandbox, year)
    _pause_and_resume(sandbox, year)
    _end(sandbox, year)
    invoices = sandbox.get("/v1/invoices", subscription=year.begun["id"], limit=100)["data"]
    # The first invoice of the trial, over nothing, is the only one that nobody looked at before.
    assert len(year.seen) == len(invoices) - 1
    assert all(preview == made for preview, made in year.seen)
    taken = sum(charge["amount_captured"] for charge in sandbox.get("/v1/charges", limit=100)["data"])
    assert taken == sum(invoice["amount_paid"] for invoice in invoices)


def _try_and_pay(year: _Year) -> None:
    assert (year.now["status"], year.sandbox.latest_invoice(year.begun)["total"]) == ("trialing", 0)
    first = year.renew()
    assert (first["total"], first["status"], year.now["status"]) == (2900, "paid", "active")


def _upgrade_and_grow(sandbox: Driver, year: _Year) -> None:
    item = year.begun["items"]["data"][0]["id"]
    sandbox.pass_by(10.3)
    upgrade = year.change(**{"items[0][id]": item, "items[0][price]": year.business["id"]})
    assert (upgrade["billing_reason"], upgrade["status"]) == ("subscription_update", "paid")
    sandbox.pass_by(4.9)
    seat = year.change(**{"items[0][price]": year.seat["id"], "items[0][quantity]": 3})
    assert 0 < seat["total"] < 2100
    assert len(year.now["items"]["data"]) == 2
    assert year.renew()["total"] == 9900 + 3 * 700


def _fail_and_recover(sandbox: Driver, year: _Year) -> None:
    bad = sandbox.card(year.begun, "pm_card_chargeCustomerFail")
    sandbox.change(year.begun, default_payment_method=bad)
    failed = year.renew()
    assert (failed["status"], year.now["status"]) == ("open", "past_due")
    sandbox.pass_by(3)
    assert sandbox.latest_invoice(year.begun)["attempt_count"] == 3
    sandbox.change(year.begun, default_payment_method=sandbox.card(year.begun))
    sandbox.pass_by(2)
    recovered = sandbox.latest_invoice(year.begun)
    assert (recovered["status"], recovered["attempt_count"], year.now["status"]) == ("paid", 3, "active")


def _downgrade(sandbox: Driver, year: _Year) -> None:
    schedule = sandbox.post("/v1/subscription_schedules", {"from_subscription": year.begun["id"]})
    now = schedule["phases"][0]
    sent: Json = {"phases[0][start_date]": now["start_date"], "phases[0][end_date]": now["end_date"]}
    for number, item in enumerate(now["items"]):
        sent[f"phases[0][items][{number}][price]"] = item["price"]
        sent[f"phases[0][items][{number}][quantity]"] = item["quantity"]
    sent |= {"phases[1][items][0][price]": year.monthly["id"], "phases[1][duration][interval]": "month"}
    sandbox.post(f"/v1/subscription_schedules/{schedule['id']}", sent)
    assert year.now["items"]["data"][0]["price"]["id"] == year.business["id"]
    assert year.renew()["total"] == 2900
    assert [item["price"]["id"] for item in year.now["items"]["data"]] == [year.monthly["id"]]
    assert year.renew()["total"] == 2900
    assert sandbox.get(f"/v1/subscription_schedules/{schedule['id']}")["status"] == "completed"


def _pause_and_resume(sandbox: Driver, year: _Year) -> None:
    sandbox.pass_by(9.1)
    sandbox.post(f"/v1/subscriptions/{year.begun['id']}/pause")
    sandbox.pass_by(45)
    assert year.now["status"] == "paused"
    preview = year.look(resume_at="now")
    sandbox.post(f"/v1/subscriptions/{year.begun['id']}/resume")
    resumed = year.compare(preview)
    assert 0 < resumed["total"] < 2900
    assert (year.now["status"], resumed["status"]) == ("active", "paid")
    assert year.renew()["total"] == 2900


def _end(sandbox: Driver, year: _Year) -> None:
    sandbox.change(year.begun, cancel_at_period_end="true")
    end = year.now["cancel_at"]
    assert sandbox.error("POST", PREVIEW, {"subscription": year.begun["id"]})[1]["code"] == "invoice_upcoming_none"
    sandbox.pass_until(end)
    assert (year.now["status"], year.now["ended_at"]) == ("canceled", end)
    kinds = [event["type"] for event in sandbox.events(type="customer.subscription.*")]
    changes = [kind.removeprefix("customer.subscription.") for kind in kinds if not kind.endswith(".updated")]
    assert changes == ["created", "trial_will_end", "paused", "resumed", "deleted"]
