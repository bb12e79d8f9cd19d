"""What the page of an invoice lets whom do, and how its sums are told, for rows as the mirror may have them."""

from __future__ import annotations

from typing import Any

import pytest

from portal.billing.invoice_models import CreditNote, PaymentTry
from portal.billing.invoice_sums import sums_of
from portal.billing.models import Invoice
from portal.core.ids import new_id
from tests.cast import Cast
from tests.web.billing.test_history import NOON, invoice, keep, payment, show

OPEN = {"status": "open", "amount_paid": 0}
LINES = [
    {"description": "<b>Pro</b>", "amount": 9_900, "period_start": 1_790_000_000, "period_end": 1_792_592_000},
    {"description": "Set-up", "amount": 100, "period_start": 1_790_000_000, "period_end": 1_790_000_000},
]


def page_of(cast: Cast, made: Invoice, who: str = "owner") -> str:
    return show(cast, f"invoices/{made.id}", who=who).partition("<main")[2]


def test_what_can_be_done_depends_on_the_state_and_on_the_role(cast: Cast) -> None:
    """Everybody sees what is open; who manages billing can pay it."""
    for status, amount_due, can_be_paid in (
        ("open", 9_900, True), ("uncollectible", 9_900, True), ("open", 0, False), ("paid", 9_900, False), ("void", 9_900, False),
    ):  # fmt: skip
        made = invoice(cast.team_id, status=status, amount_due=amount_due, amount_paid=9_900 if status == "paid" else 0)
        keep(made)
        for who in ("owner", "admin", "billing", "member"):
            page = page_of(cast, made, who)
            assert ("are still to be paid" in page) == can_be_paid, (status, who)
            assert ("Pay now" in page) == (can_be_paid and who != "member"), (status, who)


def test_a_bank_that_asks_and_a_try_that_is_under_way_go_before_the_button(cast: Cast) -> None:
    asks, tried = invoice(cast.team_id, **OPEN), invoice(cast.team_id, **OPEN)
    keep(asks, tried, payment(cast.team_id, status="requires_action", invoice_stripe_id=asks.stripe_id))
    row = PaymentTry(
        id=new_id("try"), team_id=cast.team_id, user_id=cast.owner.user_id, invoice_id=tried.id, amount=9_900,
        currency="usd", idempotency_key=new_id("key"),
    )  # fmt: skip
    keep(row)
    for made, words in ((asks, "Your bank wants you to confirm"), (tried, "A payment is on its way")):
        for who in ("owner", "member"):
            page = page_of(cast, made, who)
            assert words in page
            assert "Pay now" not in page
    assert f"payment-tries/{row.id}" in page_of(cast, tried)
    assert f"payment-tries/{row.id}" not in page_of(cast, tried, "member")


@pytest.mark.parametrize(
    ("subtotal", "discount", "tax", "total", "told"),
    [
        (10_000, 0, 0, 10_000, None),
        (10_000, 1_000, 0, 9_000, "Discount"),
        (10_000, 1_000, 1_710, 10_710, "Tax"),
        (10_000, 0, 1_597, 10_000, "Of it tax"),
        (None, 0, 0, 9_900, None),
    ],
)
def test_how_the_total_comes_about(
    cast: Cast, subtotal: int | None, discount: int, tax: int, total: int, told: str | None
) -> None:
    values: dict[str, Any] = {"subtotal": subtotal, "discount": discount, "tax": tax, "total": total, "lines": LINES}
    made = invoice(cast.team_id, **values)
    keep(made)
    page = page_of(cast, made)
    assert ("Subtotal" in page) == (told is not None)
    assert told is None or told in page
    if subtotal is not None:
        sums = sums_of(subtotal, discount, tax, total)
        assert sums.total == sums.subtotal - sums.discount + (0 if sums.tax_inside else sums.tax)


def test_s55_what_others_wrote_is_text_and_no_link_leads_elsewhere(cast: Cast) -> None:
    made = invoice(cast.team_id, lines=LINES, credited_after=100)
    keep(made)
    note = CreditNote(
        id=new_id("note"), stripe_id=new_id("cn"), gen=1, synced_at=NOON, team_id=cast.team_id, invoice_id=made.id,
        number="<i>1</i>", status="issued", amount=100, before_payment=0, after_payment=100, currency="usd",
        memo="<script>x</script>", pdf="javascript:alert(1)", created_at=NOON,
    )  # fmt: skip
    keep(note)
    page = page_of(cast, made)
    assert not any(words in page for words in ("<b>Pro</b>", "<i>1</i>", "<script>x", "javascript:"))
    assert "&lt;b&gt;Pro" in page
