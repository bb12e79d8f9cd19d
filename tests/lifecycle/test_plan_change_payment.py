"""Changes whose payment is refused, asks who pays, is given up, or of which nobody knows what became."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests
from sqlalchemy import select

from portal.billing.change_models import PendingChange
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.sandbox.chaos.rules import CALL_FAULTS
from tests.cast import Cast
from tests.plan_changes import Changer, read
from tests.stage import Stage
from tests.trouble import call_fault, struck, trouble

DECLINES, ASKS = "pm_card_chargeCustomerFail", "pm_card_authenticationRequired"


@pytest.fixture
def changer(cast: Cast, stage: Stage) -> Changer:
    return Changer.on(stage, cast.owner, cast.team_id, "business")


def page_of(changer: Changer, change: PendingChange) -> str:
    return changer.person.client.get(f"/teams/{changer.team_id}/plan/changes/{change.id}").get_data(as_text=True)


def nothing_has_changed(changer: Changer, before: dict[str, int | None]) -> None:
    live = changer.live()
    assert {item["price"]["id"]: item.get("quantity") for item in live["items"]["data"]} == before
    assert (live["status"], live["pending_update"], live["schedule"]) == ("active", None, None)
    assert {one["status"] for one in changer.invoices()} <= {"paid", "void"}
    changer.assert_mirrored()


def items(changer: Changer) -> dict[str, int | None]:
    return {item["price"]["id"]: item.get("quantity") for item in changer.live()["items"]["data"]}


@pytest.mark.parametrize("with_code", [False, True])
def test_a_declined_card_leaves_nothing_half_made(changer: Changer, *, with_code: bool) -> None:
    changer.switch_card(DECLINES)
    before = items(changer)
    more = {"promotion_code": changer.code()} if with_code else {}
    _, change = changer.change("business", "year", **more)
    assert change.state == "failed"
    assert "Nothing was charged." in page_of(changer, change)
    nothing_has_changed(changer, before)
    changer.switch_card("pm_card_visa")
    _, again = changer.change("business", "year")
    assert again.state == "done"


def test_a_bank_that_asks_is_answered_on_stripes_page_and_the_change_is_made(changer: Changer) -> None:
    changer.switch_card(ASKS)
    preview, change = changer.change("business", "year")
    assert change.state == "requires_action"
    page = page_of(changer, change)
    assert str(change.confirm_url) in page
    assert "Nothing has been charged so far" in page
    assert changer.mirrored().interval == "month"
    changer.assert_mirrored()
    answered = requests.post(f"{change.confirm_url}/authenticate", data={"answer": "complete"}, timeout=20)
    assert answered.status_code == 200
    changer.stage.deliver_all()
    changer.stage.drain()
    assert read(PendingChange, change.id).state == "done"
    assert "You are on Business now" in page_of(changer, change)
    assert changer.mirrored().interval == "year"
    assert changer.invoices()[0]["amount_paid"] == preview.amount_due
    changer.assert_mirrored()


@pytest.mark.parametrize("way", ["refused at the bank", "given up", "left alone for a day"])
def test_a_bank_that_gets_no_yes_leaves_the_plan_as_it_was(changer: Changer, way: str) -> None:
    changer.switch_card(ASKS)
    before = items(changer)
    _, change = changer.change("business", "year")
    if way == "refused at the bank":
        requests.post(f"{change.confirm_url}/authenticate", data={"answer": "fail"}, timeout=20)
    elif way == "given up":
        address = f"/teams/{changer.team_id}/plan/changes/{change.id}/withdrawal"
        assert changer.person.client.post(address).status_code == 303
    else:
        changer.stage.advance(timedelta(hours=24))
    changer.stage.deliver_all()
    changer.stage.deliver_all()
    assert read(PendingChange, change.id).state == ("canceled" if way == "given up" else "failed")
    nothing_has_changed(changer, before)
    assert changer.shown(changer.ask("business", "year")).amount_due > 0


def test_what_is_paid_while_it_is_given_up_is_made(changer: Changer) -> None:
    changer.switch_card(ASKS)
    _, change = changer.change("business", "year")
    requests.post(f"{change.confirm_url}/authenticate", data={"answer": "complete"}, timeout=20)
    changer.person.client.post(f"/teams/{changer.team_id}/plan/changes/{change.id}/withdrawal")
    changer.stage.drain()
    assert read(PendingChange, change.id).state == "done"
    changer.stage.deliver_all()
    changer.assert_mirrored()


def test_a_subscription_that_has_moved_is_asked_about_again(changer: Changer) -> None:
    """Somebody gave it a discount at Stripe after the preview was shown: nothing is charged."""
    preview = changer.shown(changer.ask("business", "year"))
    coupon = changer.stage.stripe("POST", "/v1/coupons", percent_off=50, duration="forever")["id"]
    ours = changer.mirrored().stripe_id
    changer.stage.stripe("POST", f"/v1/subscriptions/{ours}", **{"discounts[0][coupon]": coupon})
    before = changer.invoices()
    _, change = changer.finish(preview)
    assert change.state == "stale"
    assert "does not hold any more" in page_of(changer, change)
    assert changer.invoices() == before
    _, again = changer.change("business", "year")
    assert again.state == "done"


def test_sums_that_have_moved_are_asked_about_again(changer: Changer) -> None:
    """The subscription is the same, but the customer has got a balance meanwhile, so that another sum would be due."""
    preview = changer.shown(changer.ask("business", "year"))
    customer = changer.live()["customer"]
    paid = changer.invoices()[0]
    line = {"lines[0][type]": "invoice_line_item", "lines[0][invoice_line_item]": paid["lines"]["data"][0]["id"]}
    note = line | {"lines[0][quantity]": 1, "invoice": paid["id"], "credit_amount": paid["total"]}
    changer.stage.stripe("POST", "/v1/credit_notes", **note)
    assert changer.stage.stripe("GET", f"/v1/customers/{customer}")["balance"] < 0
    _, change = changer.finish(preview)
    assert change.state == "stale"
    assert changer.mirrored().interval == "month"


def test_a_worker_that_comes_hours_later_asks_again(changer: Changer) -> None:
    preview = changer.shown(changer.ask("business", "year"))
    answer = changer.agree(preview)
    changer.stage.advance(timedelta(hours=2))
    assert changer.come_to(answer).state == "stale"


CHANGING = "POST /v1/subscriptions/*"
FAULTS = [(fault, CHANGING) for fault in CALL_FAULTS]
FAULTS += [("drop_before", "POST /v1/invoices/create_preview"), ("error_after", "GET /v1/subscriptions/*")]


@pytest.mark.parametrize(("fault", "call"), FAULTS)
def test_each_fault_of_stripes_charges_what_was_shown_or_nothing(changer: Changer, fault: str, call: str) -> None:
    preview = changer.shown(changer.ask("business", "year"))
    with trouble(changer.stage, call_fault(fault, call, milliseconds=20)):
        answer = changer.agree(preview)
        changer.stage.drain()
        assert struck(changer.stage) == 1
    changer.stage.advance(timedelta(minutes=3))
    change = changer.come_to(answer)
    made = [one for one in changer.invoices() if one["billing_reason"] == "subscription_update"]
    if fault == "error_before" and call == CHANGING:
        # Stripe keeps a failure under the key for a day, so that the change is over, and another one can be made.
        assert (change.state, made) == ("failed", [])
        assert "Nothing was charged." in page_of(changer, change)
    else:
        assert (change.state, [one["amount_paid"] for one in made]) == ("done", [preview.amount_due])
    changer.assert_mirrored()
    assert db.session.execute(select(Alarm.kind).where(Alarm.kind == "charge_differs")).all() == []
