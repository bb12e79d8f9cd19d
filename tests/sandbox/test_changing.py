"""Changing a subscription: what the change gives back and asks for, to the second and to the cent."""

import random
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from portal.sandbox.rounding import part_of
from tests.sandbox.driving import Driver, Json, Wall

DAY = 86400
JANUARY = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())  # 31 days: 15.5 of them are half a month.


@pytest.fixture(autouse=True)
def _new_year(wall: Wall) -> None:
    wall.at = JANUARY


def _pending(sandbox: Driver, begun: Json) -> list[Json]:
    return list(reversed(sandbox.get("/v1/invoiceitems", customer=begun["customer"], pending="true")["data"]))


def _amounts(invoice: Json) -> list[int]:
    return [line["amount"] for line in invoice["lines"]["data"]]


@pytest.mark.parametrize(
    ("amount", "part", "whole", "expected"),
    [
        (2900, 1, 2, 1450),
        (2901, 1, 2, 1451),
        (-2901, 1, 2, -1451),
        (2500, 2_591_997, 2_592_000, 2500),
        (100, 1, 3, 33),
        (200, 1, 3, 67),
        (0, 1, 3, 0),
        (99_999_999, 2_678_399, 2_678_400, 99_999_962),
    ],
)
def test_a_part_is_exact_to_the_smallest_unit(amount: int, part: int, whole: int, expected: int) -> None:
    assert part_of(amount, part, whole) == expected


def test_a_dearer_plan_waits_for_the_next_invoice(sandbox: Driver) -> None:
    begun, business = sandbox.begin(), sandbox.price(9900, name="Business")
    sandbox.pass_by(15.5)
    after = sandbox.change(begun, price=business["id"])
    item = after["items"]["data"][0]
    assert (item["id"], item["price"]["id"]) == (begun["items"]["data"][0]["id"], business["id"])
    assert after["latest_invoice"] == begun["latest_invoice"]
    back, rest = _pending(sandbox, begun)
    assert (back["amount"], back["description"]) == (-1450, "Unused time on Pro after 16 Jan 2027")
    assert (rest["amount"], rest["description"]) == (4950, "Remaining time on Business after 16 Jan 2027")
    sandbox.pass_by(16)
    invoice = sandbox.latest_invoice(begun)
    assert _amounts(invoice) == [-1450, 4950, 9900]
    assert (invoice["billing_reason"], invoice["amount_paid"]) == ("subscription_cycle", 13400)


def test_a_proration_says_what_it_gives_back(sandbox: Driver) -> None:
    begun, business = sandbox.begin(), sandbox.price(9900, name="Business")
    paid = sandbox.latest_invoice(begun)
    sandbox.pass_by(10)
    sandbox.change(begun, price=business["id"], proration_behavior="always_invoice")
    back, rest = sandbox.latest_invoice(begun)["lines"]["data"]
    details = back["parent"]["subscription_item_details"]
    assert details["proration"] is True
    assert details["invoice_item"].startswith("ii_")
    assert details["subscription_item"] == begun["items"]["data"][0]["id"]
    assert details["proration_details"]["credited_items"] == {
        "invoice": paid["id"],
        "invoice_line_items": [paid["lines"]["data"][0]["id"]],
    }
    assert (back["discountable"], back["pricing"]["unit_amount_decimal"]) == (False, None)
    assert back["period"] == {"start": JANUARY + 10 * DAY, "end": JANUARY + 31 * DAY}
    assert rest["parent"]["subscription_item_details"]["proration_details"]["credited_items"] is None
    assert rest["pricing"]["price_details"]["price"] == business["id"]


def test_a_second_change_gives_back_what_the_first_asked_for(sandbox: Driver) -> None:
    begun, business, team = sandbox.begin(), sandbox.price(9900), sandbox.price(4900)
    sandbox.pass_by(15.5)
    sandbox.change(begun, price=business["id"])
    waiting = _pending(sandbox, begun)[1]
    sandbox.pass_by(7.75)
    sandbox.change(begun, price=team["id"])
    credit = _pending(sandbox, begun)[2]
    assert credit["amount"] == -2475
    assert credit["proration_details"]["credited_items"] == {
        "invoice_item": waiting["id"],
        "invoice_line_item_details": None,
        "type": "invoice_item",
    }
    sandbox.pass_by(7.75)
    assert _amounts(sandbox.latest_invoice(begun)) == [-1450, 4950, -2475, 1225, 4900]


def test_what_was_not_asked_for_is_not_given_back(sandbox: Driver) -> None:
    """Flexible billing credits what was billed, whatever the price has become without proration."""
    begun, business = sandbox.begin(), sandbox.price(9900)
    sandbox.change(begun, price=business["id"], proration_behavior="none")
    assert _pending(sandbox, begun) == []
    sandbox.pass_by(15.5)
    sandbox.change(begun, price=sandbox.price(1000)["id"])
    assert [item["amount"] for item in _pending(sandbox, begun)] == [-1450, 500]


def test_seats_are_added_and_paid_at_once(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.pass_by(15.5)
    number = len(sandbox.events())
    after = sandbox.change(begun, quantity=3, proration_behavior="always_invoice")
    invoice = sandbox.latest_invoice(begun)
    assert _amounts(invoice) == [-1450, 4350]
    assert (invoice["billing_reason"], invoice["status"], invoice["amount_paid"]) == (
        "subscription_update",
        "paid",
        2900,
    )
    assert sandbox.event_types()[number:] == [
        "invoiceitem.created",
        "invoiceitem.created",
        "invoice.created",
        "invoice.finalized",
        "payment_intent.created",
        "customer.updated",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "customer.subscription.updated",
    ]
    told = sandbox.events()[-1]["data"]
    assert told["object"] == after
    assert told["previous_attributes"]["items"]["data"][0]["quantity"] == 1
    assert set(told["previous_attributes"]["items"]) == {"data"}
    assert told["previous_attributes"]["latest_invoice"] == begun["latest_invoice"]


def test_a_cheaper_plan_leaves_credit(sandbox: Driver) -> None:
    begun = sandbox.begin(sandbox.price(9900))
    sandbox.pass_by(15.5)
    sandbox.change(begun, price=sandbox.price(2900)["id"], proration_behavior="always_invoice")
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["total"], invoice["amount_due"], invoice["status"]) == (-3500, 0, "paid")
    assert sandbox.get(f"/v1/customers/{begun['customer']}")["balance"] == -3500
    sandbox.pass_by(16)
    renewal = sandbox.latest_invoice(begun)
    assert (renewal["total"], renewal["amount_due"], renewal["ending_balance"]) == (2900, 0, -600)


def test_another_rhythm_begins_anew(sandbox: Driver) -> None:
    begun = sandbox.begin(sandbox.price(2500))
    sandbox.pass_by(15.5)
    after = sandbox.change(begun, price=sandbox.price(25000, interval="year")["id"])
    now = JANUARY + 15 * DAY + DAY // 2
    item = after["items"]["data"][0]
    assert (after["billing_cycle_anchor"], item["current_period_start"]) == (now, now)
    assert item["current_period_end"] == now + 365 * DAY
    invoice = sandbox.latest_invoice(begun)
    assert _amounts(invoice) == [-1250, 25000]
    assert (invoice["billing_reason"], invoice["amount_paid"]) == ("subscription_update", 23750)
    assert "billing_cycle_anchor" in sandbox.events()[-1]["data"]["previous_attributes"]


def test_another_rhythm_without_proration_gives_nothing_back(sandbox: Driver) -> None:
    begun = sandbox.begin(sandbox.price(2500))
    sandbox.pass_by(10)
    sandbox.change(begun, price=sandbox.price(25000, interval="year")["id"], proration_behavior="none")
    assert _amounts(sandbox.latest_invoice(begun)) == [25000]


def test_what_was_free_begins_when_it_is_paid_for(sandbox: Driver) -> None:
    begun = sandbox.begin(sandbox.price(0))
    sandbox.pass_by(10)
    after = sandbox.change(begun, price=sandbox.price(2900)["id"])
    assert after["billing_cycle_anchor"] == JANUARY + 10 * DAY
    assert sandbox.latest_invoice(begun)["amount_paid"] == 2900


def test_a_new_billing_day(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.change(begun, cancel_at_period_end="true")
    sandbox.pass_by(15.5)
    after = sandbox.change(begun, **{"billing_cycle_anchor[type]": "now"})
    assert after["billing_cycle_anchor"] == JANUARY + 15 * DAY + DAY // 2
    assert _amounts(sandbox.latest_invoice(begun)) == [-1450, 2900]
    assert after["cancel_at"] == after["items"]["data"][0]["current_period_end"]


def test_items_come_and_go(sandbox: Driver) -> None:
    begun, addon = sandbox.begin(), sandbox.price(600, name="Add-on")
    sandbox.pass_by(15.5)
    both = sandbox.change(begun, **{"items[0][price]": addon["id"], "items[0][quantity]": 2})
    added = both["items"]["data"][1]
    period = {name: added[name] for name in ("current_period_start", "current_period_end")}
    assert period == {"current_period_start": JANUARY, "current_period_end": JANUARY + 31 * DAY}
    sandbox.change(begun, **{"items[0][id]": added["id"], "items[0][deleted]": "true"})
    assert [item["amount"] for item in _pending(sandbox, begun)] == [600, -600]
    assert len(sandbox.subscription(begun)["items"]["data"]) == 1


def test_items_by_their_own_addresses(sandbox: Driver) -> None:
    begun = sandbox.begin()
    first = begun["items"]["data"][0]["id"]
    sandbox.pass_by(15.5)
    more = {"quantity": 5, "proration_behavior": "always_invoice"}
    assert sandbox.post(f"/v1/subscription_items/{first}", more)["quantity"] == 5
    assert sandbox.latest_invoice(begun)["amount_paid"] == 5800
    made = sandbox.post("/v1/subscription_items", {"subscription": begun["id"], "price": sandbox.price(600)["id"]})
    assert made["subscription"] == begun["id"]
    gone = sandbox.call("DELETE", f"/v1/subscription_items/{made['id']}", {"proration_behavior": "none"})
    assert gone == {"id": made["id"], "object": "subscription_item", "deleted": True}
    assert sandbox.error("DELETE", f"/v1/subscription_items/{first}")[0] == 400
    assert [item["amount"] for item in _pending(sandbox, begun)] == [300]


def test_a_proration_is_net_of_the_discount(sandbox: Driver) -> None:
    half = sandbox.post("/v1/coupons", {"percent_off": 50, "duration": "forever"})["id"]
    begun = sandbox.begin(sandbox.price(2000))
    sandbox.change(begun, **{"discounts[0][coupon]": half})
    sandbox.pass_by(15.5)
    sandbox.change(begun, price=sandbox.price(8000)["id"])
    assert [item["amount"] for item in _pending(sandbox, begun)] == [-1000, 2000]
    sandbox.pass_by(16)
    assert sandbox.latest_invoice(begun)["total"] == -1000 + 2000 + 4000


def test_a_discount_for_one_invoice_is_used_up_by_it(sandbox: Driver) -> None:
    once = sandbox.post("/v1/coupons", {"amount_off": 900, "currency": "usd", "duration": "once"})["id"]
    begun = sandbox.begin()
    given = sandbox.change(begun, **{"discounts[0][coupon]": once})
    assert len(given["discounts"]) == 1
    assert sandbox.change(begun, **{"discounts[0][discount]": given["discounts"][0]}) == given
    sandbox.pass_by(31)
    assert sandbox.latest_invoice(begun)["total"] == 2000
    assert sandbox.subscription(begun)["discounts"] == []
    sandbox.pass_by(31)
    assert sandbox.latest_invoice(begun)["total"] == 2900


def test_a_change_in_a_trial_moves_no_money(sandbox: Driver) -> None:
    begun = sandbox.begin(trial_period_days=14)
    sandbox.pass_by(3)
    after = sandbox.change(begun, price=sandbox.price(24000, interval="year")["id"], quantity=2)
    assert (after["status"], after["trial_end"]) == ("trialing", begun["trial_end"])
    assert _pending(sandbox, begun) == []
    sandbox.pass_by(11)
    assert sandbox.latest_invoice(begun)["amount_paid"] == 48000


def test_a_trial_is_ended_or_prolonged(sandbox: Driver) -> None:
    begun = sandbox.begin(trial_period_days=14)
    longer = sandbox.change(begun, trial_end=JANUARY + 20 * DAY)
    assert longer["items"]["data"][0]["current_period_end"] == JANUARY + 20 * DAY
    sandbox.pass_by(15)
    assert sandbox.subscription(begun)["status"] == "trialing"
    ended = sandbox.change(begun, trial_end="now")
    assert (ended["status"], ended["billing_cycle_anchor"]) == ("active", JANUARY + 15 * DAY)
    assert ended["trial_end"] == JANUARY + 15 * DAY
    assert sandbox.latest_invoice(begun)["amount_paid"] == 2900


def test_a_trial_in_between_gives_back_what_was_paid(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.pass_by(15.5)
    tried = sandbox.change(begun, trial_end=JANUARY + 25 * DAY)
    assert tried["status"] == "trialing"
    assert [item["amount"] for item in _pending(sandbox, begun)] == [-1450]
    sandbox.pass_by(10)
    assert (sandbox.subscription(begun)["status"], sandbox.latest_invoice(begun)["amount_paid"]) == ("active", 1450)


def test_a_date_for_the_proration(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.pass_by(20)
    half = JANUARY + 15 * DAY + DAY // 2
    sandbox.change(begun, quantity=2, proration_date=half)
    assert [item["amount"] for item in _pending(sandbox, begun)] == [-1450, 2900]
    assert sandbox.error(
        "POST",
        f"/v1/subscriptions/{begun['id']}",
        {
            "items[0][id]": begun["items"]["data"][0]["id"],
            "items[0][quantity]": 3,
            "proration_date": JANUARY - 1,
        },
    )[1]["param"] == ("proration_date")


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"items[0][id]": "si_other"}, "items[0][id]"),
        ({"items[0][quantity]": "2"}, "items[0][price]"),
        ({"items[0][id]": True, "items[0][deleted]": "true"}, "items"),
        ({"items[0][price]": "same"}, "items"),
        ({"items[0][price]": "once"}, "items[0][price]"),
        ({"items[0][price]": "euro"}, "items"),
        ({"trial_end": JANUARY}, "trial_end"),
        ({"trial_end": JANUARY + DAY, "billing_cycle_anchor[type]": "now"}, "billing_cycle_anchor"),
        ({"payment_behavior": "pending_if_incomplete", "metadata[a]": "b"}, "metadata"),
        ({"discounts[0][coupon]": "no"}, "discounts[0][coupon]"),
    ],
)
def test_what_cannot_be_changed(sandbox: Driver, sent: Json, param: str) -> None:
    begun = sandbox.begin()
    item = begun["items"]["data"][0]
    prices = {"same": item["price"]["id"]}
    if "items[0][price]" in sent:
        prices |= {
            "once": sandbox.price(5, interval=None)["id"],
            "euro": sandbox.price(5, currency="eur")["id"],
        }
        sent = sent | {"items[0][price]": prices[sent["items[0][price]"]]}
    if sent.get("items[0][id]") is True:
        sent = sent | {"items[0][id]": item["id"]}
    status, error = sandbox.error("POST", f"/v1/subscriptions/{begun['id']}", sent)
    assert (status, error["param"]) == (400, param)
    assert sandbox.subscription(begun) == begun


def test_an_end_within_the_period_gives_back_the_rest(sandbox: Driver) -> None:
    begun = sandbox.begin()
    half = JANUARY + 15 * DAY + DAY // 2
    sandbox.pass_by(3)
    asked = {"cancel_at": half, "proration_behavior": "always_invoice"}
    preview = {"subscription": begun["id"]} | {f"subscription_details[{name}]": value for name, value in asked.items()}
    seen = sandbox.post("/v1/invoices/create_preview", preview)
    sandbox.change(begun, **asked)
    assert (seen["total"], sandbox.latest_invoice(begun)["total"]) == (-1450, -1450)
    sandbox.change(begun, cancel_at=JANUARY + 23 * DAY + DAY // 4, proration_behavior="create_prorations")
    sandbox.change(begun, cancel_at="")
    waiting = _pending(sandbox, begun)
    assert [item["amount"] for item in waiting] == [725, 725]
    assert [item["period"]["end"] for item in waiting] == [JANUARY + 23 * DAY + DAY // 4, JANUARY + 31 * DAY]
    sandbox.change(begun, cancel_at=half, proration_behavior="none")
    sandbox.pass_until(half)
    assert sandbox.subscription(begun)["ended_at"] == half
    assert (_pending(sandbox, begun), sandbox.latest_invoice(begun)["total"]) == ([], 1450)


def test_a_period_that_is_cut_short_is_billed_in_part(sandbox: Driver) -> None:
    """The end lies in a later period: that one costs what is had of it."""
    begun = sandbox.begin()
    sandbox.change(begun, cancel_at=JANUARY + (31 + 7) * DAY)
    assert _pending(sandbox, begun) == []
    seen = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]})
    sandbox.pass_by(31)
    invoice = sandbox.latest_invoice(begun)
    assert (invoice["total"], seen["total"]) == (725, 725)
    assert invoice["lines"]["data"][0]["period"]["end"] == JANUARY + (31 + 7) * DAY
    sandbox.pass_by(7)
    assert sandbox.subscription(begun)["status"] == "canceled"


@pytest.mark.parametrize("seed", range(10))
def test_a_month_costs_what_was_had_in_it(sandbox: Driver, seed: int) -> None:
    """However often a plan changes, all lines for the month come to price times time, but for the rounding of each."""
    choose = random.Random(seed)
    month, prices = 31 * DAY, [sandbox.price(choose.randint(50, 90_000)) for _ in range(4)]
    begun = sandbox.begin(prices[0])
    had: list[tuple[int, int]] = [(0, prices[0]["unit_amount"])]
    for at in sorted(choose.sample(range(1, month), 6)):
        sandbox.pass_until(JANUARY + at)
        price, quantity = choose.choice(prices), choose.randint(1, 9)
        how = choose.choice(["create_prorations", "always_invoice"])
        sandbox.change(begun, price=price["id"], quantity=quantity, proration_behavior=how)
        had.append((at, price["unit_amount"] * quantity))
    sandbox.pass_until(JANUARY + month)
    ends = [at for at, _ in had[1:]] + [month]
    cost = sum(Fraction(rate * (end - at), month) for (at, rate), end in zip(had, ends, strict=True))
    invoices = sandbox.get("/v1/invoices", subscription=begun["id"], limit=100)["data"]
    billed = [
        line["amount"]
        for invoice in invoices
        for line in sandbox.get(f"/v1/invoices/{invoice['id']}/lines", limit=100)["data"]
        if line["period"]["end"] <= JANUARY + month
    ]
    assert len(billed) >= 7
    assert abs(sum(billed) - cost) <= len(billed)


def _beside(sandbox: Driver, begun: Json, yearly: Json, **more: Any) -> Json:
    """Something that is paid by the year, added to a plan that is paid by the month."""
    return sandbox.change(begun, **{"items[0][price]": yearly["id"], "proration_behavior": "always_invoice", **more})


def test_an_item_of_a_longer_interval_is_billed_until_its_own_period_ends(sandbox: Driver) -> None:
    """As flexible billing has it: every item counts its periods from the one anchor, and is invoiced with what is due then."""
    begun, yearly = sandbox.begin(sandbox.price(1000)), sandbox.price(36500, interval="year", name="Retention")
    sandbox.pass_by(73)  # a fifth of the year
    seen = sandbox.post(
        "/v1/invoices/create_preview",
        {
            "subscription": begun["id"],
            "subscription_details[items][0][price]": yearly["id"],
            "subscription_details[proration_behavior]": "always_invoice",
        },
    )
    after = _beside(sandbox, begun, yearly)
    invoice = sandbox.latest_invoice(begun)
    assert _amounts(seen) == _amounts(invoice) == [29200]
    assert invoice["amount_paid"] == 29200
    monthly, added = after["items"]["data"]
    assert monthly["current_period_end"] < added["current_period_end"] == JANUARY + 365 * DAY
    sandbox.pass_by(20)
    assert _amounts(sandbox.latest_invoice(begun)) == [1000]
    sandbox.pass_until(JANUARY + 366 * DAY)
    renewal = sandbox.latest_invoice(begun)
    assert sorted(_amounts(renewal)) == [1000, 36500]


def test_an_item_of_a_longer_interval_gives_back_what_is_left_of_it(sandbox: Driver) -> None:
    begun, yearly = sandbox.begin(sandbox.price(1000)), sandbox.price(36500, interval="year", name="Retention")
    after = _beside(sandbox, begun, yearly, **{"items[0][quantity]": 2})
    added = after["items"]["data"][1]
    assert sandbox.latest_invoice(begun)["amount_paid"] == 73000
    sandbox.pass_by(10)
    less = {"items[0][id]": added["id"], "items[0][deleted]": "true", "proration_behavior": "create_prorations"}
    sandbox.change(begun, **less)
    (back,) = _pending(sandbox, begun)
    assert (back["amount"], back["period"]["end"]) == (-71000, JANUARY + 365 * DAY)
    sandbox.pass_by(22)
    assert sorted(_amounts(sandbox.latest_invoice(begun))) == [-71000, 1000]


def test_an_item_of_a_longer_interval_begins_anew_when_its_plan_comes_to_be_paid_by_the_year(sandbox: Driver) -> None:
    begun, yearly = sandbox.begin(sandbox.price(1000)), sandbox.price(36500, interval="year", name="Retention")
    _beside(sandbox, begun, yearly)
    sandbox.pass_by(15.5)
    sandbox.change(begun, price=sandbox.price(10000, interval="year")["id"])
    invoice = sandbox.latest_invoice(begun)
    assert sorted(_amounts(invoice)) == [-34950, -500, 10000, 36500]
    starts = {item["current_period_start"] for item in sandbox.subscription(begun)["items"]["data"]}
    assert starts == {JANUARY + int(15.5 * DAY)}
