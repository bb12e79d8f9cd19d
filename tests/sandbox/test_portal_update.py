"""Changing the plan in the hosted customer portal: what is on offer, the preview, and what is then billed."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.sandbox.driving import DECLINED_CARD, PORTAL, Driver, Json, Wall
from tests.sandbox.visiting import Portal, hidden, offering, open_portal, visitor

DAY = 86400
DOWNGRADES_LATER = {"[schedule_at_period_end][conditions][0][type]": "decreasing_item_amount"}
COUNTED = {
    "[default_allowed_updates][1]": "quantity",
    "[products][0][adjustable_quantity][enabled]": "true",
    "[products][0][adjustable_quantity][minimum]": "2",
    "[products][0][adjustable_quantity][maximum]": "9",
}


@dataclass
class Shop:
    """Two plans, and a visitor who has the smaller one unless told otherwise."""

    sandbox: Driver
    pro: Json
    team: Json

    def visit(self, have: str = "pro", *, trial_days: str = "", **update: str) -> Portal:
        trial: Json = {"trial_period_days": trial_days} if trial_days else {}
        offered = PORTAL | offering(self.pro, self.team, **{"[proration_behavior]": "always_invoice"} | update)
        return visitor(self.sandbox, getattr(self, have), offered, **trial)


@pytest.fixture
def shop(sandbox: Driver) -> Shop:
    return Shop(sandbox, sandbox.price(2900), sandbox.price(9900, name="Team"))


def step(portal: Portal, rest: str = "") -> str:
    return f"subscriptions/{portal.subscription}/update{rest}"


def preview(portal: Portal, **choice: Any) -> str:
    """Return the page that shows what a choice brings."""
    asked = "&".join(f"{name}={value}" for name, value in choice.items())
    return portal.page(step(portal, f"/confirm?{asked}"))


def confirm(portal: Portal, page: str, **otherwise: Any) -> TestResponse:
    return portal.post(step(portal, "/confirm"), hidden(page) | otherwise)


def words(response: TestResponse) -> str:
    return re.sub(r"\s+", " ", response.get_data(as_text=True))


def bought(portal: Portal) -> tuple[str, int]:
    """Return the price and the number that the subscription has."""
    item = portal.plan()["items"]["data"][0]
    return item["price"]["id"], item["quantity"]


def latest(portal: Portal) -> Json:
    return portal.sandbox.latest_invoice(portal.plan())


def test_what_is_on_offer(shop: Shop) -> None:
    portal = shop.visit()
    assert f'href="{portal.path}/{step(portal)}"' in portal.page()
    page = portal.page(step(portal))
    for there in ("Now: Pro, $29.00 / month", "Your plan", "$99.00 / month", "See what it costs"):
        assert there in page, there
    assert re.findall(r'value="(price_\w+)" checked', page) == [shop.pro["id"]]
    assert 'name="quantity"' not in page
    assert 'name="promotion_code"' not in page


def test_the_preview_is_what_is_charged(shop: Shop, wall: Wall) -> None:
    portal = shop.visit()
    twin = shop.sandbox.begin(shop.pro)
    wall.at += 10 * DAY
    portal.path = open_portal(shop.sandbox, portal.customer)
    page = preview(portal, price=shop.team["id"])
    for there in (
        "From Pro, $29.00 / month",
        "To Team, $99.00 / month",
        "Unused time on Pro",
        "Remaining time on Team",
    ):
        assert there in page, there
    assert "From then on $99.00 a period; the current one ends on 15 February 2027." in page
    due = int(hidden(page)["due"])
    assert f"Confirm and pay ${due / 100:.2f}" in page
    wall.at += 240
    before = portal.count()
    response = confirm(portal, page)
    assert (response.status_code, response.location) == (303, f"{portal.path}?note=changed")
    assert bought(portal) == (shop.team["id"], 1)
    invoice = latest(portal)
    assert (invoice["total"], invoice["amount_paid"], invoice["status"]) == (due, due, "paid")
    assert invoice["billing_reason"] == "subscription_update"
    told = portal.types_after(before)
    before = portal.count()
    shop.sandbox.change(twin, price=shop.team["id"], proration_behavior="always_invoice")
    assert told == portal.types_after(before), "the same events as the API's"
    assert "Your plan is changed." in portal.page("?note=changed")


@pytest.mark.parametrize(("behavior", "prorated"), [("create_prorations", True), ("none", False)])
def test_what_is_not_due_today_is_due_with_the_renewal(shop: Shop, wall: Wall, behavior: str, prorated: bool) -> None:
    portal = shop.visit(**{"[proration_behavior]": behavior})
    wall.at += 120
    page = preview(portal, price=shop.team["id"])
    assert "nothing is charged today" in page
    assert "Due on 15 February 2027" in page
    assert ("Remaining time on Team" in page) == prorated
    due = re.findall(r"Due on .*?<span class=\"figure\">\$([\d.]+)", page)[0]
    first = latest(portal)["id"]
    assert confirm(portal, page).status_code == 303
    assert latest(portal)["id"] == first
    shop.sandbox.pass_by(31)
    assert f"{latest(portal)['total'] / 100:.2f}" == due


def test_what_is_given_back_is_kept_as_credit(shop: Shop, wall: Wall) -> None:
    portal = shop.visit("team")
    wall.at += 240
    page = preview(portal, price=shop.pro["id"])
    credit = int(re.findall(r'Kept as credit</span> <span class="figure">\$([\d.]+)', page)[0].replace(".", ""))
    assert hidden(page)["due"] == "0"
    assert confirm(portal, page).status_code == 303
    assert (latest(portal)["total"], latest(portal)["amount_due"]) == (-credit, 0)
    assert shop.sandbox.get(f"/v1/customers/{portal.customer}")["balance"] == -credit


def test_another_rhythm_begins_a_period_today(shop: Shop, wall: Wall) -> None:
    shop.team = shop.sandbox.price(29000, "year", name="Yearly")
    portal = shop.visit()
    wall.at += 60
    page = preview(portal, price=shop.team["id"])
    assert "the current one ends on 15 January 2028" in page
    confirm(portal, page)
    assert latest(portal)["total"] == int(hidden(page)["due"])


def test_a_billing_day_that_is_set_anew(shop: Shop, wall: Wall) -> None:
    portal = shop.visit(**{"[billing_cycle_anchor]": "now"})
    wall.at += 60
    page = preview(portal, price=shop.team["id"])
    confirm(portal, page)
    assert portal.plan()["billing_cycle_anchor"] == wall.at
    assert latest(portal)["total"] == int(hidden(page)["due"])


def test_more_of_the_same(shop: Shop) -> None:
    portal = shop.visit(**COUNTED)
    page = portal.page(step(portal))
    assert "2 to 9" in page
    assert 'name="quantity"' in page
    page = preview(portal, price=shop.pro["id"], quantity=4)
    assert "To 4 \u00d7 Pro, $116.00 / month" in page
    confirm(portal, page)
    assert bought(portal) == (shop.pro["id"], 4)
    assert latest(portal)["total"] == int(hidden(page)["due"]) == 3 * 2900


@pytest.mark.parametrize(
    ("quantity", "said"),
    [
        ("1", "Choose 2 to 9 of Pro."),
        ("10", "Choose 2 to 9 of Pro."),
        ("-3", "Enter a whole number."),
        ("2.5", "Enter a whole number."),
        ("9999999", "Enter a whole number."),
        ("\u0663", "Enter a whole number."),
    ],
)
def test_numbers_that_are_refused(shop: Shop, quantity: str, said: str) -> None:
    portal = shop.visit(**COUNTED)
    before = portal.count()
    for response in (
        portal.get(step(portal, f"/confirm?price={shop.pro['id']}&quantity={quantity}")),
        portal.post(step(portal, "/confirm"), {"price": shop.pro["id"], "quantity": quantity}),
    ):
        assert response.status_code == 422
        assert said in words(response)
        assert "Your plan was not changed." in words(response)
    assert (bought(portal), portal.count()) == ((shop.pro["id"], 1), before)


@pytest.mark.parametrize(
    ("update", "choice", "said"),
    [
        ({}, {"quantity": "3"}, "The number cannot be changed here; of Pro it stays 1."),
        ({}, {}, "This is the plan that you have."),
        ({}, {"price": "price_other"}, "This plan is not on offer."),
        ({"[default_allowed_updates][0]": "quantity"}, {"price": "team"}, "This plan is not on offer."),
        ({}, {"price": "team", "promotion_code": "HALF"}, "This code is not valid."),
        ({"[default_allowed_updates][1]": "promotion_code"}, {"promotion_code": "NO"}, "This code is not valid."),
    ],
)
def test_choices_that_are_refused(shop: Shop, update: Json, choice: Json, said: str) -> None:
    half(shop.sandbox)
    counted = {name: value for name, value in COUNTED.items() if "quantity" in value or "adjustable" in name}
    portal = shop.visit(**(counted | update if "[default_allowed_updates][0]" in update else update))
    asked = choice | ({"price": shop.team["id"]} if choice.get("price") == "team" else {})
    response = portal.post(step(portal, "/confirm"), asked)
    assert (response.status_code, said in words(response)) == (422, True), words(response)
    assert bought(portal) == (shop.pro["id"], 1)


def half(sandbox: Driver) -> Json:
    coupon = sandbox.post("/v1/coupons", {"percent_off": "50", "duration": "forever"})
    sent = {"promotion[type]": "coupon", "promotion[coupon]": coupon["id"], "code": "HALF"}
    return sandbox.post("/v1/promotion_codes", sent)


def test_a_promotion_code(shop: Shop) -> None:
    half(shop.sandbox)
    portal = shop.visit(**{"[default_allowed_updates][1]": "promotion_code"})
    assert 'name="promotion_code"' in portal.page(step(portal))
    page = preview(portal, price=shop.team["id"], promotion_code="half")
    assert "From then on $49.50 a period" in page
    confirm(portal, page)
    assert len(portal.plan()["discounts"]) == 1
    assert latest(portal)["total"] == int(hidden(page)["due"]) == 4950 - 2900
    shop.sandbox.pass_by(31)
    assert 'Discount</th> <td class="amount">-$49.50' in words(shop.sandbox.client.get(f"/i/{latest(portal)['id']}"))


@pytest.mark.parametrize("behavior", ["end_trial", "continue_trial"])
def test_a_change_within_a_trial(shop: Shop, wall: Wall, behavior: str) -> None:
    portal = shop.visit("team", trial_days="14", **DOWNGRADES_LATER, **{"[trial_update_behavior]": behavior})
    wall.at += DAY
    portal.path = open_portal(shop.sandbox, portal.customer)
    page = preview(portal, price=shop.pro["id"])
    confirm(portal, page)
    ends = behavior == "end_trial"
    assert (portal.plan()["status"], hidden(page)["due"]) == (("active", "2900") if ends else ("trialing", "0"))
    assert latest(portal)["total"] == (2900 if ends else 0)
    assert ("the current one ends on 29 January 2027" in page) != ends


def test_a_downgrade_waits_for_the_end_of_the_period(shop: Shop, wall: Wall) -> None:
    portal = shop.visit("team", **DOWNGRADES_LATER)
    wall.at += 60
    page = preview(portal, price=shop.pro["id"])
    assert "The change is made on 15 February 2027." in page
    assert 'Due on 15 February 2027</span> <span class="figure">$29.00' in page
    before = portal.count()
    assert confirm(portal, page).location == f"{portal.path}?note=planned"
    assert portal.types_after(before) == [
        "subscription_schedule.created",
        "customer.subscription.updated",
        "subscription_schedule.updated",
    ]
    assert bought(portal) == (shop.team["id"], 1)
    assert "Changes to Pro at $29.00 / month on 15 February 2027." in portal.page()
    refused = portal.get(step(portal))
    assert (refused.status_code, "on its way already" in words(refused)) == (409, True)
    shop.sandbox.pass_by(31)
    assert bought(portal) == (shop.pro["id"], 1)
    assert (latest(portal)["total"], latest(portal)["billing_reason"]) == (2900, "subscription_cycle")


@pytest.mark.parametrize(("asked", "waits"), [("shortening_interval", True), ("decreasing_item_amount", False)])
def test_what_waits_is_what_the_configuration_names(shop: Shop, asked: str, waits: bool) -> None:
    shop.team = shop.sandbox.price(2500, "year", name="Yearly")
    portal = shop.visit("team", **{"[schedule_at_period_end][conditions][0][type]": asked})
    response = confirm(portal, preview(portal, price=shop.pro["id"]))
    assert response.location.endswith("=planned" if waits else "=changed")


def test_a_planned_change_is_taken_back(shop: Shop) -> None:
    portal = shop.visit("team", **DOWNGRADES_LATER)
    confirm(portal, preview(portal, price=shop.pro["id"]))
    assert "Don't change" in portal.page()
    before = portal.count()
    assert portal.post(step(portal, "/undo")).location == f"{portal.path}?note=unplanned"
    assert portal.types_after(before) == ["subscription_schedule.released", "customer.subscription.updated"]
    assert portal.post(step(portal, "/undo")).status_code == 409
    shop.sandbox.pass_by(31)
    assert bought(portal) == (shop.team["id"], 1)


def test_cancelling_takes_a_planned_change_along(shop: Shop) -> None:
    portal = shop.visit("team", **DOWNGRADES_LATER)
    confirm(portal, preview(portal, price=shop.pro["id"]))
    assert portal.post(f"subscriptions/{portal.subscription}/cancel", {}).status_code == 303
    plan = portal.plan()
    assert (plan["schedule"], plan["cancel_at"]) == (None, plan["items"]["data"][0]["current_period_end"])


def test_a_planned_change_outlives_a_discount_that_is_taken_away(shop: Shop) -> None:
    portal = shop.visit("team", **DOWNGRADES_LATER)
    coupon = shop.sandbox.post("/v1/coupons", {"percent_off": "50", "duration": "forever"})
    shop.sandbox.change(portal.plan(), **{"discounts[0][coupon]": coupon["id"]})
    page = preview(portal, price=shop.pro["id"])
    assert 'Due on 15 February 2027</span> <span class="figure">$14.50' in page
    confirm(portal, page)
    shop.sandbox.change(portal.plan(), discounts="")
    shop.sandbox.pass_by(31)
    assert (bought(portal), latest(portal)["total"]) == ((shop.pro["id"], 1), 2900)


def test_a_refused_payment_leaves_everything_as_it_was(shop: Shop) -> None:
    portal = shop.visit()
    failing = shop.sandbox.card(portal.plan(), "pm_card_chargeCustomerFail")
    shop.sandbox.change(portal.plan(), default_payment_method=failing)
    before = portal.count()
    response = confirm(portal, preview(portal, price=shop.team["id"]))
    assert response.status_code == 402
    assert "Your card was declined. Nothing was changed and nothing was charged." in words(response)
    assert f'href="{portal.path}"' in words(response)
    assert (bought(portal), portal.count()) == ((shop.pro["id"], 1), before)


def test_a_bank_that_asks_is_told_of(shop: Shop) -> None:
    portal = shop.visit()
    asking = shop.sandbox.card(portal.plan(), "pm_card_authenticationRequired")
    shop.sandbox.change(portal.plan(), default_payment_method=asking)
    response = confirm(portal, preview(portal, price=shop.team["id"]))
    assert (response.status_code, "bank wants to ask who is paying" in words(response)) == (402, True)
    assert bought(portal) == (shop.pro["id"], 1)


def test_without_a_card_nothing_can_be_confirmed(shop: Shop) -> None:
    portal = shop.visit()
    shop.sandbox.post(f"/v1/payment_methods/{portal.plan()['default_payment_method']}/detach")
    if portal.plan()["default_payment_method"]:
        shop.sandbox.change(portal.plan(), default_payment_method="")
    page = preview(portal, price=shop.team["id"])
    assert "There is no card to pay with." in page
    assert "Confirm and pay" not in page
    assert confirm(portal, page).status_code == 409
    assert bought(portal) == (shop.pro["id"], 1)


def test_an_old_preview_is_shown_again(shop: Shop, wall: Wall) -> None:
    portal = shop.visit()
    page = preview(portal, price=shop.team["id"])
    wall.at += 601
    response = confirm(portal, page)
    assert (response.status_code, "What is due has changed" in words(response)) == (409, True)
    assert bought(portal) == (shop.pro["id"], 1)
    again = words(response)
    assert int(hidden(again)["due"]) < int(hidden(page)["due"])
    assert confirm(portal, again).status_code == 303
    assert latest(portal)["total"] == int(hidden(again)["due"])


@pytest.mark.parametrize("sent", [{"due": "0"}, {"due": ""}, {"proration_date": "1"}, {"proration_date": "2000000000"}])
def test_what_was_not_shown_is_not_done(shop: Shop, sent: Json) -> None:
    portal = shop.visit()
    response = confirm(portal, preview(portal, price=shop.team["id"]), **sent)
    assert (response.status_code, bought(portal)) == (409, (shop.pro["id"], 1))


def test_a_change_that_came_from_elsewhere_meanwhile(shop: Shop) -> None:
    portal = shop.visit()
    page = preview(portal, price=shop.team["id"])
    shop.sandbox.post(
        "/v1/invoiceitems",
        {"customer": portal.customer, "subscription": portal.subscription, "amount": 500, "currency": "usd"},
    )
    assert confirm(portal, page).status_code == 409
    assert bought(portal) == (shop.pro["id"], 1)


@pytest.mark.parametrize("why", ["ending", "uncollected", "paused", "two_items", "switched_off", "another_customers"])
def test_plans_that_cannot_be_changed(shop: Shop, why: str) -> None:
    portal = shop.visit(**{"[enabled]": "false"} if why == "switched_off" else {})
    path = f"/v1/subscriptions/{portal.subscription}"
    sent: dict[str, Json] = {
        "ending": {"cancel_at_period_end": "true"},
        "uncollected": {"pause_collection[behavior]": "void"},
        "two_items": {"items[0][price]": shop.sandbox.price(100, name="More")["id"]},
    }
    if why in sent:
        shop.sandbox.post(path, sent[why])
    if why == "paused":
        shop.sandbox.post(f"{path}/pause")
    if why == "another_customers":
        portal.subscription = shop.sandbox.begin(shop.pro)["id"]
    else:
        assert "Change plan" not in portal.page()
    before = portal.count()
    status = 404 if why == "switched_off" else 409
    for response in (
        portal.get(step(portal)),
        portal.get(step(portal, f"/confirm?price={shop.team['id']}")),
        portal.post(step(portal, "/confirm"), {"price": shop.team["id"]}),
        portal.post(step(portal, "/undo")),
    ):
        assert response.status_code == status
    assert portal.count() == before


def flow(portal: Portal, kind: str, **more: str) -> Portal:
    data = {"flow_data[type]": kind, f"flow_data[{kind}][subscription]": portal.subscription}
    portal.path = open_portal(portal.sandbox, portal.customer, **data, **more)
    return portal


def test_a_flow_to_the_choice(shop: Shop) -> None:
    portal = flow(shop.visit(), "subscription_update")
    assert portal.get().location == f"{portal.path}/{step(portal)}"
    assert confirm(portal, preview(portal, price=shop.team["id"])).location == f"{portal.path}?note=changed"
    assert "Your plan is changed." in portal.page("?note=changed")


def test_a_flow_to_the_confirmation_leads_back_afterwards(shop: Shop) -> None:
    portal = shop.visit()
    coupon = shop.sandbox.post("/v1/coupons", {"percent_off": "10", "duration": "forever"})
    confirmed = "flow_data[subscription_update_confirm]"
    flow(
        portal,
        "subscription_update_confirm",
        **{
            f"{confirmed}[items][0][id]": portal.plan()["items"]["data"][0]["id"],
            f"{confirmed}[items][0][price]": shop.team["id"],
            f"{confirmed}[discounts][0][coupon]": coupon["id"],
            "flow_data[after_completion][type]": "redirect",
            "flow_data[after_completion][redirect][return_url]": "http://127.0.0.1:9/back",
        },
    )
    assert portal.get().location == f"{portal.path}/{step(portal, '/confirm')}"
    page = portal.page(step(portal, "/confirm"))
    assert "To Team, $99.00 / month" in page
    assert "From then on $89.10 a period" in page
    # What the seller has made the flow for is done, whatever else is sent.
    assert confirm(portal, page, price=shop.pro["id"], quantity="7").location == "http://127.0.0.1:9/back"
    assert bought(portal) == (shop.team["id"], 1)
    assert latest(portal)["total"] == int(hidden(page)["due"])
    # The coupon was for the flow alone.
    assert portal.post(step(portal, "/confirm"), {"price": shop.pro["id"]}).status_code == 409
    assert len(portal.plan()["discounts"]) == 1


def test_flows_that_are_refused(shop: Shop) -> None:
    portal = shop.visit()
    item = portal.plan()["items"]["data"][0]["id"]
    other = shop.sandbox.begin(shop.pro)
    confirmed = "flow_data[subscription_update_confirm]"
    for kind, subscription, more, param in (
        ("subscription_update", other["id"], {}, "[subscription]"),
        ("subscription_update_confirm", portal.subscription, {}, "[items]"),
        ("subscription_update_confirm", portal.subscription, {"id": "si_no"}, "[items][0][id]"),
        ("subscription_update_confirm", portal.subscription, {"id": item, "price": "price_no"}, "[items][0][price]"),
        ("subscription_update_confirm", portal.subscription, {"id": item, "quantity": "3"}, "[items][0][quantity]"),
    ):
        sent = {"customer": portal.customer, "flow_data[type]": kind, f"flow_data[{kind}][subscription]": subscription}
        sent |= {f"{confirmed}[items][0][{name}]": value for name, value in more.items()}
        status, error = shop.sandbox.error("POST", "/v1/billing_portal/sessions", sent)
        assert (status, error["param"]) == (400, f"flow_data[{kind}]{param}"), error
    sent |= {f"{confirmed}[items][0][id]": item, f"{confirmed}[items][0][price]": shop.team["id"]}
    del sent[f"{confirmed}[items][0][quantity]"]
    for discount, param in (({"coupon": "no"}, "[coupon]"), ({"coupon": "a", "promotion_code": "b"}, "")):
        named = {f"{confirmed}[discounts][0][{name}]": value for name, value in discount.items()}
        status, error = shop.sandbox.error("POST", "/v1/billing_portal/sessions", sent | named)
        assert (status, error["param"]) == (400, f"{confirmed}[discounts][0]{param}")
    shop.sandbox.change(portal.plan(), cancel_at_period_end="true")
    sent = {"customer": portal.customer, "flow_data[type]": "subscription_update"}
    sent["flow_data[subscription_update][subscription]"] = portal.subscription
    status, error = shop.sandbox.error("POST", "/v1/billing_portal/sessions", sent)
    assert (status, "set to end" in error["message"]) == (400, True)


def test_a_customer_on_a_test_clock_is_billed_by_it(shop: Shop, wall: Wall) -> None:
    sandbox = shop.sandbox
    sandbox.post("/v1/billing_portal/configurations", PORTAL | offering(shop.pro, shop.team))
    clock = sandbox.post("/v1/test_helpers/test_clocks", {"frozen_time": wall.at + 100 * DAY})["id"]
    customer = sandbox.post("/v1/customers", {"test_clock": clock, "payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    begun = sandbox.post(
        "/v1/subscriptions",
        {"customer": customer, "items[0][price]": shop.pro["id"], "default_payment_method": card},
    )
    portal = Portal(sandbox, customer, begun["id"], open_portal(sandbox, customer))
    confirm(portal, preview(portal, price=shop.team["id"]))
    assert bought(portal) == (shop.team["id"], 1)
    assert sandbox.events()[-1]["created"] == wall.at + 100 * DAY


def test_the_pages_need_no_script(shop: Shop) -> None:
    portal = shop.visit()
    for page in (portal.page(step(portal)), preview(portal, price=shop.team["id"])):
        assert "<script" not in page
        assert "style=" not in page
    assert portal.post("payment-methods/add", DECLINED_CARD).status_code == 402
