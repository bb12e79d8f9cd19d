"""Coupons and promotion codes: what they take off at checkout, who may use them, and how often."""

import threading
from typing import Any

import pytest

from tests.sandbox.driving import DECLINED_CARD, Driver, Json, Wall


def coupon(sandbox: Driver, **terms: Any) -> Json:
    return sandbox.post("/v1/coupons", {"percent_off": 25, "duration": "once", "name": "Launch", **terms})


def code(sandbox: Driver, of: Json | None = None, word: str = "LAUNCH", **limits: Any) -> Json:
    data = {"code": word, "promotion[type]": "coupon", "promotion[coupon]": (of or coupon(sandbox))["id"], **limits}
    return sandbox.post("/v1/promotion_codes", data)


def open_session(sandbox: Driver, mode: str = "payment", amount: int = 1800, **more: Any) -> Json:
    customer = sandbox.post("/v1/customers", {"email": "ada@example.com"})
    price = sandbox.price(amount, interval="month" if mode == "subscription" else None)
    return sandbox.session(price, mode=mode, customer=customer["id"], **{"allow_promotion_codes": "true", **more})


def enter(sandbox: Driver, session: Json, word: str) -> tuple[int, str]:
    answer = sandbox.client.post(f"/c/pay/{session['id']}", data={"promotion": "apply", "code": word})
    return answer.status_code, answer.get_data(as_text=True)


def test_a_code_takes_its_part_off_and_can_be_taken_away_again(sandbox: Driver) -> None:
    promotion, session = code(sandbox), open_session(sandbox)
    assert enter(sandbox, session, " launch ")[0] == 303
    shown = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (shown["amount_subtotal"], shown["amount_total"]) == (1800, 1350)
    assert shown["total_details"]["amount_discount"] == 450
    assert shown["discounts"] == [{"coupon": None, "promotion_code": promotion["id"]}]
    page = sandbox.client.get(f"/c/pay/{session['id']}").get_data(as_text=True)
    assert "Launch" in page
    assert "-$4.50" in page
    assert "Pay $13.50" in page
    sandbox.client.post(f"/c/pay/{session['id']}", data={"promotion": "remove"})
    assert sandbox.get(f"/v1/checkout/sessions/{session['id']}")["amount_total"] == 1800


@pytest.mark.parametrize(
    ("terms", "amount", "off"),
    [
        ({"percent_off": 33.33}, 1001, 334),
        ({"percent_off": 50}, 1001, 501),
        ({"percent_off": None, "amount_off": 500, "currency": "usd"}, 1800, 500),
        ({"percent_off": None, "amount_off": 5000, "currency": "usd"}, 1800, 1800),
    ],
)
def test_how_much_comes_off(sandbox: Driver, terms: Json, amount: int, off: int) -> None:
    sent = {"percent_off": 25, "duration": "once", **terms}
    of = sandbox.post("/v1/coupons", {name: value for name, value in sent.items() if value is not None})
    session = open_session(sandbox, amount=amount)
    code(sandbox, of)
    enter(sandbox, session, "LAUNCH")
    assert sandbox.get(f"/v1/checkout/sessions/{session['id']}")["total_details"]["amount_discount"] == off


def test_a_free_purchase_needs_no_card_and_no_intent(sandbox: Driver) -> None:
    code(sandbox, coupon(sandbox, percent_off=100))
    session = open_session(sandbox)
    enter(sandbox, session, "LAUNCH")
    answer = sandbox.client.post(f"/c/pay/{session['id']}", data={"name": "Ada"})
    assert answer.status_code == 303
    done = sandbox.get(f"/v1/checkout/sessions/{session['id']}")
    assert (done["payment_status"], done["payment_intent"], done["amount_total"]) == ("no_payment_required", None, 0)


@pytest.mark.parametrize(("duration", "kept"), [("once", 0), ("forever", 1), ("repeating", 1)])
def test_the_first_invoice_of_a_subscription_is_discounted(sandbox: Driver, duration: str, kept: int) -> None:
    months = {"duration_in_months": 3} if duration == "repeating" else {}
    promotion = code(sandbox, coupon(sandbox, duration=duration, **months))
    session = open_session(sandbox, "subscription", 2900)
    enter(sandbox, session, "LAUNCH")
    done = sandbox.paid(session)
    invoice = sandbox.get(f"/v1/invoices/{done['invoice']}", **{"expand[0]": "total_discount_amounts.discount"})
    assert (invoice["subtotal"], invoice["total"], invoice["amount_paid"]) == (2900, 2175, 2175)
    (taken,) = invoice["total_discount_amounts"]
    assert taken["amount"] == 725
    assert taken["discount"]["source"] == {"coupon": promotion["promotion"]["coupon"], "type": "coupon"}
    assert taken["discount"]["promotion_code"] == promotion["id"]
    assert invoice["lines"]["data"][0]["discount_amounts"] == [{"amount": 725, "discount": taken["discount"]["id"]}]
    assert invoice["lines"]["data"][0]["amount"] == 2900
    subscription = sandbox.get(f"/v1/subscriptions/{done['subscription']}")
    assert len(subscription["discounts"]) == kept


@pytest.mark.parametrize(
    ("terms", "totals"),
    [
        ({"duration": "once"}, [2175, 2900, 2900]),
        ({"duration": "forever"}, [2175, 2175, 2175]),
        ({"duration": "repeating", "duration_in_months": 2}, [2175, 2175, 2900]),
    ],
)
def test_a_discount_lasts_as_long_as_its_coupon_says(
    sandbox: Driver, wall: Wall, terms: Json, totals: list[int]
) -> None:
    code(sandbox, coupon(sandbox, **terms))
    session = open_session(sandbox, "subscription", 2900)
    enter(sandbox, session, "LAUNCH")
    subscription = sandbox.paid(session)["subscription"]
    for _ in range(2):
        wall.at += 31 * 86400
        sandbox.get("/v1/invoices")
    found = sandbox.get("/v1/invoices", subscription=subscription)["data"]
    assert [invoice["total"] for invoice in reversed(found)] == totals


def test_what_cannot_be_used_is_said_and_nothing_comes_off(sandbox: Driver, wall: Wall) -> None:
    of = coupon(sandbox)
    other = sandbox.post("/v1/customers", {"email": "bob@example.com"})
    product = sandbox.post("/v1/products", {"name": "Something else"})
    code(sandbox, of, "LATE", expires_at=wall.at + 60)
    code(sandbox, of, "BOBS", customer=other["id"])
    code(sandbox, of, "LARGE", **{"restrictions[minimum_amount]": 5000, "restrictions[minimum_amount_currency]": "usd"})
    code(sandbox, coupon(sandbox, **{"applies_to[products][0]": product["id"]}), "ELSE")
    off = code(sandbox, of, "OFF")
    sandbox.post(f"/v1/promotion_codes/{off['id']}", {"active": "false"})
    wall.at += 61
    session = open_session(sandbox)
    for word, said in {
        "NONE": "not valid", "OFF": "not valid", "LATE": "expired", "BOBS": "somebody else",
        "LARGE": "larger order", "ELSE": "not for what is in this order",
    }.items():  # fmt: skip
        status, page = enter(sandbox, session, word)
        assert status == 422
        assert said in page
    assert sandbox.get(f"/v1/checkout/sessions/{session['id']}")["amount_total"] == 1800


def test_only_a_first_order(sandbox: Driver) -> None:
    code(sandbox, None, "LAUNCH", **{"restrictions[first_time_transaction]": "true"})
    first = open_session(sandbox)
    sandbox.paid(first)
    again = sandbox.session(
        sandbox.price(1800, None), mode="payment", customer=first["customer"], allow_promotion_codes="true"
    )
    assert "only for a first order" in enter(sandbox, again, "LAUNCH")[1]


def test_a_single_use_code_is_used_once_however_many_pay_at_once(sandbox: Driver) -> None:
    promotion = code(sandbox, max_redemptions=1)
    sessions = [open_session(sandbox) for _ in range(6)]
    for session in sessions:
        assert enter(sandbox, session, "LAUNCH")[0] == 303
    answers: list[int] = []

    def pay(session: Json) -> None:
        form = {"card_number": "4242424242424242", "exp": "12/34", "cvc": "123"}
        answers.append(sandbox.app.test_client().post(f"/c/pay/{session['id']}", data=form).status_code)

    threads = [threading.Thread(target=pay, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [303] + [402] * 5
    assert sandbox.get(f"/v1/promotion_codes/{promotion['id']}")["times_redeemed"] == 1
    totals = sorted(sandbox.get(f"/v1/checkout/sessions/{one['id']}")["amount_total"] for one in sessions)
    assert totals == [1350] + [1800] * 5


def test_a_declined_card_uses_up_nothing(sandbox: Driver) -> None:
    promotion, session = code(sandbox, max_redemptions=1), open_session(sandbox)
    enter(sandbox, session, "LAUNCH")
    assert sandbox.pay(session, DECLINED_CARD).status_code == 402
    assert sandbox.get(f"/v1/promotion_codes/{promotion['id']}")["times_redeemed"] == 0
    assert sandbox.paid(session)["amount_total"] == 1350


@pytest.mark.parametrize("kind", ["coupon", "promotion_code"])
def test_a_discount_may_be_sent_with_the_session(sandbox: Driver, kind: str) -> None:
    promotion = code(sandbox)
    ref = promotion["id"] if kind == "promotion_code" else promotion["promotion"]["coupon"]
    price = sandbox.price(1800, None)
    session = sandbox.session(price, mode="payment", **{f"discounts[0][{kind}]": ref})
    assert (session["amount_total"], session["discounts"][0][kind]) == (1350, ref)
    page = sandbox.client.get(f"/c/pay/{session['id']}").get_data(as_text=True)
    assert "Remove code" not in page


def test_what_cannot_be_sent(sandbox: Driver, wall: Wall) -> None:
    promotion, price = code(sandbox, expires_at=wall.at + 60), sandbox.price(1800, None)
    base = {
        "mode": "payment", "line_items[0][price]": price["id"], "line_items[0][quantity]": 1,
        "success_url": "http://127.0.0.1:9/return",
    }  # fmt: skip
    sent = base | {"discounts[0][promotion_code]": promotion["id"]}
    both = sandbox.error("POST", "/v1/checkout/sessions", sent | {"allow_promotion_codes": "true"})
    assert (both[0], both[1]["param"]) == (400, "allow_promotion_codes")
    wall.at += 61
    over = sandbox.error("POST", "/v1/checkout/sessions", sent)
    assert (over[0], over[1]["code"]) == (400, "coupon_expired")
    none = sandbox.error("POST", "/v1/checkout/sessions", base | {"discounts[0][coupon]": "none"})
    assert (none[0], none[1]["code"]) == (400, "resource_missing")


def test_coupons_are_listed_renamed_and_deleted(sandbox: Driver) -> None:
    made = coupon(sandbox, id="spring", **{"metadata[source]": "tests"})
    assert (made["valid"], made["times_redeemed"], made["percent_off"]) == (True, 0, 25)
    assert sandbox.post("/v1/coupons/spring", {"name": "Spring"})["name"] == "Spring"
    listed = sandbox.get("/v1/coupons", **{"expand[0]": "data.applies_to"})["data"]
    assert [(one["id"], one["applies_to"]) for one in listed] == [("spring", None)]
    assert sandbox.error("POST", "/v1/coupons", {"id": "spring", "percent_off": 5})[0] == 400
    assert sandbox.call("DELETE", "/v1/coupons/spring") == {"id": "spring", "object": "coupon", "deleted": True}
    assert sandbox.get("/v1/coupons")["data"] == []


@pytest.mark.parametrize(
    "terms",
    [{}, {"percent_off": 5, "amount_off": 5}, {"amount_off": 5}, {"percent_off": 0}, {"percent_off": 100.01},
     {"percent_off": 5, "duration": "repeating"}, {"percent_off": 5, "duration_in_months": 3}],
)  # fmt: skip
def test_what_is_no_coupon(sandbox: Driver, terms: Json) -> None:
    assert sandbox.error("POST", "/v1/coupons", terms)[0] == 400


def test_an_active_code_stands_for_one_thing(sandbox: Driver) -> None:
    first = code(sandbox)
    assert sandbox.error(
        "POST", "/v1/promotion_codes", {"code": "launch", "promotion[type]": "coupon", "promotion[coupon]": first["promotion"]["coupon"]}
    )[1]["code"] == "resource_already_exists"  # fmt: skip
    sandbox.post(f"/v1/promotion_codes/{first['id']}", {"active": "false"})
    second = code(sandbox, coupon(sandbox), "launch")
    assert [one["id"] for one in sandbox.get("/v1/promotion_codes", code="Launch")["data"]] == [
        second["id"],
        first["id"],
    ]
    assert sandbox.error("POST", f"/v1/promotion_codes/{first['id']}", {"active": "true"})[0] == 400
    assert {"coupon.created", "promotion_code.created", "promotion_code.updated"} <= set(sandbox.event_types())


LIMITS = ("customer", "first order", "minimum", "another currency")


def _limited(sandbox: Driver, limit: str) -> Json:
    """Return a code that nobody may use who buys the plan of 29.00 a second time."""
    currency = "eur" if limit == "another currency" else "usd"
    limits: dict[str, Json] = {
        "customer": {"customer": sandbox.post("/v1/customers")["id"]},
        "first order": {"restrictions[first_time_transaction]": "true"},
    }
    least = {"restrictions[minimum_amount]": 100_000, "restrictions[minimum_amount_currency]": currency}
    return code(sandbox, None, limit.upper().replace(" ", "_"), **limits.get(limit, least))


@pytest.mark.parametrize("limit", LIMITS)
def test_the_limits_of_a_code_hold_wherever_it_is_sent(sandbox: Driver, limit: str) -> None:
    begun = sandbox.begin()
    promotion = _limited(sandbox, limit)
    discount = {"discounts[0][promotion_code]": promotion["id"]}
    customer, price = begun["customer"], begun["items"]["data"][0]["price"]["id"]
    new = {"customer": customer, "items[0][price]": price, "default_payment_method": begun["default_payment_method"]}
    offer = {"customer": customer, "line_items[0][price]": price}
    asked = {"customer": customer, "subscription_details[items][0][price]": price}
    for path, sent in (
        ("/v1/subscriptions", new),
        (f"/v1/subscriptions/{begun['id']}", {}),
        ("/v1/invoices/create_preview", {"subscription": begun["id"]}),
        ("/v1/invoices/create_preview", asked),
        ("/v1/quotes", offer),
    ):
        status, error = sandbox.error("POST", path, sent | discount)
        assert (status, error["param"]) == (400, "discounts[0][promotion_code]"), path
    assert sandbox.get(f"/v1/promotion_codes/{promotion['id']}")["times_redeemed"] == 0


def test_a_code_within_its_limits_is_taken(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"})
    card = sandbox.get("/v1/payment_methods", customer=customer["id"])["data"][0]["id"]
    limits: Json = {"restrictions[minimum_amount]": 5800, "restrictions[minimum_amount_currency]": "usd"}
    limits |= {"restrictions[first_time_transaction]": "true", "customer": customer["id"]}
    promotion = code(sandbox, coupon(sandbox, duration="forever"), **limits)
    order = {"customer": customer["id"], "items[0][price]": sandbox.price()["id"], "default_payment_method": card}
    discount = {"discounts[0][promotion_code]": promotion["id"]}
    assert sandbox.error("POST", "/v1/subscriptions", order | discount)[0] == 400
    begun = sandbox.post("/v1/subscriptions", order | discount | {"items[0][quantity]": 2})
    assert sandbox.latest_invoice(begun)["total"] == 4350


def test_the_least_sum_is_that_of_the_plan_as_it_is_to_be(sandbox: Driver) -> None:
    begun = sandbox.begin()
    limits: Json = {"restrictions[minimum_amount]": 5800, "restrictions[minimum_amount_currency]": "usd"}
    discount = {"discounts[0][promotion_code]": code(sandbox, **limits)["id"]}
    assert sandbox.error("POST", f"/v1/subscriptions/{begun['id']}", discount)[0] == 400
    assert sandbox.change(begun, quantity=2, **discount)["discounts"]


def _active(sandbox: Driver, promotion: Json) -> list[bool]:
    """Return what is said of a code where it is read, and whether it is listed with the active and with the others."""
    listed = [
        [one["id"] for one in sandbox.get("/v1/promotion_codes", code=promotion["code"], active=word)["data"]]
        for word in ("true", "false")
    ]
    return [
        sandbox.get(f"/v1/promotion_codes/{promotion['id']}")["active"],
        *(promotion["id"] in ids for ids in listed),
    ]


ENDS = ("spent", "expired", "coupon spent", "coupon expired", "coupon deleted", "switched off")


@pytest.mark.parametrize("end", ENDS)
def test_a_code_that_is_over_is_not_active_and_can_be_made_anew(sandbox: Driver, wall: Wall, end: str) -> None:
    terms: dict[str, Json] = {"coupon spent": {"max_redemptions": 1}, "coupon expired": {"redeem_by": wall.at + 60}}
    limits: dict[str, Json] = {"spent": {"max_redemptions": 1}, "expired": {"expires_at": wall.at + 60}}
    promotion = code(sandbox, coupon(sandbox, **terms.get(end, {})), **limits.get(end, {}))
    path = f"/v1/promotion_codes/{promotion['id']}"
    assert _active(sandbox, promotion) == [True, True, False]
    if end.endswith("spent"):
        sandbox.begin(**{"discounts[0][promotion_code]": promotion["id"]})
    elif end == "coupon deleted":
        sandbox.call("DELETE", f"/v1/coupons/{promotion['promotion']['coupon']}")
    elif end == "switched off":
        sandbox.post(path, {"active": "false"})
    wall.at += 61
    assert _active(sandbox, promotion) == [False, False, True]
    if end != "switched off":
        assert sandbox.error("POST", path, {"active": "true"})[0] == 400
    assert code(sandbox)["active"] is True


def _discount_events(sandbox: Driver) -> list[tuple[str, str]]:
    """Return what was told of discounts: what happened, and to which."""
    prefix = "customer.discount."
    return [
        (event["type"].removeprefix(prefix), event["data"]["object"]["id"])
        for event in sandbox.events()
        if event["type"].startswith(prefix)
    ]


def test_a_discount_is_told_of_when_it_is_given_and_when_it_is_over(sandbox: Driver) -> None:
    lasting = coupon(sandbox, duration="repeating", duration_in_months=2)["id"]
    begun = sandbox.begin(**{"discounts[0][coupon]": lasting})
    (first,) = begun["discounts"]
    assert _discount_events(sandbox) == [("created", first)]
    told = next(one for one in sandbox.events() if one["type"] == "customer.discount.created")["data"]["object"]
    assert (told["object"], told["subscription"], told["source"]["coupon"]) == ("discount", begun["id"], lasting)
    sandbox.pass_until(told["end"] - 60)
    assert sandbox.subscription(begun)["discounts"] == [first]
    sandbox.pass_until(told["end"] + 60)
    assert sandbox.subscription(begun)["discounts"] == []
    sandbox.pass_by(31)
    assert _discount_events(sandbox) == [("created", first), ("deleted", first)]
    second = sandbox.change(begun, **{"discounts[0][coupon]": lasting})["discounts"][0]
    third = sandbox.change(begun, **{"discounts[0][coupon]": coupon(sandbox, duration="forever")["id"]})["discounts"][0]
    sandbox.change(begun, discounts="")
    assert _discount_events(sandbox)[2:] == [
        ("created", second),
        ("created", third),
        ("deleted", second),
        ("deleted", third),
    ]


def test_a_discount_for_one_invoice_is_over_with_that(sandbox: Driver) -> None:
    begun = sandbox.begin(**{"discounts[0][coupon]": coupon(sandbox)["id"]})
    assert begun["discounts"] == []
    assert [what for what, _ in _discount_events(sandbox)] == ["created", "deleted"]


@pytest.mark.parametrize(("duration", "told"), [("once", ["created", "deleted"]), ("forever", ["created"])])
def test_the_discount_of_a_checkout_is_told_of(sandbox: Driver, duration: str, told: list[str]) -> None:
    code(sandbox, coupon(sandbox, duration=duration))
    session = open_session(sandbox, "subscription", 2900)
    enter(sandbox, session, "LAUNCH")
    sandbox.paid(session)
    assert [what for what, _ in _discount_events(sandbox)] == told


def test_a_preview_tells_of_no_discount(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.post(
        "/v1/invoices/create_preview", {"subscription": begun["id"], "discounts[0][coupon]": coupon(sandbox)["id"]}
    )
    assert _discount_events(sandbox) == []
