"""What an invoice's page says of it: its sums, what was credited and refunded; and what the next one will say."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from portal.billing.invoice_models import CreditNote
from portal.billing.models import Invoice, Payment
from portal.core.database import db
from tests.cast import Cast
from tests.stage import Stage
from tests.trouble import call_fault, trouble
from tests.unpaid import Debtor

HTMX = {"HX-Request": "true"}


def notes() -> list[tuple[str, int, int, int]]:
    query = select(CreditNote)
    found = list(db.session.execute(query, execution_options={"populate_existing": True}).scalars())
    db.session.remove()
    return sorted((note.status, note.amount, note.before_payment, note.after_payment) for note in found)


def credit(stage: Stage, invoice: Invoice, cents: int, **ways: Any) -> dict[str, Any]:
    made = stage.stripe("POST", "/v1/credit_notes", invoice=invoice.stripe_id, amount=cents, **ways)
    stage.deliver_all()
    return made


def test_credit_notes_lower_what_the_invoice_shows_and_asks_for(cast: Cast, stage: Stage) -> None:
    """Before it is paid one lowers what is asked for, and one that is taken back raises it; afterwards one gives back."""
    debtor = Debtor.owing(stage, cast.owner, cast.team_id)
    first = credit(stage, debtor.invoice(), 2_000, memo="Sorry for the delay")
    second = credit(stage, debtor.invoice(), 1_000)
    stage.stripe("POST", f"/v1/credit_notes/{second['id']}/void")
    stage.deliver_all()
    assert notes() == [("issued", 2_000, 2_000, 0), ("void", 1_000, 1_000, 0)]
    invoice = debtor.invoice()
    assert (invoice.total, invoice.amount_due, invoice.credited_before, invoice.credited_after) == (
        5_000,
        3_000,
        2_000,
        0,
    )
    page = debtor.see(f"invoices/{invoice.id}")
    assert all(words in page for words in ("Sorry for the delay", first["number"], "$30.00 USD are still to be paid"))
    assert debtor.come_to(debtor.pay()).amount == 3_000
    credit(stage, debtor.invoice(), 500, refund_amount=500, reason="order_change")
    stage.stripe("POST", f"/v1/credit_notes/{first['id']}", memo="Sorry")
    stage.deliver_all()
    assert ("issued", 500, 0, 500) in notes()
    invoice = debtor.invoice()
    assert (invoice.status, invoice.amount_paid, invoice.credited_after) == ("paid", 3_000, 500)
    page = debtor.see(f"invoices/{invoice.id}")
    assert all(words in page for words in ("The order has changed", "Sorry", "Refund: ", "$5.00"))
    assert "still to be paid" not in page
    assert "$25.00 USD credited" in debtor.see("invoices")
    refunded = select(Payment.amount).where(Payment.invoice_stripe_id == invoice.stripe_id, Payment.type == "refund")
    assert db.session.execute(refunded).scalar_one() == -500


def test_news_of_credit_notes_may_come_in_any_order_and_number(cast: Cast, stage: Stage) -> None:
    debtor = Debtor.owing(stage, cast.owner, cast.team_id)
    made = stage.stripe("POST", "/v1/credit_notes", invoice=debtor.invoice().stripe_id, amount=1_000)
    stage.stripe("POST", f"/v1/credit_notes/{made['id']}/void")
    events = [event for event in stage.new_events() if event["type"].startswith("credit_note")]
    for event in [*reversed(events), *events]:
        assert stage.deliver({**event, "id": f"{event['id']}again"}) == 200
        assert stage.deliver(event) == 200
        stage.drain()
    assert notes() == [("void", 1_000, 1_000, 0)]
    assert debtor.invoice().credited_before == 0


def test_tax_and_discount_are_shown_where_there_are_any(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    debtor = Debtor(stage, cast.owner, cast.team_id)
    assert "Subtotal" not in debtor.see(f"invoices/{debtor.invoice().id}")
    rate = stage.stripe("POST", "/v1/tax_rates", display_name="VAT", percentage=19, inclusive="false")["id"]
    coupon = stage.stripe("POST", "/v1/coupons", percent_off=50, duration="forever")["id"]
    ours = debtor.subscription().stripe_id
    stage.stripe("POST", f"/v1/subscriptions/{ours}", **{"default_tax_rates[0]": rate, "discounts[0][coupon]": coupon})
    stage.deliver_all()
    coming = cast.member.client.get(f"/teams/{cast.team_id}/invoices/next", headers=HTMX).get_data(as_text=True)
    sums = ("Subtotal", "$299.00", "\u2212$149.50", "Tax", "$28.41", "$177.91")
    assert [words for words in sums if words not in coming] == []
    debtor.pass_period()
    page = debtor.see(f"invoices/{debtor.invoice().id}")
    assert all(words in page for words in sums), "the invoice says what was foreseen"
    assert debtor.invoice().total == 17_791


def test_what_comes_next_is_asked_for_only_when_somebody_looks(cast: Cast, stage: Stage) -> None:
    address = f"/teams/{cast.team_id}/invoices/next"
    assert (
        "hx-get"
        not in cast.member.client.get(f"/teams/{cast.team_id}/invoices").get_data(as_text=True).partition("<main")[2]
    )
    assert "No invoice comes by itself" in cast.member.client.get(address).get_data(as_text=True)
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    with trouble(stage, call_fault("error_before", "POST /v1/invoices/create_preview", times=None)):
        listing = cast.member.client.get(f"/teams/{cast.team_id}/invoices").get_data(as_text=True)
        assert f'hx-get="{address}"' in listing, "the list itself does not wait for Stripe"
        away = {
            headers: cast.member.client.get(address, headers=dict(headers)) for headers in ((), tuple(HTMX.items()))
        }
    assert [answer.status_code for answer in away.values()] == [502, 200]
    for answer in away.values():
        assert "Stripe cannot be reached right now" in answer.get_data(as_text=True)
    page, fragment = (cast.member.client.get(address, headers=headers).get_data(as_text=True) for headers in ({}, HTMX))
    assert "$299.00" in page
    assert "$299.00" in fragment
    assert "<html" not in fragment


@pytest.mark.parametrize("how", ["cancel_at_period_end", "pause"])
def test_a_plan_that_bills_no_more_has_no_next_invoice(cast: Cast, stage: Stage, how: str) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    ours = Debtor(stage, cast.owner, cast.team_id).subscription().stripe_id
    if how == "pause":
        stage.stripe("POST", f"/v1/subscriptions/{ours}/pause", type="subscription")
    else:
        stage.stripe("POST", f"/v1/subscriptions/{ours}", cancel_at_period_end="true")
    stage.deliver_all()
    page = cast.member.client.get(f"/teams/{cast.team_id}/invoices/next").get_data(as_text=True)
    assert "No invoice comes by itself" in page
