"""Whatever is asked in whatever order: nothing breaks, the books balance, and the events tell the whole story."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from portal.sandbox.customer_balance import apply
from portal.sandbox.events import differences
from portal.sandbox.upcoming import upcoming
from tests.sandbox.driving import Driver, Json, Wall

DAY = 86400
START = int(datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp())
CARDS = ("pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_authenticationRequired")


class _Owner:
    """Somebody who does anything at all to one subscription, by a seed."""

    def __init__(self, sandbox: Driver, seed: int) -> None:
        self.sandbox = sandbox
        self.choose = random.Random(seed)
        self.prices = [sandbox.price(self.choose.randint(0, 20_000))["id"] for _ in range(3)]
        self.prices.append(sandbox.price(self.choose.randint(1, 90_000), interval="year")["id"])
        self.coupon = sandbox.post("/v1/coupons", {"percent_off": 33, "duration": "forever"})["id"]
        trial: Json = self.choose.choice([{}, {"trial_period_days": 5}])
        self.begun = self.begin_by_schedule() if seed % 3 == 1 else sandbox.begin({"id": self.prices[0]}, **trial)
        self.path = f"/v1/subscriptions/{self.begun['id']}"
        self.acts: dict[Callable[[], None], int] = {
            self.wait: 8, self.change: 6, self.switch_card: 3, self.pause: 1, self.resume: 3, self.end: 1, self.stay: 3,
            self.add: 2, self.pay: 3, self.confirm: 2, self.follow: 2, self.let_go: 2, self.collect_less: 1,
        }  # fmt: skip
        sandbox.retry([1, 3, 5, 7], self.choose.choice(["cancel", "unpaid", "past_due"]))

    def begin_by_schedule(self) -> Json:
        """A plan that begins by itself, paid or not, and goes on alone after a month."""
        customer = self.sandbox.post("/v1/customers")["id"]
        card = self.choose.choice(CARDS)
        order = {
            "customer": customer,
            "start_date": "now",
            "phases[0][items][0][price]": self.prices[0],
            "default_settings[default_payment_method]": self.sandbox.card({"customer": customer}, card),
        }
        schedule = self.sandbox.post("/v1/subscription_schedules", order)
        return self.sandbox.subscription({"id": schedule["subscription"]})

    def act(self) -> None:
        """Do something; what cannot be done is refused, and never breaks anything."""
        self.choose.choices(list(self.acts), list(self.acts.values()))[0]()

    def ask(self, path: str, **sent: Any) -> None:
        response = self.sandbox.send("POST", path, sent)
        assert response.status_code in {200, 400, 402, 404}, response.data

    def wait(self) -> None:
        self.sandbox.pass_seconds(self.choose.choice([3600, DAY, 9 * DAY, 40 * DAY, self.choose.randint(1, 90 * DAY)]))

    def change(self) -> None:
        items = self.sandbox.subscription(self.begun)["items"]["data"]
        sent: Json = {"items[0][id]": items[0]["id"], "items[0][quantity]": self.choose.randint(0, 5)}
        sent["items[0][price]"] = self.choose.choice(self.prices)
        sent["proration_behavior"] = self.choose.choice(["always_invoice", "create_prorations", "none"])
        if self.choose.random() < 0.4:
            behaviors = ["default_incomplete", "error_if_incomplete", "pending_if_incomplete"]
            sent["payment_behavior"] = self.choose.choice(behaviors)
        sent |= self.choose.choice([{}, {}, {"trial_end": "now"}, {"billing_cycle_anchor[type]": "now"}])
        if self.choose.random() < 0.2:
            sent |= {"items[1][price]": self.choose.choice(self.prices)}
        if self.choose.random() < 0.2:
            sent |= {"discounts[0][coupon]": self.coupon}
        self.ask(self.path, **sent)

    def switch_card(self) -> None:
        self.ask(self.path, default_payment_method=self.sandbox.card(self.begun, self.choose.choice(CARDS)))

    def pause(self) -> None:
        self.ask(f"{self.path}/pause", invoicing_behavior=self.choose.choice(["invoice", "pending_invoice_item"]))

    def resume(self) -> None:
        kind = self.choose.choice(["now", "unchanged"])
        self.ask(f"{self.path}/resume", **{"billing_cycle_anchor[type]": kind})

    def end(self) -> None:
        at = self.sandbox.get("/_sandbox/clock")["now"] + self.choose.randint(1, 60 * DAY)
        self.ask(self.path, cancel_at=self.choose.choice([at, "min_period_end"]))

    def stay(self) -> None:
        self.ask(self.path, cancel_at="")

    def add(self) -> None:
        amount = self.choose.randint(-3000, 3000)
        self.ask("/v1/invoiceitems", customer=self.begun["customer"], amount=amount, currency="usd")

    def pay(self) -> None:
        latest = self.sandbox.subscription(self.begun)["latest_invoice"]
        card = self.sandbox.card(self.begun, self.choose.choice(CARDS))
        self.ask(f"/v1/invoices/{latest}/pay", payment_method=card)

    def confirm(self) -> None:
        latest = self.sandbox.subscription(self.begun)["latest_invoice"]
        answer = {"answer": self.choose.choice(["complete", "fail"])}
        assert self.sandbox.client.post(f"/i/{latest}/authenticate", data=answer).status_code == 303

    def follow(self) -> None:
        self.ask("/v1/subscription_schedules", from_subscription=self.begun["id"])
        schedule_id = self.sandbox.subscription(self.begun)["schedule"]
        if schedule_id is None:
            return
        now = self.sandbox.get(f"/v1/subscription_schedules/{schedule_id}")["phases"][-1]
        sent: Json = {"phases[0][start_date]": now["start_date"], "phases[0][end_date]": now["end_date"]}
        for number, item in enumerate(now["items"]):
            sent[f"phases[0][items][{number}][price]"] = item["price"]
            sent[f"phases[0][items][{number}][quantity]"] = item["quantity"]
        sent["phases[1][items][0][price]"] = self.choose.choice(self.prices)
        sent["phases[1][end_date]"] = now["end_date"] + self.choose.randint(1, 50 * DAY)
        sent["end_behavior"] = self.choose.choice(["release", "release", "cancel"])
        self.ask(f"/v1/subscription_schedules/{schedule_id}", **sent)

    def let_go(self) -> None:
        schedule_id = self.sandbox.subscription(self.begun)["schedule"]
        if schedule_id is not None:
            self.ask(f"/v1/subscription_schedules/{schedule_id}/release")

    def collect_less(self) -> None:
        at = self.sandbox.get("/_sandbox/clock")["now"] + 20 * DAY
        self.ask(self.path, **{"pause_collection[behavior]": "void", "pause_collection[resumes_at]": at})


def _all(sandbox: Driver, path: str, **params: Any) -> list[Json]:
    listed = sandbox.get(path, limit=100, **params)
    found = listed["data"]
    while listed["has_more"]:
        listed = sandbox.get(path, limit=100, starting_after=found[-1]["id"], **params)
        found += listed["data"]
    return list(reversed(found))


def _check_books(sandbox: Driver, customer_id: str) -> None:
    """Every invoice adds up, and customer, invoices and charges agree on what was paid."""
    balance = taken = 0
    for invoice in _all(sandbox, "/v1/invoices", customer=customer_id):
        lines = sandbox.get(f"/v1/invoices/{invoice['id']}/lines", limit=100)["data"]
        assert invoice["subtotal"] == sum(line["amount"] for line in lines)
        assert invoice["total"] == invoice["subtotal"] - sum(one["amount"] for one in invoice["total_discount_amounts"])
        if invoice["status"] not in {"draft", "void"}:
            left = (invoice["amount_due"], invoice["ending_balance"])
            assert left == apply(invoice["total"], invoice["starting_balance"])
            balance += invoice["ending_balance"] - invoice["starting_balance"]
        assert invoice["amount_paid"] == (invoice["amount_due"] if invoice["status"] == "paid" else 0)
        assert (invoice["next_payment_attempt"] is None) or invoice["status"] == "open"
        taken += invoice["amount_paid"]
    assert sandbox.get(f"/v1/customers/{customer_id}")["balance"] == balance
    assert sum(charge["amount_captured"] for charge in _all(sandbox, "/v1/charges", customer=customer_id)) == taken


def _check_events(sandbox: Driver, known: Json) -> None:
    """Each event begins where the one before it ended, and says what is new; the last one is how it stands."""
    told = [event for event in sandbox.events() if event["data"]["object"].get("id") == known["id"]]
    # The others tell the reason of an update beside them, or of what is to come.
    told = [event for event in told if event["type"].rpartition(".")[2] in {"created", "updated", "deleted"}]
    for earlier, later in pairwise(told):
        changed = differences(earlier["data"]["object"], later["data"]["object"])
        if later["type"] == "customer.subscription.updated":
            assert later["data"]["previous_attributes"] == changed
    assert told[-1]["data"]["object"] == known


@pytest.mark.parametrize("seed", range(10))
def test_the_books_balance_whatever_is_done(sandbox: Driver, wall: Wall, seed: int) -> None:
    wall.at = START
    owner = _Owner(sandbox, seed)
    for _ in range(40):
        owner.act()
        _check_books(sandbox, owner.begun["customer"])
    _check_events(sandbox, sandbox.subscription(owner.begun))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_to_come_comes_then_and_not_before(sandbox: Driver, wall: Wall, seed: int) -> None:
    wall.at = START
    owner, running = _Owner(sandbox, seed), sandbox.app.extensions["sandbox"]
    for _ in range(20):
        owner.act()
        coming = upcoming(running.call())
        if coming:
            known = len(sandbox.events())
            sandbox.pass_until(coming[0].at - 1)
            assert len(sandbox.events()) == known, coming[0]
            sandbox.pass_until(coming[0].at)
            assert len(sandbox.events()) > known, coming[0]


@pytest.mark.parametrize("seed", range(8))
def test_the_next_invoice_is_the_one_that_was_shown(sandbox: Driver, wall: Wall, seed: int) -> None:
    """Whatever led there: schedules, trials, ends, retries. What collection is paused for is shown and not billed."""
    wall.at = START
    owner, compared = _Owner(sandbox, seed), 0
    for _ in range(25):
        owner.act()
        now = sandbox.subscription(owner.begun)
        shown = sandbox.send("POST", "/v1/invoices/create_preview", {"subscription": now["id"]})
        waits = now["pause_collection"] or now["pending_update"] or now["status"] not in {"active", "trialing"}
        if shown.status_code != 200 or waits:
            continue
        seen = json.loads(shown.data)
        sandbox.pass_until(seen["created"])
        made = sandbox.latest_invoice(now)
        assert (made["id"] != now["latest_invoice"], made["created"]) == (True, seen["created"])
        assert (made["total"], made["amount_due"]) == (seen["total"], seen["amount_due"])
        compared += 1
    assert compared >= 1
