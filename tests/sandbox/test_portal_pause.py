"""Pausing a plan in the hosted customer portal and letting it go on, and what canceling there gives back."""

import re

import pytest

from tests.sandbox.driving import GOOD_CARD, PORTAL, Driver, Json, Wall
from tests.sandbox.visiting import Portal, hidden, open_portal, visitor

DAY = 86400
PAUSES: Json = PORTAL | {"features[subscription_pause][enabled]": "true"}
FOR_TIMES: Json = PAUSES | {
    "features[subscription_pause][duration][type]": "interval_options",
    "features[subscription_pause][duration][interval_options][0][interval]": "week",
    "features[subscription_pause][duration][interval_options][0][interval_count]": "2",
    "features[subscription_pause][duration][interval_options][1][interval]": "month",
}
UNTIL_RESUMED: Json = PAUSES | {"features[subscription_pause][duration][type]": "indefinite"}


def paused(sandbox: Driver, wall: Wall, configuration: Json, **form: str) -> Portal:
    """A plan that was paused in the portal on its eleventh day."""
    portal = visitor(sandbox, sandbox.price(), configuration)
    wall.at += 10 * DAY
    portal.path = open_portal(sandbox, portal.customer)
    assert portal.post(step(portal, "pause"), form).status_code == 303
    return portal


def step(portal: Portal, rest: str) -> str:
    return f"subscriptions/{portal.subscription}/{rest}"


def test_pausing_for_a_time(sandbox: Driver, wall: Wall) -> None:
    portal = visitor(sandbox, sandbox.price(), FOR_TIMES)
    twin = sandbox.begin()
    wall.at += 10 * DAY
    portal.path = open_portal(sandbox, portal.customer)
    assert "Pause plan" in portal.page()
    page = portal.page(step(portal, "pause"))
    assert re.findall(r'value="([\w-]+)" (?:checked)?> ([^<]+?) </label>', page) == [
        ("2-week", "2 weeks, until 8 February 2027"),
        ("1-month", "1 month, until 25 February 2027"),
    ]
    credit = re.findall(r"\$([\d.]+) that you have paid for and not used", page)[0]
    before = portal.count()
    assert portal.post(step(portal, "pause"), {"length": "2-week"}).location == f"{portal.path}?note=paused"
    told = portal.types_after(before)
    before = portal.count()
    sandbox.post(f"/v1/subscriptions/{twin['id']}/pause")
    assert told == portal.types_after(before), "the same events as the API's"
    assert portal.plan()["status"] == "paused"
    waiting = sandbox.get("/v1/invoiceitems", customer=portal.customer)["data"]
    assert f"{-sum(one['amount'] for one in waiting) / 100:.2f}" == credit
    assert "It goes on by itself on 8 February 2027, at $29.00 / month." in portal.page()


def test_it_goes_on_by_itself(sandbox: Driver, wall: Wall) -> None:
    portal = paused(sandbox, wall, FOR_TIMES, length="2-week")
    at = wall.at + 14 * DAY
    assert any("The paused plan goes on" in row for row in panel_clock(sandbox))
    sandbox.pass_until(at - 1)
    assert portal.plan()["status"] == "paused"
    before = portal.count()
    sandbox.pass_until(at + DAY)
    plan = portal.plan()
    assert (plan["status"], plan["billing_cycle_anchor"]) == ("active", at)
    assert of_plans(portal.types_after(before)) == ["customer.subscription.resumed", "customer.subscription.updated"]
    assert sandbox.latest_invoice(plan)["status"] == "paid"
    assert "status_details" not in plan
    sandbox.pass_by(60)
    assert portal.types_after(before).count("customer.subscription.resumed") == 1


def of_plans(types: list[str]) -> list[str]:
    return [kind for kind in types if kind.startswith("customer.subscription")]


def panel_clock(sandbox: Driver) -> list[str]:
    return sandbox.client.get("/clock").get_data(as_text=True).splitlines()


def test_pausing_until_it_is_resumed(sandbox: Driver, wall: Wall) -> None:
    portal = paused(sandbox, wall, UNTIL_RESUMED)
    sandbox.pass_by(400)
    assert portal.plan()["status"] == "paused"
    portal.path = open_portal(sandbox, portal.customer)
    assert "Nothing is charged until it goes on." in portal.page()
    assert "Resume plan" in portal.page()
    assert "Pause plan" not in portal.page()
    page = portal.page(step(portal, "resume"))
    assert "Unused time on Pro" in page
    due = int(hidden(page)["due"])
    assert portal.post(step(portal, "resume"), {"due": "1"}).status_code == 409
    assert portal.plan()["status"] == "paused"
    before = portal.count()
    assert portal.post(step(portal, "resume"), hidden(page)).location == f"{portal.path}?note=resumed"
    invoice = sandbox.latest_invoice(portal.plan())
    assert (invoice["total"], invoice["status"], portal.plan()["status"]) == (due, "paid", "active")
    assert of_plans(portal.types_after(before)) == ["customer.subscription.resumed", "customer.subscription.updated"]
    assert portal.post(step(portal, "resume"), hidden(page)).status_code == 409


def test_resumed_before_its_time(sandbox: Driver, wall: Wall) -> None:
    portal = paused(sandbox, wall, FOR_TIMES, length="1-month")
    portal.post(step(portal, "resume"), hidden(portal.page(step(portal, "resume"))))
    before = portal.count()
    sandbox.pass_by(40)
    assert "customer.subscription.resumed" not in portal.types_after(before)


def test_a_payment_that_is_refused_on_going_on(sandbox: Driver, wall: Wall) -> None:
    portal = paused(sandbox, wall, UNTIL_RESUMED)
    card = sandbox.card(portal.plan(), "pm_card_chargeCustomerFail")
    sandbox.change(portal.plan(), default_payment_method=card)
    response = portal.post(step(portal, "resume"), hidden(portal.page(step(portal, "resume"))))
    assert response.location == f"{portal.path}?note=resumed_unpaid"
    assert portal.plan()["status"] == "past_due"
    assert "the payment for it was refused" in portal.page("?note=resumed_unpaid")


def test_without_a_card_it_stays_paused(sandbox: Driver, wall: Wall) -> None:
    portal = paused(sandbox, wall, UNTIL_RESUMED)
    sandbox.change(portal.plan(), default_payment_method="")
    page = portal.page(step(portal, "resume"))
    assert "There is no card to pay with." in page
    assert portal.post(step(portal, "resume"), hidden(page)).status_code == 409
    assert portal.plan()["status"] == "paused"
    portal.post("payment-methods/add", GOOD_CARD)
    assert portal.post(step(portal, "resume"), hidden(page)).location == f"{portal.path}?note=resumed"


@pytest.mark.parametrize("length", ["", "9-year"])
def test_a_length_that_is_not_offered(sandbox: Driver, length: str) -> None:
    portal = visitor(sandbox, sandbox.price(), FOR_TIMES)
    response = portal.post(step(portal, "pause"), {"length": length})
    assert (response.status_code, portal.plan()["status"]) == (422, "active")
    assert "Choose for how long." in response.get_data(as_text=True)


@pytest.mark.parametrize("why", ["switched_off", "ending", "uncollected", "scheduled", "another_customers"])
def test_plans_that_cannot_be_paused(sandbox: Driver, why: str) -> None:
    portal = visitor(sandbox, sandbox.price(), PORTAL if why == "switched_off" else UNTIL_RESUMED)
    path = f"/v1/subscriptions/{portal.subscription}"
    sent: dict[str, Json] = {
        "ending": {"cancel_at_period_end": "true"},
        "uncollected": {"pause_collection[behavior]": "void"},
    }
    if why in sent:
        sandbox.post(path, sent[why])
    if why == "scheduled":
        sandbox.post("/v1/subscription_schedules", {"from_subscription": portal.subscription})
        assert "follows a schedule" in sandbox.error("POST", f"{path}/pause")[1]["message"]
    assert "Pause plan" not in portal.page() or why == "another_customers"
    if why == "another_customers":
        portal.subscription = sandbox.begin()["id"]
    for response in (portal.get(step(portal, "pause")), portal.post(step(portal, "pause"))):
        assert response.status_code == (404 if why == "switched_off" else 409)
    assert portal.post(step(portal, "resume")).status_code == (404 if why == "switched_off" else 409)
    assert portal.plan()["status"] == "active"


def test_a_flow_to_the_pause(sandbox: Driver) -> None:
    portal = visitor(sandbox, sandbox.price(), UNTIL_RESUMED)
    flow = {
        "flow_data[type]": "subscription_pause",
        "flow_data[subscription_pause][subscription]": portal.subscription,
        "flow_data[after_completion][type]": "redirect",
        "flow_data[after_completion][redirect][return_url]": "http://127.0.0.1:9/rested",
    }
    portal.path = open_portal(sandbox, portal.customer, **flow)
    assert portal.get().location == f"{portal.path}/{step(portal, 'pause')}"
    assert portal.post(step(portal, "pause")).location == "http://127.0.0.1:9/rested"
    status, error = sandbox.error("POST", "/v1/billing_portal/sessions", {"customer": portal.customer} | flow)
    assert (status, error["param"]) == (400, "flow_data[subscription_pause][subscription]")


def test_canceling_at_once_with_credit(sandbox: Driver, wall: Wall) -> None:
    cancel = "features[subscription_cancel]"
    credited = {f"{cancel}[mode]": "immediately", f"{cancel}[proration_behavior]": "create_prorations"}
    portal = visitor(sandbox, sandbox.price(), PORTAL | credited)
    wall.at += 240
    assert "kept as credit" in portal.page(step(portal, "cancel"))
    portal.post(step(portal, "cancel"), {"feedback": "unused"})
    assert portal.plan()["status"] == "canceled"
    waiting = sandbox.get("/v1/invoiceitems", customer=portal.customer)["data"]
    assert [one["amount"] < -2000 for one in waiting] == [True]
