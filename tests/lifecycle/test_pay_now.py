"""An open invoice is charged because somebody asked for it: once, or not at all, whatever happens meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest
import requests
from flask import Flask
from sqlalchemy import select, text

from portal.accounts.models import AuditEntry
from portal.billing.models import CardDecline
from portal.core.database import db
from portal.core.ids import new_id
from tests import switches
from tests.cast import Cast
from tests.crashing import Crasher, crasher, nothing_is_locked
from tests.purchases import violations
from tests.stage import Stage
from tests.trouble import call_fault, struck, trouble
from tests.unpaid import ASKS, DECLINES, WORKS, Debtor
from tests.worker_process import until

__all__ = ["crasher"]

PAYING = "POST /v1/invoices/*/pay"
# What else there is comes to the same as one of these.
FAULTS = ["drop_before", "drop_after", "conflict", "error_before", "error_after"]
MAILS = ("payment_failed", "payment_action_required", "payment_recovered", "invoice_paid")


@pytest.fixture
def debtor(cast: Cast, stage: Stage) -> Debtor:
    return Debtor.owing(stage, cast.owner, cast.team_id)


def test_a_declined_card_is_told_in_words_and_the_next_one_recovers(cast: Cast, stage: Stage) -> None:
    debtor = Debtor.with_card(stage, cast.owner, cast.team_id)
    before = debtor.charges()
    assert set(before) == {"failed"}
    refused = debtor.come_to(debtor.pay())
    assert (refused.state, debtor.charges()) == ("failed", [*before, "failed"])
    page = debtor.page(refused)
    assert "The bank declined the payment. Nothing was charged." in page
    assert "Update card" in page
    assert debtor.subscription().status == "past_due"
    for path in ("billing", "invoices", f"invoices/{debtor.invoice().id}"):
        assert f"invoices/{debtor.invoice().id}" in debtor.see(path), "each leads to the invoice or its payment"
    debtor.switch_card(WORKS)
    paid = debtor.come_to(debtor.pay())
    assert (paid.state, debtor.charges()) == ("paid", [*before, "failed", "succeeded"])
    assert "The invoice is paid" in debtor.page(paid)
    assert (debtor.subscription().status, debtor.invoice().status) == ("active", "paid")
    assert "did not go through" not in debtor.see("billing")
    assert debtor.mails(*MAILS) == ["invoice_paid", "payment_failed", "payment_recovered"], (
        "of a recovered one no second mail"
    )
    db.session.remove()
    acts = list(db.session.execute(select(AuditEntry.action).where(AuditEntry.action.startswith("invoice."))).scalars())
    assert sorted(acts) == sorted([
        "invoice.payment_asked", "invoice.payment_failed", "invoice.payment_asked", "invoice.paid_now",
    ])  # fmt: skip
    assert violations() == []


def test_twenty_presses_are_one_try(debtor: Debtor, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, the same button and those of other pages; and the same button again when it is over."""
    switches.without_limits(monkeypatch)
    order = new_id("ord")
    address = f"/teams/{debtor.team_id}/invoices/{debtor.invoice().id}/payment"

    def press(number: int) -> str:
        client = debtor.stage.app.test_client()
        client.set_cookie(*_cookie(debtor))
        answer = client.post(address, data={"order": order if number % 2 else new_id("ord")})
        assert answer.status_code == 303, answer.get_data(as_text=True)
        return str(answer.location)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(press, range(1, 21)))) == 1
    (made,) = debtor.tries()
    for _ in range(2):
        assert debtor.come_to(debtor.pay(made.order_key)).id == made.id
    assert debtor.charges() == ["succeeded"]
    debtor.bill()
    assert debtor.come_to(debtor.pay(made.order_key)).id != made.id, "of another invoice it is another try"


def _cookie(debtor: Debtor) -> tuple[str, str]:
    client = debtor.person.client
    name = debtor.stage.app.config["SESSION_COOKIE_NAME"]
    found = client.get_cookie(name)
    assert found is not None
    return name, found.value


def test_each_fault_of_stripes_charges_once_or_not_at_all(debtor: Debtor) -> None:
    for number, fault in enumerate(FAULTS):
        if number:
            debtor.bill()
        with trouble(debtor.stage, call_fault(fault, PAYING)):
            answer = debtor.pay()
            debtor.stage.drain()
            assert struck(debtor.stage) == 1, fault
        debtor.stage.advance(timedelta(minutes=3))
        row = debtor.come_to(answer)
        if fault == "error_before":
            # Stripe keeps a failure under the key for a day, so that this try is over, and the next one can be made.
            assert (row.state, debtor.charges()) == ("failed", [])
            assert "Nothing was charged." in debtor.page(row)
            row = debtor.come_to(debtor.pay())
        assert (row.state, debtor.charges()) == ("paid", ["succeeded"]), fault
        assert debtor.invoice().status == "paid"


@pytest.mark.parametrize("kind", ["paid", "declined"])
def test_killed_at_every_point_it_is_charged_once(app: Flask, debtor: Debtor, crasher: Crasher, kind: str) -> None:
    """A worker dies after each thing that leaves the process, and another one takes over; one try through all of it."""
    if kind == "declined":
        debtor.switch_card(DECLINES)
    answer = debtor.pay()
    db.session.remove()
    deaths = 0
    for point in count():
        undisturbed = crasher.run("pay", kill_at=point, among=("after POST", "after commit"))
        until(nothing_is_locked, "the database has noticed")
        if undisturbed is not None:
            break
        deaths += 1
        db.session.execute(text("update payment_tries set run_at = app_now() where finished_at is null"))
        db.session.commit()
    assert deaths >= 3, "after it was claimed, after it was noted that Stripe is asked, after it was asked"
    row = debtor.come_to(answer)
    assert row.state == ("paid" if kind == "paid" else "failed")
    assert debtor.charges() == ["succeeded" if kind == "paid" else "failed"]
    assert violations() == []


@pytest.mark.parametrize(("word", "state"), [("complete", "paid"), ("fail", "failed")])
def test_a_bank_that_asks_is_answered_on_stripes_page(debtor: Debtor, word: str, state: str) -> None:
    debtor.switch_card(ASKS)
    row = debtor.come_to(debtor.pay())
    assert row.state == "requires_action"
    page = debtor.page(row)
    assert "Your bank wants you to confirm" in page
    assert str(row.confirm_url) in page
    assert debtor.pay(row.order_key).location.endswith(row.id), "meanwhile the same button leads to the same try"
    debtor.answer_bank(word)
    assert debtor.read(row.id).state == state
    assert debtor.invoice().status == ("paid" if state == "paid" else "open")
    assert ("The invoice is paid" if state == "paid" else "Nothing was charged.") in debtor.page(row)


def test_a_new_card_goes_before_a_bank_that_was_not_answered(debtor: Debtor) -> None:
    debtor.switch_card(ASKS)
    first = debtor.come_to(debtor.pay())
    debtor.switch_card(WORKS)
    second = debtor.come_to(debtor.pay())
    assert [(debtor.read(row.id).state, debtor.read(row.id).failure_code) for row in (first, second)] == [
        ("failed", "replaced"), ("paid", None),
    ]  # fmt: skip
    assert debtor.charges() == ["succeeded"]
    debtor.answer_bank("complete")
    assert debtor.charges() == ["succeeded"], "whatever the bank is answered now"


def test_a_bank_that_is_not_answered_for_a_day_ends_the_try(debtor: Debtor) -> None:
    debtor.switch_card(ASKS)
    row = debtor.come_to(debtor.pay())
    debtor.stage.new_events()
    debtor.stage.advance(timedelta(hours=25))
    debtor.stage.drain()
    found = debtor.read(row.id)
    assert (found.state, found.failure_code) == ("failed", "not_confirmed")


WHILE_IT_WAITS: dict[str, tuple[str, str | None]] = {
    "paid": ("paid", None),
    "void": ("failed", "closed"),
    "raised": ("failed", "amount_changed"),
    "late": ("failed", "too_late"),
}


def test_what_has_changed_meanwhile_is_not_charged(debtor: Debtor) -> None:
    """Between the press of the button and the worker, who takes none of it for what was agreed to."""
    for number, (what, came_to) in enumerate(WHILE_IT_WAITS.items()):
        if number:
            debtor.bill()
        stripe_id = debtor.invoice().stripe_id
        if what == "raised":  # by a credit note that is taken back
            note = debtor.stage.stripe("POST", "/v1/credit_notes", invoice=stripe_id, amount=1_000)
            debtor.stage.deliver_all()
        answer = debtor.pay()
        if what == "paid":
            debtor.stage.stripe("POST", f"/v1/invoices/{stripe_id}/pay", paid_out_of_band="true")
        elif what == "void":
            debtor.stage.stripe("POST", f"/v1/invoices/{stripe_id}/void")
        elif what == "raised":
            debtor.stage.stripe("POST", f"/v1/credit_notes/{note['id']}/void")
        else:
            debtor.stage.advance(timedelta(hours=2))
        row = debtor.come_to(answer)
        assert (row.state, row.failure_code) == came_to, what
        assert debtor.charges() == []
        assert ("The invoice is paid" if what == "paid" else "Nothing was charged.") in debtor.page(row)


def test_an_invoice_that_is_not_open_is_refused(debtor: Debtor) -> None:
    debtor.stage.stripe("POST", f"/v1/invoices/{debtor.invoice().stripe_id}/void")
    debtor.stage.deliver_all()
    answer = debtor.pay()
    assert answer.status_code == 409
    assert "There is nothing to pay on it" in answer.get_data(as_text=True)
    assert debtor.tries() == []


def test_whoever_is_refused_too_often_waits_an_hour(debtor: Debtor, cast: Cast) -> None:
    """Five refused cards in an hour, whoever of the team tries them; then neither this invoice nor a bundle."""
    debtor.switch_card(DECLINES)
    for number in range(5):
        row = debtor.come_to(debtor.pay(person=cast.billing if number % 2 else None))
        assert row.state == "failed"
    answer = debtor.pay()
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3600")
    assert "Try again in an hour" in answer.get_data(as_text=True)
    assert len(debtor.tries()) == 5
    bundle = debtor.person.client.post(f"/teams/{debtor.team_id}/checkout", data={"bundle": "credits_1000"})
    assert bundle.status_code == 429
    assert db.session.query(CardDecline).count() == 5
    db.session.remove()
    debtor.stage.advance(timedelta(hours=1, minutes=1))
    assert debtor.pay().status_code == 303


def test_a_renewal_whose_bank_asks_is_confirmed_and_recovers(cast: Cast, stage: Stage) -> None:
    """The mail, the banner and the page lead to Stripe's page; after it the banner is gone, and a mail says so."""
    debtor = Debtor.with_card(stage, cast.owner, cast.team_id, ASKS)
    assert debtor.subscription().status == "past_due"
    assert debtor.mails(*MAILS) == ["invoice_paid", "payment_action_required"], (
        "nothing was declined, so no mail says so"
    )
    url = str(debtor.invoice().hosted_invoice_url)
    for path in ("billing", f"invoices/{debtor.invoice().id}"):
        page = debtor.see(path)
        assert "Your bank wants you to confirm $299.00 USD" in page
        assert url in page
    stage.advance(timedelta(hours=6))
    debtor.answer_bank("complete")
    assert (debtor.subscription().status, debtor.invoice().status) == ("active", "paid")
    assert debtor.mails(*MAILS) == ["invoice_paid", "payment_action_required", "payment_recovered"]
    assert "Your bank wants you" not in debtor.see("billing")
    assert violations() == []


def test_a_renewal_whose_bank_is_not_answered_is_reminded_of(cast: Cast, stage: Stage) -> None:
    debtor = Debtor.with_card(stage, cast.owner, cast.team_id, ASKS)
    for _ in range(3):
        stage.advance(timedelta(days=1))
        stage.deliver_all()
        stage.drain()
    assert debtor.mails(*MAILS) == ["invoice_paid", "payment_action_required", "payment_failed"]
    assert requests.get(str(debtor.invoice().hosted_invoice_url), timeout=20).status_code == 200
