"""A preview's total is its invoice's, to the cent, and a preview leaves nothing behind."""

import json
import random
from datetime import UTC, datetime

import pytest

from tests.sandbox.driving import Driver, Json, Wall

DAY = 86400
START = int(datetime(2027, 1, 31, 9, 30, 17, tzinfo=UTC).timestamp())
PREVIEW = "/v1/invoices/create_preview"


@pytest.fixture(autouse=True)
def _end_of_january(wall: Wall) -> None:
    wall.at = START


def _nested(sent: Json) -> Json:
    """Return the parameters of a change as those of its preview."""
    return {f"subscription_details[{name.partition('[')[0]}]{_rest(name)}": value for name, value in sent.items()}


def _rest(name: str) -> str:
    return name[len(name.partition("[")[0]) :]


def _shape(invoice: Json) -> list[tuple[object, ...]]:
    """Return what a customer sees of an invoice."""
    return [
        (line["amount"], line["description"], line["period"]["start"], line["period"]["end"], line["quantity"])
        for line in invoice["lines"]["data"]
    ]


def test_the_next_renewal(sandbox: Driver) -> None:
    begun = sandbox.begin()
    before = sandbox.count()
    seen = sandbox.post(PREVIEW, {"subscription": begun["id"]})
    assert sandbox.count() == before
    assert seen["id"].startswith("upcoming_in_")
    assert (seen["status"], seen["number"], seen["billing_reason"]) == ("draft", None, "upcoming")
    assert seen["created"] == begun["items"]["data"][0]["current_period_end"]
    sandbox.pass_by(29)
    renewal = sandbox.latest_invoice(begun)
    assert (seen["total"], _shape(seen)) == (renewal["total"], _shape(renewal))
    assert sandbox.subscription(begun)["latest_invoice"] != begun["latest_invoice"]


def test_a_change_paid_at_once(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.pass_by(11)
    change = {
        "items[0][id]": begun["items"]["data"][0]["id"],
        "items[0][price]": sandbox.price(9900)["id"],
        "items[0][quantity]": 3,
        "proration_behavior": "always_invoice",
    }
    number = len(sandbox.events())
    seen = sandbox.post(PREVIEW, {"subscription": begun["id"]} | _nested(change))
    assert len(sandbox.events()) == number
    assert sandbox.subscription(begun) == begun
    sandbox.change(begun, **change)
    made = sandbox.latest_invoice(begun)
    assert (seen["total"], seen["amount_due"], _shape(seen)) == (made["total"], made["amount_paid"], _shape(made))


def test_a_change_that_waits_is_shown_with_the_next_renewal(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.pass_by(11)
    change = {"items[0][id]": begun["items"]["data"][0]["id"], "items[0][quantity]": 2}
    seen = sandbox.post(PREVIEW, {"subscription": begun["id"]} | _nested(change))
    sandbox.change(begun, **change)
    sandbox.pass_by(18)
    assert _shape(seen) == _shape(sandbox.latest_invoice(begun))
    recurring = {"subscription": begun["id"], "preview_mode": "recurring"} | _nested(change)
    assert sandbox.post(PREVIEW, recurring)["total"] == 5800


def test_a_new_subscription(sandbox: Driver) -> None:
    price, coupon = sandbox.price()["id"], sandbox.post("/v1/coupons", {"percent_off": 20, "duration": "once"})["id"]
    asked = {"subscription_details[items][0][price]": price, "subscription_details[items][0][quantity]": 2}
    assert sandbox.post(PREVIEW, asked)["total"] == 5800
    assert sandbox.post(PREVIEW, asked | {"discounts[0][coupon]": coupon})["total"] == 4640
    assert sandbox.get("/v1/customers")["data"] == []
    begun = sandbox.begin(sandbox.price(), **{"items[0][quantity]": 2, "discounts[0][coupon]": coupon})
    assert sandbox.latest_invoice(begun)["total"] == 4640
    assert begun["discounts"] == []
    trial = sandbox.post(PREVIEW, asked | {"subscription_details[trial_end]": START + 9 * DAY})
    assert trial["total"] == 0


def test_what_is_added_is_shown(sandbox: Driver) -> None:
    begun = sandbox.begin()
    once = sandbox.price(700, interval=None)["id"]
    more = {"invoice_items[0][price]": once, "invoice_items[0][quantity]": 2}
    more |= {"invoice_items[1][amount]": -100, "invoice_items[1][currency]": "usd"}
    seen = sandbox.post(PREVIEW, {"subscription": begun["id"]} | more)
    assert [line["amount"] for line in seen["lines"]["data"]] == [1400, -100, 2900]
    assert sandbox.post(PREVIEW, {"customer": begun["customer"]} | more)["total"] == 1300
    status, error = sandbox.error("POST", PREVIEW, {"customer": begun["customer"], "invoice_items[0][quantity]": 1})
    assert (status, error["param"]) == (400, "invoice_items[0][amount]")


def test_an_end_now(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.pass_by(14)
    ended = {"subscription": begun["id"], "subscription_details[cancel_now]": "true"}
    seen = sandbox.post(PREVIEW, ended)
    assert seen["total"] == -1450
    sandbox.call("DELETE", f"/v1/subscriptions/{begun['id']}", {"prorate": "true", "invoice_now": "true"})
    assert _shape(sandbox.latest_invoice(begun)) == _shape(seen)
    assert sandbox.get(f"/v1/customers/{begun['customer']}")["balance"] == -1450
    assert sandbox.error("POST", PREVIEW, ended)[0] == 404


def test_an_end_now_may_leave_credit_waiting(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.pass_by(14)
    sandbox.call("DELETE", f"/v1/subscriptions/{begun['id']}", {"prorate": "true"})
    waiting = sandbox.get("/v1/invoiceitems", customer=begun["customer"], pending="true")["data"]
    assert [item["amount"] for item in waiting] == [-1450]
    assert sandbox.subscription(begun)["latest_invoice"] == begun["latest_invoice"]


def test_nothing_comes(sandbox: Driver) -> None:
    begun = sandbox.begin()
    asked = {"subscription": begun["id"]}
    ending = sandbox.error("POST", PREVIEW, asked | {"subscription_details[cancel_at_period_end]": "true"})
    assert (ending[0], ending[1]["code"]) == (404, "invoice_upcoming_none")
    assert sandbox.post(PREVIEW, asked)["total"] == 2900
    sandbox.post(f"/v1/subscriptions/{begun['id']}/pause")
    assert sandbox.error("POST", PREVIEW, asked)[0] == 404
    assert sandbox.error("POST", PREVIEW, {"customer": begun["customer"]})[0] == 404
    assert sandbox.error("POST", PREVIEW, {})[0] == 400
    assert sandbox.error("POST", PREVIEW, asked | {"customer": "cus_other"})[0] == 400
    new = {"subscription_details[items][0][quantity]": 1}
    assert sandbox.error("POST", PREVIEW, new)[1]["param"] == "subscription_details[items][0][price]"


class _Subscriber:
    """Somebody who changes a plan at random, and looks at the price before."""

    def __init__(self, sandbox: Driver, wall: Wall, seed: int) -> None:
        self.sandbox = sandbox
        self.wall = wall
        self.choose = random.Random(seed)
        amounts = self.choose.sample(range(100, 50_000), 4)
        self.prices = [sandbox.price(amount)["id"] for amount in amounts]
        self.prices += [sandbox.price(amount * 10, interval="year")["id"] for amount in amounts[:2]]
        kind = self.choose.choice(["percent_off", "amount_off"])
        coupon: Json = {kind: self.choose.randint(1, 99), "duration": "forever"}
        coupon |= {"currency": "usd"} if kind == "amount_off" else {}
        self.coupon = sandbox.post("/v1/coupons", coupon)["id"]
        wall.at = START + self.choose.randint(0, 400 * DAY)
        self.begun = sandbox.begin({"id": self.prices[0]})

    def change(self) -> Json:
        """Return the parameters of a random change."""
        now = self.sandbox.subscription(self.begun)
        items = now["items"]["data"]
        sent: Json = {"proration_behavior": self.choose.choice(["always_invoice", "create_prorations", "none"])}
        for number, item in enumerate(items):
            sent[f"items[{number}][id]"] = item["id"]
            sent[f"items[{number}][quantity]"] = self.choose.randint(1, 40)
        free = [price for price in self.prices if price not in {item["price"]["id"] for item in items}]
        what = self.choose.choice(["switch", "add", "remove", "quantity", "anchor", "trial", "discount", "end"])
        if what == "switch":
            sent["items[0][price]"] = self.choose.choice(free)
        elif what == "add" and len(items) < 3:
            monthly = items[0]["price"]["recurring"]["interval"]
            same = [one for one in free if (one in self.prices[:4]) == (monthly == "month")]
            sent |= {f"items[{len(items)}][price]": same[0]} if same else {}
        elif what == "remove" and len(items) > 1:
            sent["items[1][deleted]"] = "true"
            del sent["items[1][quantity]"]
        elif what == "anchor":
            sent["billing_cycle_anchor[type]"] = "now"
        elif what == "trial":
            end = self.sandbox.get("/_sandbox/clock")["now"] + self.choose.randint(1, 20 * DAY)
            sent["trial_end"] = self.choose.choice(["now", end])
        elif what == "end":
            sent["cancel_at"] = self.sandbox.get("/_sandbox/clock")["now"] + self.choose.randint(1, 90 * DAY)
        elif what == "discount":
            self.sandbox.change(self.begun, **{"discounts[0][coupon]": self.coupon})
        return sent

    def step(self) -> None:
        """Let time pass, look at a change, make it, and compare what came with what was shown."""
        self.sandbox.pass_seconds(self.choose.randint(0, 40 * DAY))
        change = self.change()
        known = self.sandbox.subscription(self.begun)["latest_invoice"]
        response = self.sandbox.send("POST", PREVIEW, {"subscription": self.begun["id"]} | _nested(change))
        if response.status_code == 404:
            # It ends before it renews, and nothing waits.
            assert self.sandbox.change(self.begun, **change)["latest_invoice"] == known
            self.go_on()
            return
        seen = json.loads(response.data)
        after = self.sandbox.change(self.begun, **change)
        if after["latest_invoice"] == known:
            ends = [item["current_period_end"] for item in after["items"]["data"]]
            assert seen["created"] == min(ends + [after["cancel_at"]] * (after["cancel_at"] is not None))
            assert self.sandbox.post(PREVIEW, {"subscription": self.begun["id"]})["total"] == seen["total"]
            self.sandbox.pass_until(seen["created"])
        made = self.sandbox.latest_invoice(self.begun)
        assert made["id"] != known
        assert (
            made["total"]
            == seen["total"]
            == sum(line["amount"] for line in seen["lines"]["data"])
            - sum(one["amount"] for one in seen["total_discount_amounts"])
        )
        assert (made["amount_due"], made["ending_balance"]) == (seen["amount_due"], seen["ending_balance"])
        assert _shape(made) == _shape(seen)
        self.go_on()

    def go_on(self) -> None:
        """Take the end back, or begin anew after it."""
        if self.sandbox.subscription(self.begun)["status"] == "canceled":
            self.begun = self.sandbox.begin({"id": self.prices[0]})
        else:
            self.sandbox.change(self.begun, cancel_at="")


@pytest.mark.parametrize("seed", range(12))
def test_any_change_costs_what_its_preview_says(sandbox: Driver, wall: Wall, seed: int) -> None:
    subscriber = _Subscriber(sandbox, wall, seed)
    for _ in range(8):
        subscriber.step()
