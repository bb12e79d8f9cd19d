"""What bills look like in their states: invoices, paying one now, and whom they are made out to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import delete, select, update

from portal.accounts import billing_email
from portal.accounts.models import Team, User
from portal.billing.invoice_models import CreditNote, PaymentTry
from portal.billing.models import Invoice, Payment, PortalVisit, Subscription, SubscriptionItem
from portal.core import clock
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.notifications.messages import Message, billing_email_changed, confirm_billing_email, invoice_paid
from portal.notifications.outbox import put_mail
from portal.usage.models import UsageDay
from tests.browser.people import Person
from tests.browser.visitor import Visitor

FAR = timedelta(days=365)
DAY = timedelta(days=1)
ISSUED = datetime(2026, 11, 12, 9, tzinfo=UTC)
CONFIRM = "https://invoice.stripe.com/i/acct_1/in_1"
LINK = "https://billing.example.com/teams/team_01JD3M8W6Q4Z9V0K2T5R7X1YBC/invoices/inv_01JD3M8W6Q4Z9V0K2T5R7X1YBC"


class HasDebtor(Protocol):
    """Whom these pages are shown to."""

    @property
    def debtor(self) -> Person: ...


Play = Callable[[Visitor, HasDebtor], None]


def debtor(company: HasDebtor) -> Person:
    return company.debtor


def subscribed(someone: Visitor, company: HasDebtor) -> str:
    """See to it that the team is on Business, with no open invoice, and return its id."""
    person = company.debtor
    someone.open_overview(person.team_id)
    if someone.page.get_by_role("link", name="Choose a plan").count():
        someone.choose("Business", person.team_id)
        someone.pay()
        someone.wait_until_on("Business")
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            _sweep(session, person.team_id)
        db.session.remove()
    return person.team_id


def _sweep(session: Any, team_id: str) -> None:
    """Take away what other scenes have put there."""
    session.execute(delete(PaymentTry).where(PaymentTry.team_id == team_id))
    session.execute(delete(CreditNote).where(CreditNote.team_id == team_id))
    session.execute(delete(Payment).where(Payment.team_id == team_id, Payment.stripe_id.startswith("pi_scene")))
    session.execute(delete(Invoice).where(Invoice.team_id == team_id, Invoice.stripe_id.startswith("in_scene")))
    session.execute(update(Subscription).where(Subscription.team_id == team_id).values(status="active"))


def _invoice(team_id: str, **values: Any) -> Invoice:
    start, end = int(ISSUED.timestamp()), int((ISSUED + timedelta(days=30)).timestamp())
    lines = [
        {
            "description": "1 \N{MULTIPLICATION SIGN} Business (at $299.00 / month)",
            "amount": 29_900,
            "period_start": start,
            "period_end": end,
        },
        {
            "description": "7 \N{MULTIPLICATION SIGN} Extra seat (at $15.00 / month)",
            "amount": 10_500,
            "period_start": start,
            "period_end": end,
        },
        {"description": "On-boarding workshop", "amount": 12_000, "period_start": start, "period_end": start},
    ]
    row = {
        "id": new_id("inv"), "stripe_id": f"in_scene{new_id('x')}", "gen": 1, "synced_at": ISSUED, "team_id": team_id,
        "number": "HARV-0007", "status": "open", "currency": "usd", "subtotal": 52_400, "discount": 5_240, "tax": 8_960,
        "total": 56_120, "amount_due": 52_120, "amount_paid": 0, "credited_before": 4_000, "description": "Business, monthly",
        "lines": lines, "hosted_invoice_url": CONFIRM, "invoice_pdf": f"{CONFIRM}/pdf", "created_at": ISSUED,
        "attempt_count": 1, "finalized_at": ISSUED, "next_payment_attempt": ISSUED + timedelta(days=5),
    }  # fmt: skip
    return Invoice(**row | values)


def _around(invoice: Invoice, status: str) -> list[Any]:
    """What was tried to be paid, and what was credited."""
    common = {"gen": 1, "synced_at": ISSUED, "team_id": invoice.team_id, "currency": "usd"}
    note = {
        "before_payment": 4_000,
        "after_payment": 0,
        "amount": 4_000,
        "invoice_id": invoice.id,
        "created_at": ISSUED,
    }
    return [
        Payment(
            id=new_id("pay"), stripe_id=f"pi_scene{new_id('x')}", type="subscription_payment", status=status, amount=52_120,
            description="Business, monthly", invoice_stripe_id=invoice.stripe_id, payment_intent_stripe_id="pi_scene",
            brand="visa", last4="0341", failure_code="insufficient_funds" if status == "failed" else None,
            occurred_at=ISSUED, **common,
        ),
        CreditNote(
            id=new_id("note"), stripe_id=f"cn_scene{new_id('x')}", number="HARV-0007-CN-01", status="issued",
            memo="One seat was billed twice", pdf=f"{CONFIRM}/cn", **note, **common,
        ),
        CreditNote(
            id=new_id("note"), stripe_id=f"cn_scene{new_id('x')}", number="HARV-0007-CN-02", status="void",
            voided_at=ISSUED, **note, **common,
        ),
    ]  # fmt: skip


def owing(someone: Visitor, company: HasDebtor, status: str = "failed") -> tuple[str, str]:
    """A team whose renewal was not paid; returns the team and the invoice."""
    team_id = subscribed(someone, company)
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            invoice = _invoice(team_id)
            session.add(invoice)
            session.flush()
            session.add_all(_around(invoice, status))
            session.execute(update(Subscription).where(Subscription.team_id == team_id).values(status="past_due"))
        db.session.remove()
    return team_id, invoice.id


def overview(status: str) -> Play:
    def play(someone: Visitor, company: HasDebtor) -> None:
        someone.open_overview(owing(someone, company, status)[0])

    return play


def open_invoice(status: str) -> Play:
    def play(someone: Visitor, company: HasDebtor) -> None:
        team_id, invoice_id = owing(someone, company, status)
        someone.go(f"/teams/{team_id}/invoices/{invoice_id}")

    return play


def paid_invoice(someone: Visitor, company: HasDebtor) -> None:
    someone.go(f"/teams/{subscribed(someone, company)}/invoices")
    someone.page.get_by_role("row").filter(has_text="Business").get_by_role("link").first.click()
    someone.page.get_by_role("heading", name="What it bills").wait_for()


def invoices(someone: Visitor, company: HasDebtor) -> None:
    """With what comes next, which is asked for after the page is there."""
    team_id, _ = owing(someone, company)
    someone.go(f"/teams/{team_id}/invoices")
    someone.page.get_by_role("heading", name="Next invoice").wait_for()


def next_invoice(someone: Visitor, company: HasDebtor) -> None:
    """With calls beyond what is included, and what they will come to."""
    team_id = subscribed(someone, company)
    midnight = clock_now(someone).replace(hour=0, minute=0, second=0, microsecond=0)
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            period = {"current_period_start": midnight - 9 * DAY, "current_period_end": midnight + 20 * DAY}
            session.execute(update(SubscriptionItem).where(SubscriptionItem.team_id == team_id).values(**period))
            session.execute(delete(UsageDay).where(UsageDay.team_id == team_id, UsageDay.meter == "api_calls"))
            for ago, calls in enumerate((9_000, 71_000, 82_000, 64_000, 98_000, 77_000, 69_000, 90_000)):
                row = {"team_id": team_id, "meter": "api_calls", "starts_at": midnight - ago * DAY, "quantity": calls}
                session.add(UsageDay(api_key_id="", user_id="", cost=0, events=calls, **row))
        db.session.remove()
    someone.go(f"/teams/{team_id}/invoices/next")


def payment_try(**values: Any) -> Play:
    """A try to pay in a state, as the worker would have left it; nobody looks at it again."""

    def play(someone: Visitor, company: HasDebtor) -> None:
        team_id, invoice_id = owing(someone, company)
        row = {"state": "pending", "finished_at": None, "created_at": clock_now(someone)} | values
        with someone.stack.portal.app_context():
            with unit_of_work() as session:
                user_id = session.execute(select(User.id).where(User.email == company.debtor.email)).scalar_one()
                made = PaymentTry(
                    id=new_id("try"), team_id=team_id, user_id=user_id, invoice_id=invoice_id, amount=52_120,
                    currency="usd", idempotency_key=new_id("key"), run_at=app_now() + FAR, **row,
                )  # fmt: skip
                session.add(made)
            db.session.remove()
        someone.go(f"/teams/{team_id}/payment-tries/{made.id}")

    return play


def clock_now(someone: Visitor) -> datetime:
    with someone.stack.portal.app_context():
        now = clock.now()
        db.session.remove()
    return now


def refused(someone: Visitor, company: HasDebtor) -> None:
    """The button of a page that was open before somebody else has paid."""
    team_id = subscribed(someone, company)
    with someone.stack.portal.app_context():
        paid = select(Invoice.id).where(Invoice.team_id == team_id, Invoice.status == "paid").limit(1)
        invoice_id = db.session.execute(paid).scalar_one()
        db.session.remove()
    someone.send(f"/teams/{team_id}/invoices/{invoice_id}/payment", {"order": new_id("ord")})
    someone.page.get_by_role("heading", name="This invoice is paid already").wait_for()


def new_card(someone: Visitor, company: HasDebtor) -> None:
    """Back from changing the card, with an invoice to pay with it."""
    team_id, _ = owing(someone, company)
    with someone.stack.portal.app_context():
        with unit_of_work() as session:
            user_id = session.execute(select(User.id).where(User.email == company.debtor.email)).scalar_one()
            visit = PortalVisit(
                id=new_id("visit"), team_id=team_id, user_id=user_id, flow="payment_method_update", before="pm_other"
            )
            session.add(visit)
        db.session.remove()
    someone.go(f"/teams/{team_id}/portal/{visit.id}")


# Billing details


def details(someone: Visitor, company: HasDebtor) -> None:
    """Filled in, with tax ids of which one is not found, and an address that waits for its reader."""
    team_id = subscribed(someone, company)
    page = someone.page
    someone.go(f"/teams/{team_id}/billing-details")
    for label, text in (
        ("Street and number", "Kai 7"),
        ("Postal code", "20457"),
        ("City", "Hamburg"),
        ("PO number", "PO-4711"),
    ):
        page.get_by_label(label).fill(text)
    page.get_by_label("Country").select_option(label="Germany")
    someone.press("Save the details")
    page.get_by_text("The billing details are saved").wait_for()
    for number in ("DE123456789", "DE111111111"):
        if not page.get_by_role("rowheader", name=number).count():
            page.get_by_label("Number", exact=True).fill(number)
            someone.press("Add the tax id")
            page.get_by_role("rowheader", name=number).wait_for()
    page.get_by_label("Another address").fill("invoices@harvest.example.com")
    someone.press("Send the link")
    page.get_by_text("waits for proof").wait_for()
    someone.go(f"/teams/{team_id}/billing-details")


def wrong_details(someone: Visitor, company: HasDebtor) -> None:
    page = someone.page
    someone.go(f"/teams/{subscribed(someone, company)}/billing-details")
    page.get_by_label("Kind").select_option(label="EU VAT number")
    page.get_by_label("Number", exact=True).fill("nonsense!")
    someone.press("Add the tax id")
    page.get_by_text("Stripe says that this is no EU VAT number").wait_for()


def email_link(*, used: bool) -> Play:
    """The page that a mailed link leads to, and the one after it."""

    def play(someone: Visitor, company: HasDebtor) -> None:
        with someone.stack.portal.app_context():
            with unit_of_work() as session:
                team = session.execute(select(Team).where(Team.id == company.debtor.team_id)).scalar_one()
                user_id = session.execute(select(User.id).where(User.email == company.debtor.email)).scalar_one()
                token = billing_email.ask(team, user_id, "invoices@harvest.example.com")
            db.session.remove()
        someone.go(f"/billing-email/{token}")
        if used:
            someone.press("Send them here")
            someone.page.get_by_role("heading", name="Invoices come here now").wait_for()

    return play


def mail(kind: str) -> Play:
    def play(someone: Visitor, company: HasDebtor) -> None:
        with someone.stack.portal.app_context():
            message = _mail(kind, company.debtor.email)
            with unit_of_work():
                put_mail(message, f"scene:{kind}")
            db.session.remove()
        someone.open_mail(company.debtor.email, message.subject)

    return play


def _mail(kind: str, to: str) -> Message:
    team = "Willow Works"
    if kind == "paid":
        values = {
            "amount": "$299.00 USD",
            "number": "HARV-0008",
            "description": "1 \N{MULTIPLICATION SIGN} Business (at $299.00 / month)",
        }
        return invoice_paid(to, day="12 Dec 2026", link=LINK, **values)
    if kind == "confirm":
        return confirm_billing_email(to, team_name=team, link="https://billing.example.com/billing-email/oq3cXn1T0Zf2")
    return billing_email_changed(to, team_name=team, new_email="invoices@willow.example.com", link=LINK)
