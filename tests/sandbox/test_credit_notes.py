"""Credit notes: less on an invoice that waits to be paid, money or credit back on one that was paid."""

import pytest

from tests.sandbox.driving import Driver, Json


@pytest.fixture
def paid(sandbox: Driver) -> Json:
    """A paid invoice of two seats at $29.00."""
    session = sandbox.paid(sandbox.session(**{"line_items[0][quantity]": 2}))
    return sandbox.get(f"/v1/invoices/{session['invoice']}")


@pytest.fixture
def waiting(sandbox: Driver) -> Json:
    """An open invoice of $29.00, the first of a subscription whose card was refused."""
    customer = sandbox.post("/v1/customers", {"email": "a@b.co"})
    card = sandbox.post("/v1/payment_methods/pm_card_chargeCustomerFail/attach", {"customer": customer["id"]})
    order = {
        "customer": customer["id"],
        "items[0][price]": sandbox.price()["id"],
        "default_payment_method": card["id"],
    }
    subscription = sandbox.post("/v1/subscriptions", order)
    return sandbox.get(f"/v1/invoices/{subscription['latest_invoice']}")


def again(sandbox: Driver, invoice: Json) -> Json:
    return sandbox.get(f"/v1/invoices/{invoice['id']}", **{"expand[0]": "payments.data.payment.payment_intent"})


def test_an_open_invoice_asks_for_less(sandbox: Driver, waiting: Json) -> None:
    seen = len(sandbox.events())
    note = sandbox.post("/v1/credit_notes", {"invoice": waiting["id"], "amount": 900, "memo": "Sorry"})
    assert (note["type"], note["pre_payment_amount"], note["post_payment_amount"]) == ("pre_payment", 900, 0)
    assert note["number"] == f"{waiting['number']}-CN-01"
    invoice = again(sandbox, waiting)
    assert (invoice["status"], invoice["total"], invoice["amount_due"], invoice["amount_remaining"]) == (
        "open",
        2900,
        2000,
        2000,
    )
    assert invoice["pre_payment_credit_notes_amount"] == 900
    payment = invoice["payments"]["data"][0]
    assert (payment["amount_requested"], payment["payment"]["payment_intent"]["amount"]) == (2000, 2000)
    assert sandbox.event_types()[seen:] == ["invoice.updated", "credit_note.created"]
    good = sandbox.post("/v1/payment_methods/pm_card_visa/attach", {"customer": invoice["customer"]})
    done = sandbox.post(f"/v1/invoices/{invoice['id']}/pay", {"payment_method": good["id"]})
    assert (done["status"], done["amount_paid"]) == ("paid", 2000)
    assert sandbox.get("/v1/charges")["data"][0]["amount"] == 2000


def test_an_open_invoice_that_is_credited_whole_is_paid(sandbox: Driver, waiting: Json) -> None:
    sandbox.post("/v1/credit_notes", {"invoice": waiting["id"], "amount": 2900})
    invoice = again(sandbox, waiting)
    assert (invoice["status"], invoice["amount_paid"], invoice["amount_remaining"]) == ("paid", 0, 0)
    payment = invoice["payments"]["data"][0]
    assert (payment["status"], payment["payment"]["payment_intent"]["status"]) == ("canceled", "canceled")
    subscription = invoice["parent"]["subscription_details"]["subscription"]
    assert sandbox.get(f"/v1/subscriptions/{subscription}")["status"] == "active"
    assert "invoice.paid" in sandbox.event_types()


def test_a_void_note_gives_the_invoice_back_what_it_asked_for(sandbox: Driver, waiting: Json) -> None:
    note = sandbox.post("/v1/credit_notes", {"invoice": waiting["id"], "amount": 900})
    void = sandbox.post(f"/v1/credit_notes/{note['id']}/void")
    assert (void["status"], void["voided_at"] is not None) == ("void", True)
    invoice = again(sandbox, waiting)
    assert (invoice["amount_due"], invoice["pre_payment_credit_notes_amount"]) == (2900, 0)
    assert invoice["payments"]["data"][0]["payment"]["payment_intent"]["amount"] == 2900
    assert sandbox.event_types()[-1] == "credit_note.voided"
    assert sandbox.error("POST", f"/v1/credit_notes/{note['id']}/void")[0] == 400
    assert sandbox.post("/v1/credit_notes", {"invoice": waiting["id"], "amount": 900})["number"].endswith("-CN-02")


def test_a_paid_invoice_gives_money_and_credit_back(sandbox: Driver, paid: Json) -> None:
    seen = len(sandbox.events())
    ways = {"refund_amount": 1000, "credit_amount": 500, "out_of_band_amount": 300}
    note = sandbox.post(
        "/v1/credit_notes",
        {"invoice": paid["id"], "amount": 1800, "expand[0]": "refunds.refund"}
        | {"expand[1]": "customer_balance_transaction"}
        | ways,
    )
    assert (note["type"], note["post_payment_amount"], note["out_of_band_amount"]) == ("post_payment", 1800, 300)
    assert [entry["refund"]["amount"] for entry in note["refunds"]] == [1000]
    balance = note["customer_balance_transaction"]
    assert (balance["amount"], balance["ending_balance"], balance["credit_note"]) == (-500, -500, note["id"])
    assert sandbox.get(f"/v1/customers/{paid['customer']}")["balance"] == -500
    invoice = again(sandbox, paid)
    assert (invoice["status"], invoice["amount_paid"], invoice["post_payment_credit_notes_amount"]) == (
        "paid",
        5800,
        1800,
    )
    assert sandbox.event_types()[seen:] == [
        "refund.created",
        "charge.refunded",
        "customer.updated",
        "invoice.updated",
        "credit_note.created",
    ]
    assert sandbox.error("POST", f"/v1/credit_notes/{note['id']}/void")[0] == 400
    assert sandbox.error("POST", "/v1/credit_notes", {"invoice": paid["id"], "credit_amount": 4001, "amount": 4001})


def test_a_refund_that_was_made_before(sandbox: Driver, paid: Json) -> None:
    charge = sandbox.get("/v1/charges")["data"][0]["id"]
    refund = sandbox.post("/v1/refunds", {"charge": charge, "amount": 700})["id"]
    order = {"invoice": paid["id"], "amount": 700, "refunds[0][refund]": refund}
    assert sandbox.post("/v1/credit_notes", order)["refunds"][0]["amount_refunded"] == 700
    assert sandbox.get("/v1/refunds")["data"][0]["id"] == refund
    assert sandbox.error("POST", "/v1/credit_notes", order)[1]["param"] == "refunds[0][amount_refunded]"
    del order["refunds[0][refund]"]
    assert sandbox.error("POST", "/v1/credit_notes", order | {"refunds[0][type]": "refund"})[0] == 400


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({}, "amount"),
        ({"amount": 5801, "refund_amount": 5801}, "amount"),
        ({"amount": 700}, "amount"),
        ({"amount": 700, "refund_amount": 600}, "amount"),
        ({"amount": 700, "refund_amount": 700, "lines[0][type]": "custom_line_item"}, "lines[0][unit_amount]"),
        (
            {"amount": 700, "lines[0][type]": "custom_line_item", "lines[0][unit_amount]": 600, "refund_amount": 600},
            "amount",
        ),
        ({"refund_amount": 1, "lines[0][type]": "invoice_line_item"}, "lines[0][invoice_line_item]"),
        ({"amount": 700, "refund_amount": 700, "email_type": "credit_note"}, "email_type"),
    ],
)
def test_what_does_not_add_up_is_refused(sandbox: Driver, paid: Json, sent: Json, param: str) -> None:
    status, error = sandbox.error("POST", "/v1/credit_notes", {"invoice": paid["id"]} | sent)
    assert (status, error["param"]) == (400, param)
    assert sandbox.get("/v1/credit_notes")["data"] == []
    assert sandbox.get("/v1/refunds")["data"] == []


def test_an_open_invoice_has_nothing_to_refund(sandbox: Driver, waiting: Json) -> None:
    for way in ("refund_amount", "credit_amount"):
        order = {"invoice": waiting["id"], "amount": 900, way: 900}
        assert sandbox.error("POST", "/v1/credit_notes", order)[0] == 400
    assert sandbox.error("POST", "/v1/credit_notes", {"invoice": waiting["id"], "amount": 2901})[1]["param"] == "amount"


def test_lines_are_credited_by_quantity_or_amount_and_never_twice(sandbox: Driver, paid: Json) -> None:
    line = paid["lines"]["data"][0]["id"]
    by_line = {"invoice": paid["id"], "lines[0][type]": "invoice_line_item", "lines[0][invoice_line_item]": line}
    note = sandbox.post("/v1/credit_notes", by_line | {"lines[0][quantity]": 1, "refund_amount": 2900})
    credited = note["lines"]["data"][0]
    assert (note["amount"], credited["unit_amount"], credited["quantity"]) == (2900, 2900, 1)
    too_much = by_line | {"lines[0][amount]": 2901, "credit_amount": 2901}
    assert sandbox.error("POST", "/v1/credit_notes", too_much)[1]["param"] == "lines[0][amount]"
    rest = sandbox.post("/v1/credit_notes", by_line | {"lines[0][amount]": 2900, "credit_amount": 2900})
    assert sandbox.get(f"/v1/credit_notes/{rest['id']}/lines")["data"] == rest["lines"]["data"]
    assert [one["id"] for one in sandbox.get("/v1/credit_notes", invoice=paid["id"])["data"]] == [
        rest["id"],
        note["id"],
    ]


@pytest.mark.parametrize("parts", [(2999,), (1, 2998), (1000, 999, 1000), (7, 1333, 1659)])
def test_the_parts_of_a_discount_add_up(sandbox: Driver, parts: tuple[int, ...]) -> None:
    coupon = sandbox.post("/v1/coupons", {"percent_off": 33, "duration": "once"})["id"]
    session = sandbox.paid(sandbox.session(sandbox.price(2999), **{"discounts[0][coupon]": coupon}))
    invoice = sandbox.get(f"/v1/invoices/{session['invoice']}")
    line = invoice["lines"]["data"][0]["id"]
    notes: list[Json] = []
    for part in parts:
        order = {"invoice": invoice["id"], "lines[0][type]": "invoice_line_item"}
        order |= {"lines[0][invoice_line_item]": line, "lines[0][amount]": part}
        would = sandbox.get("/v1/credit_notes/preview", **order, out_of_band_amount=part_of(invoice, notes, part))
        notes.append(sandbox.post("/v1/credit_notes", order | {"out_of_band_amount": would["amount"]}))
        assert {**notes[-1], "id": 0, "lines": 0, "pdf": 0} == {**would, "id": 0, "lines": 0, "pdf": 0}
    assert sum(note["amount"] for note in notes) == invoice["total"]
    assert sum(note["discount_amount"] for note in notes) == invoice["total_discount_amounts"][0]["amount"]


def part_of(invoice: Json, notes: list[Json], part: int) -> int:
    """What is due back for so much of the only line, after the notes so far."""
    so_far, off = sum(note["subtotal"] for note in notes), invoice["total_discount_amounts"][0]["amount"]
    return int(part - (off * (so_far + part) // 2999 - off * so_far // 2999))


def test_a_preview_writes_nothing(sandbox: Driver, paid: Json) -> None:
    before, seen = sandbox.count(), len(sandbox.events())
    would = sandbox.get("/v1/credit_notes/preview", invoice=paid["id"], amount=700, credit_amount=700)
    assert (would["amount"], would["lines"]["data"][0]["amount"]) == (700, 700)
    assert (sandbox.count(), len(sandbox.events())) == (before, seen)
    assert again(sandbox, paid)["post_payment_credit_notes_amount"] == 0
    assert sandbox.error("GET", f"/v1/credit_notes/{would['id']}")[0] == 404


def test_words_about_a_note_can_be_changed(sandbox: Driver, paid: Json) -> None:
    note = sandbox.post("/v1/credit_notes", {"invoice": paid["id"], "amount": 700, "credit_amount": 700})
    changed = sandbox.post(f"/v1/credit_notes/{note['id']}", {"memo": "For the outage", "metadata[case]": "7"})
    assert (changed["memo"], changed["metadata"]) == ("For the outage", {"case": "7"})
    assert sandbox.event_types()[-1] == "credit_note.updated"
