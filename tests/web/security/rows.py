"""A real row of a team for every kind of id that stands in an address. A new kind needs a line in `ROWS`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from werkzeug.routing import Rule

from portal.accounts.api_keys import create_key
from portal.accounts.models import ApiKey, Invitation, Membership, User
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.invoice_models import PaymentTry
from portal.billing.models import Checkout, Customer, Invoice, Payment, PortalVisit, TaxId
from portal.catalog.queries import price_for
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import holds, ledger
from portal.exports.models import Export, ExportPart
from portal.usage.budget_models import UsageBudget
from tests.cast import make_user

Make = Callable[[str, str], str]


def make_checkout(team_id: str, user_id: str) -> str:
    price = price_for("business", "month")
    assert price is not None
    checkout = Checkout(
        id=new_id("chk"), team_id=team_id, user_id=user_id, purpose="plan",
        plan_key="business", price_id=price.price_id, params={}, state="expired",
    )  # fmt: skip
    db.session.add(checkout)
    return checkout.id


def make_key(team_id: str, user_id: str) -> str:
    creator = db.session.get(User, user_id)
    assert creator is not None
    create_key(team_id, creator, "Nightly jobs", livemode=False)
    newest = select(ApiKey.id).where(ApiKey.team_id == team_id).order_by(ApiKey.id.desc()).limit(1)
    return db.session.execute(newest).scalar_one()


def make_visit(team_id: str, user_id: str) -> str:
    visit = PortalVisit(id=new_id("visit"), team_id=team_id, user_id=user_id, flow="subscription_cancel")
    db.session.add(visit)
    return visit.id


def make_member(team_id: str, _user_id: str) -> str:
    member = Membership(team_id=team_id, user_id=make_user().id, role="member")
    db.session.add(member)
    return member.id


def make_invitation(team_id: str, user_id: str) -> str:
    invitation = Invitation(
        team_id=team_id, email=f"{new_id('p')}@example.com", role="member", digest=secrets.token_hex(32),
        invited_by_id=user_id, expires_at=clock.now() + timedelta(days=7),
    )  # fmt: skip
    db.session.add(invitation)
    return invitation.id


NOTHING_ASKED: dict[str, Any] = {"update": None, "wanted": None, "then": None, "release": False, "rarer": []}


def make_preview(team_id: str, user_id: str) -> str:
    made_at = clock.now()
    shown = {
        "at_once": False, "lines": [], "subtotal": 0, "discount": 0, "tax": 0, "total": 0, "from_balance": 0,
        "amount_due": 0, "next_at": 1_800_000_000, "next_total": 9_900, "recurring_total": 9_900, "recurring_tax": 0,
    }  # fmt: skip
    preview = ChangePreview(
        id=new_id("prev"), team_id=team_id, user_id=user_id, subscription_stripe_id="sub_1", kind="plan",
        timing="period_end", plan_key="pro", interval="month", seats=10, params=NOTHING_ASKED,
        basis={"status": "active", "items": {}}, shown=shown, amount_due=0, currency="usd", proration_date=made_at,
        created_at=made_at, expires_at=made_at + timedelta(minutes=10),
    )  # fmt: skip
    db.session.add(preview)
    db.session.flush()
    return preview.id


def make_change(team_id: str, user_id: str) -> str:
    change_id = new_id("chg")
    change = PendingChange(
        id=change_id, team_id=team_id, user_id=user_id, preview_id=make_preview(team_id, user_id),
        idempotency_key=change_id, state="canceled", finished_at=clock.now(),
    )  # fmt: skip
    db.session.add(change)
    return change.id


def make_invoice(team_id: str, _user_id: str) -> str:
    made_at = clock.now()
    invoice = Invoice(
        id=new_id("inv"), stripe_id=new_id("in"), gen=1, synced_at=made_at, team_id=team_id, number="TEST-0001", status="open",
        currency="usd", total=9_900, amount_due=9_900, amount_paid=0, description="A plan", lines=[], created_at=made_at,
    )  # fmt: skip
    db.session.add(invoice)
    db.session.flush()
    return invoice.id


def make_try(team_id: str, user_id: str) -> str:
    payment_try = PaymentTry(
        id=new_id("try"), team_id=team_id, user_id=user_id, invoice_id=make_invoice(team_id, user_id), amount=9_900,
        currency="usd", idempotency_key=new_id("key"), state="failed", failure_code="card_declined", finished_at=clock.now(),
    )  # fmt: skip
    db.session.add(payment_try)
    return payment_try.id


def make_tax_id(team_id: str, _user_id: str) -> str:
    """Of a customer that Stripe has not made yet."""
    customer = insert(Customer).values(team_id=team_id, params={"name": "A team", "email": "team@example.com"})
    db.session.execute(customer.on_conflict_do_nothing())
    tax_id = TaxId(
        id=new_id("txi"), team_id=team_id, stripe_id=new_id("txi"), type="eu_vat", value="DE123456789", created_at=clock.now(),
    )  # fmt: skip
    db.session.add(tax_id)
    return tax_id.id


def make_export(team_id: str, user_id: str) -> str:
    """One that is done, so that its file can be fetched."""
    now = clock.now()
    export = Export(
        id=new_id("exp"), team_id=team_id, user_id=user_id, source="invoices", format="csv", arguments={},
        time_zone="UTC", state="done", rows_total=0, size_bytes=4, finished_at=now, expires_at=now + timedelta(days=7),
    )  # fmt: skip
    db.session.add(export)
    db.session.flush()
    db.session.add(ExportPart(export_id=export.id, number=0, data=b"Date"))
    return export.id


def make_hold(team_id: str, _user_id: str) -> str:
    ledger.grant(team_id, kind="gift", amount=10, cause_key=new_id("gift"), source="A gift")
    return holds.hold(team_id, 1, new_id("key"), timedelta(hours=1)).id


def make_payment(team_id: str, _user_id: str) -> str:
    payment = Payment(
        id=new_id("pay"), stripe_id=new_id("pi"), gen=1, synced_at=clock.now(), team_id=team_id, type="top_up",
        status="succeeded", amount=1_000, currency="usd", description="Bundle of 500 credits", occurred_at=clock.now(),
    )  # fmt: skip
    db.session.add(payment)
    return payment.id


def make_budget(team_id: str, _user_id: str) -> str:
    """Of somebody else than the last one, since each has at most one."""
    budget = UsageBudget(team_id=team_id, user_id=make_user().id, limit=100, action="warn")
    db.session.add(budget)
    return budget.id


# The name of the id in the route, and what makes such a row of a team (in a unit that is open) and returns its id.
ROWS: dict[str, Make] = {
    "budget_id": make_budget,
    "change_id": make_change,
    "checkout_id": make_checkout,
    "export_id": make_export,
    "hold_id": make_hold,
    "invitation_id": make_invitation,
    "invoice_id": make_invoice,
    "key_id": make_key,
    "member_id": make_member,
    "payment_id": make_payment,
    "preview_id": make_preview,
    "tax_id": make_tax_id,
    "try_id": make_try,
    "visit_id": make_visit,
}

# Ids that are no row of a team's: files, links that prove themselves, development's mailbox, a person's own sessions and
# entries of the inbox.
NOT_OF_TEAMS = {"filename", "name", "token", "mail_id", "team_id", "session_id", "entry_id"}


def kinds_without_a_row(app: Flask) -> set[str]:
    """The names of ids in the routes for which `ROWS` needs a line (or `NOT_OF_TEAMS`)."""
    found = {name for rule in app.url_map.iter_rules() for name in rule.arguments}
    return found - set(ROWS) - NOT_OF_TEAMS


def rows_of_team(team_id: str, user_id: str) -> dict[str, str]:
    """One row of each kind, as values for an address."""
    with unit_of_work():
        return {"team_id": team_id} | {kind: make(team_id, user_id) for kind, make in ROWS.items()}


def address_of(app: Flask, rule: Rule, values: Mapping[str, Any]) -> str:
    with app.test_request_context():
        return app.url_for(rule.endpoint, **{name: values[name] for name in rule.arguments})
