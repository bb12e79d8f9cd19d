"""The lists of payments and invoices: what they show, how they are narrowed, paged and exported, and to whom."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from sqlalchemy import update

from portal.accounts.models import Team
from portal.billing.models import Invoice, Payment
from portal.core.database import Model, db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast
from tests.exporting import ask, exported

NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
HOSTILE = '=HYPERLINK("http://evil.example";"Click")'


def payment(team_id: str, **values: Any) -> Payment:
    fact = new_id("pi")
    defaults = {
        "id": new_id("pay"), "stripe_id": fact, "gen": 1, "synced_at": NOON, "team_id": team_id, "amount": 9_900,
        "type": "subscription_payment", "status": "succeeded", "currency": "usd", "description": "Pro, November",
        "payment_intent_stripe_id": fact, "brand": "visa", "last4": "4242", "occurred_at": NOON,
    }  # fmt: skip
    return Payment(**defaults | values)


def invoice(team_id: str, **values: Any) -> Invoice:
    defaults = {
        "id": new_id("inv"), "stripe_id": new_id("in"), "gen": 1, "synced_at": NOON, "team_id": team_id,
        "number": "FW-0411", "status": "paid", "currency": "usd", "total": 9_900, "amount_due": 9_900,
        "amount_paid": 9_900, "description": "Pro, November", "lines": [], "created_at": NOON,
        "hosted_invoice_url": "https://invoice.stripe.com/i/1", "invoice_pdf": "https://invoice.stripe.com/i/1/pdf",
    }  # fmt: skip
    return Invoice(**defaults | values)


def keep(*rows: Model) -> None:
    with unit_of_work() as session:
        session.add_all(rows)
    db.session.remove()


def show(cast: Cast, path: str, status: int = 200, who: str = "member") -> str:
    answer = getattr(cast, who).client.get(f"/teams/{cast.team_id}/{path}")
    assert answer.status_code == status
    return str(answer.get_data(as_text=True))


def test_empty_lists_say_what_would_stand_there(cast: Cast) -> None:
    assert "No payments yet" in show(cast, "payments")
    assert "No invoices yet" in show(cast, "invoices")
    assert exported(cast.member, cast.team_id, "payments") == []


def test_each_line_says_what_it_was_and_how_it_ended(cast: Cast) -> None:
    keep(
        payment(cast.team_id, amount_refunded=2_000, receipt_url="https://pay.stripe.com/receipts/1"),
        payment(cast.team_id, type="refund", amount=-2_000, description="Refund: Pro, November"),
        payment(cast.team_id, status="failed", failure_code="insufficient_funds", description="5,000 credits"),
        payment(cast.team_id, type="cancel", amount=0, description="Pro ended", last4=None),
        payment(cast.team_id, payment_intent_stripe_id=None, last4=None, description="By transfer"),
        payment(cast.team_id, type="refund", amount=-1, status="failed", failure_code="declined"),
        payment(cast.team_id, status="requires_action", description="Confirm me"),
    )
    page = show(cast, "payments")
    for words in (
        "$20.00",
        "\u2212$20.00",
        "Visa ending in 4242",
        "The card has too little money on it. Nothing was charged.",
        "No charge",
        "Paid outside of Stripe",
        "Refunded",
        "Credits that it had taken are yours again",
        "https://pay.stripe.com/receipts/1",
        "The bank wants the payment to be confirmed.",
        "1 to 7 of 7",
    ):
        assert words in page, words


def test_a_list_is_narrowed_by_type_state_and_days(cast: Cast) -> None:
    keep(
        payment(cast.team_id, description="Plan"),
        payment(cast.team_id, description="Bundle", type="top_up"),
        payment(cast.team_id, description="Declined", type="top_up", status="failed"),
        payment(cast.team_id, description="Earlier", occurred_at=NOON - timedelta(days=40)),
    )
    cases: list[tuple[dict[str, str], set[str]]] = [
        ({}, {"Plan", "Bundle", "Declined", "Earlier"}),
        ({"type": "top_up"}, {"Bundle", "Declined"}),
        ({"type": "top_up", "status": "succeeded"}, {"Bundle"}),
        ({"since": "2026-11-18"}, {"Plan", "Bundle", "Declined"}),
        ({"until": "2026-11-17"}, {"Earlier"}),
        ({"since": "2026-10-09", "until": "2026-10-09"}, {"Earlier"}),
        ({"type": "refund"}, set()),
    ]
    for query, expected in cases:
        rows = exported(cast.member, cast.team_id, "payments", **query)
        assert {row["Description"] for row in rows} == expected, query
        page = show(cast, f"payments?{urlencode(query)}")
        assert {name for name in ("Plan", "Bundle", "Declined", "Earlier") if f"{name}\n" in page} == expected, query
    assert "No such payments" in show(cast, "payments?type=refund")
    assert "2026-10-09" in show(cast, "payments?since=2026-10-09")


def test_days_are_the_teams_own(cast: Cast) -> None:
    with unit_of_work() as session:
        session.execute(update(Team).where(Team.id == cast.team_id).values(time_zone="Pacific/Auckland"))
    keep(payment(cast.team_id))
    rows = exported(cast.member, cast.team_id, "payments", since="2026-11-19")
    assert len(rows) == 1, "noon of the 18th in UTC is the 19th there"


@pytest.mark.parametrize(
    "query",
    ["type=gift", "status=maybe", "since=yesterday", "until=0001-01-01", "type=' or 1=1 --", "since=2026-13-40"],
)
def test_what_a_list_does_not_offer_is_422(cast: Cast, query: str) -> None:
    show(cast, f"payments?{query}", 422)
    assert ask(cast.member, cast.team_id, "payments", **dict(parse_qsl(query))) == 422


def test_pages_follow_each_other_there_and_back(cast: Cast) -> None:
    keep(
        *[payment(cast.team_id, occurred_at=NOON - timedelta(hours=n // 3), description=f"No {n}.") for n in range(60)]
    )
    path, seen = "payments?status=succeeded", []
    for first, last in ((1, 25), (26, 50), (51, 60)):
        page = show(cast, path)
        assert f"{first} to {last} of 60" in page
        seen += re.findall(r"No \d+\.", re.sub(r"<span.*?</span>", "", page))
        older = re.search(r'href="/teams/[^"]*?/(payments\?[^"]*before=[^"]*)"', page)
        path = older.group(1).replace("&amp;", "&") if older else ""
    assert path == ""
    assert len(set(seen)) == len(seen) == 60
    newer = re.search(r'href="/teams/[^"]*?/(payments\?[^"]*after=[^"]*)"', page)
    assert newer is not None
    assert "26 to 50 of 60" in show(cast, newer.group(1).replace("&amp;", "&"))
    assert len(exported(cast.member, cast.team_id, "payments")) == 60


def test_s82_a_page_that_begins_nowhere_is_400(cast: Cast) -> None:
    mine, theirs = payment(cast.team_id), payment(cast.other_team_id)
    keep(mine, theirs)
    for cursor in (theirs.id, new_id("pay"), mine.id[:-1] + "_", "%00", "1' or '1'='1"):
        show(cast, f"payments?before={cursor}", 400)
        show(cast, f"invoices?after={cursor}", 400)


def test_s3_lists_and_exports_hold_the_teams_own_rows_only(cast: Cast) -> None:
    keep(
        payment(cast.team_id, description="Ours"),
        payment(cast.other_team_id, description="Theirs"),
        invoice(cast.team_id, number="OURS-1"),
        invoice(cast.other_team_id, number="THEIRS-1"),
    )
    others = {"team_id": cast.other_team_id, "account_id": cast.other_team_id}
    for path in ("payments", "invoices"):
        body = show(cast, f"{path}?{urlencode(others)}") + str(
            exported(cast.member, cast.team_id, path, account_id=cast.other_team_id)
        )
        assert "Ours" in body or "OURS-1" in body
        assert "Theirs" not in body
        assert "THEIRS-1" not in body


def test_s59_no_cell_of_an_export_is_a_formula(cast: Cast) -> None:
    keep(
        payment(cast.team_id, description=HOSTILE, brand="+cmd", receipt_url="@SUM(A1)", type="refund", amount=-100),
        invoice(cast.team_id, number=HOSTILE, description="-2+3", hosted_invoice_url="\t=1"),
    )
    (paid,) = exported(cast.member, cast.team_id, "payments")
    (billed,) = exported(cast.member, cast.team_id, "invoices")
    assert paid["Description"] == "'" + HOSTILE
    assert billed["Number"] == "'" + HOSTILE
    assert paid["Amount"] == "-1.00", "a number below zero is a number"
    for row in (paid, billed):
        for name, value in row.items():
            is_number = name in ("Amount", "Refunded", "Total", "Paid")
            assert is_number or not value.startswith(("=", "+", "-", "@", "\t", "\r")), (name, value)


def test_amounts_are_written_in_the_currencys_own_unit(cast: Cast) -> None:
    keep(
        payment(cast.team_id, amount=1_250, currency="jpy"),
        payment(cast.team_id, amount=1_250, currency="usd"),
        payment(cast.team_id, amount=1_250, currency="kwd"),
    )
    rows = {row["Currency"]: row["Amount"] for row in exported(cast.member, cast.team_id, "payments")}
    assert rows == {"JPY": "1250", "USD": "12.50", "KWD": "1.250"}


def test_invoices_have_their_page_and_pdf_and_no_drafts(cast: Cast) -> None:
    keep(
        invoice(cast.team_id),
        invoice(cast.team_id, number="FW-0412", status="open", created_at=NOON + timedelta(days=1)),
        invoice(cast.team_id, number=None, status="draft"),
    )
    page = show(cast, "invoices")
    assert "1 to 2 of 2" in page
    assert "https://invoice.stripe.com/i/1/pdf" in page
    assert page.index("FW-0412") < page.index("FW-0411")
    rows = exported(cast.member, cast.team_id, "invoices", status="open")
    assert [row["Number"] for row in rows] == ["FW-0412"]
    show(cast, "invoices?status=draft", 422)


def test_what_was_not_paid_leads_to_its_open_invoice(cast: Cast) -> None:
    waiting, paid = invoice(cast.team_id, status="open"), invoice(cast.team_id)
    theirs = invoice(cast.other_team_id, status="open")
    keep(
        waiting,
        paid,
        theirs,
        payment(cast.team_id, status="failed", invoice_stripe_id=waiting.stripe_id),
        payment(cast.team_id, status="failed", invoice_stripe_id=paid.stripe_id),
        payment(cast.team_id, status="failed", invoice_stripe_id=theirs.stripe_id),
        payment(cast.team_id, invoice_stripe_id=waiting.stripe_id),
    )
    page = show(cast, "payments")
    assert page.count("Open the invoice to pay it") == 1
    assert f"/teams/{cast.team_id}/invoices/{waiting.id}" in page
    assert theirs.id not in page


def test_s55_descriptions_are_text(cast: Cast) -> None:
    keep(payment(cast.team_id, description="<script>alert(1)</script>"), invoice(cast.team_id, number="<b>1</b>"))
    assert "<script>alert(1)" not in show(cast, "payments")
    assert "<b>1</b>" not in show(cast, "invoices")
