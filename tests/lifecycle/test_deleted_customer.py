"""A customer that was deleted at Stripe: what the team is told, and that nobody else has to do with it."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.accounts.models import Team
from portal.billing.gateway import WORKER_RETRIES, Unavailable
from portal.billing.jobs import send_billing_emails
from portal.billing.models import Checkout, Customer
from portal.billing.payment_methods import charged_payment_method
from portal.billing.subscriptions import live_subscription
from portal.core.database import db
from portal.core.schedule import SomeFailed
from portal.notifications.models import OutboxItem
from tests.cast import Cast, Person
from tests.stage import Stage
from tests.trouble import call_fault, struck, trouble

DETAILS = {"name": "Harbor Analytics GmbH", "country": "DE"}
EMAIL = "bills@harbor.example"
DELETED = "customer at Stripe was deleted"


def post(person: Person, team_id: str, path: str, **form: str) -> TestResponse:
    return person.client.post(f"/teams/{team_id}/{path}", data=form)


def row(team_id: str) -> Customer:
    query = select(Customer).where(Customer.team_id == team_id)
    found = db.session.execute(query, execution_options={"populate_existing": True}).scalar_one()
    db.session.remove()
    return found


def with_customer(person: Person, team_id: str, stage: Stage) -> str:
    """Save billing details, for which Stripe gets a customer; returns its id."""
    assert post(person, team_id, "billing-details", **DETAILS).status_code == 303
    stage.deliver_all()
    return str(row(team_id).stripe_id)


def choose_email(*team_ids: str) -> None:
    """The address has been proved, and Stripe has not heard of it yet."""
    db.session.execute(update(Team).where(Team.id.in_(team_ids)).values(billing_email=EMAIL))
    db.session.commit()


def email_at_stripe(stage: Stage, customer: str) -> str:
    return str(stage.stripe("GET", f"/v1/customers/{customer}")["email"])


def delete(stage: Stage, customer: str) -> None:
    stage.stripe("DELETE", f"/v1/customers/{customer}")


def test_the_news_ends_the_plan_and_every_page_says_what_has_happened(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    delete(stage, str(row(cast.team_id).stripe_id))
    stage.deliver_all()
    assert row(cast.team_id).deleted
    assert live_subscription(cast.team_id) is None
    assert charged_payment_method(cast.team_id) is None
    db.session.remove()
    checkouts = len(db.session.execute(select(Checkout.id)).all())
    db.session.remove()
    for path, form in (
        ("checkout", {"plan": "business", "interval": "month"}),
        ("billing-details", DETAILS),
        ("billing-details/tax-ids", {"kind": "eu_vat", "value": "DE123456789"}),
        ("portal", {}),
    ):
        answer = post(cast.owner, cast.team_id, path, **form)
        assert answer.status_code == 409, path
        assert DELETED in answer.get_data(as_text=True), path
    assert len(db.session.execute(select(Checkout.id)).all()) == checkouts, "nothing was begun"


def test_news_that_is_told_again_or_late_does_not_bring_the_customer_back(cast: Cast, stage: Stage) -> None:
    customer = with_customer(cast.owner, cast.team_id, stage)
    stage.stripe("POST", f"/v1/customers/{customer}", name="Another name")
    delete(stage, customer)
    late = stage.new_events()
    for event in reversed(late):
        assert stage.deliver(event) == 200
        stage.drain()
    assert row(cast.team_id).deleted


def test_details_are_refused_clearly_also_before_the_news_has_come(cast: Cast, stage: Stage) -> None:
    delete(stage, with_customer(cast.owner, cast.team_id, stage))
    for path, form in (
        ("billing-details", DETAILS),
        ("billing-details/tax-ids", {"kind": "eu_vat", "value": "DE123456789"}),
    ):
        answer = post(cast.owner, cast.team_id, path, **form)
        assert answer.status_code == 409
        assert DELETED in answer.get_data(as_text=True)


def test_whoever_proves_an_address_for_a_deleted_customer_is_thanked_and_nothing_is_sent(
    cast: Cast, stage: Stage
) -> None:
    delete(stage, with_customer(cast.owner, cast.team_id, stage))
    assert post(cast.owner, cast.team_id, "billing-details/email", email=EMAIL).status_code == 303
    texts = [one["text"] for one in db.session.execute(select(OutboxItem.payload)).scalars()]
    db.session.remove()
    link = re.search(r"/billing-email/\S+", " ".join(texts))
    assert link is not None
    done = cast.anonymous.post(link.group())
    assert done.status_code == 200
    assert "Invoices come here now" in done.get_data(as_text=True)
    assert row(cast.team_id).deleted
    assert send_billing_emails() == 0, "there is nobody to send it to"


@pytest.mark.parametrize("first_team", ["team_id", "other_team_id"])
def test_a_customer_that_is_gone_does_not_keep_an_address_of_another_team_from_stripe(
    cast: Cast, stage: Stage, first_team: str
) -> None:
    """Deleted, or not even known there (404), whichever of the teams has its turn first."""
    mine, theirs = cast.team_id, cast.other_team_id
    customers = {mine: with_customer(cast.owner, mine, stage), theirs: with_customer(cast.outsider, theirs, stage)}
    first = str(getattr(cast, first_team))
    (second,) = {mine, theirs} - {first}
    choose_email(mine, theirs)
    delete(stage, customers[first])
    assert send_billing_emails() == 2
    assert row(first).deleted
    assert email_at_stripe(stage, customers[second]) == EMAIL

    values = {"stripe_id": "cus_nobody", "deleted": False}
    db.session.execute(update(Customer).where(Customer.team_id == first).values(values))
    db.session.execute(update(Team).values(billing_email="money@harbor.example"))
    db.session.commit()
    with pytest.raises(SomeFailed):
        send_billing_emails()
    db.session.remove()
    assert email_at_stripe(stage, customers[second]) == "money@harbor.example"


def test_an_error_about_one_team_is_passed_over_and_no_answer_at_all_ends_the_round(cast: Cast, stage: Stage) -> None:
    """Not to be answered takes a minute a team, in which the worker does nothing else."""
    mine = with_customer(cast.owner, cast.team_id, stage)
    theirs = with_customer(cast.outsider, cast.other_team_id, stage)
    choose_email(cast.team_id, cast.other_team_id)
    with trouble(stage, call_fault("drop_before", "GET /v1/customers/*", times=None)):
        with pytest.raises(Unavailable):
            send_billing_emails()
        db.session.remove()
        assert struck(stage) == 1 + WORKER_RETRIES
    with trouble(stage, call_fault("error_before", f"GET /v1/customers/{mine}", times=None)):
        with pytest.raises(SomeFailed):
            send_billing_emails()
        db.session.remove()
    assert email_at_stripe(stage, theirs) == EMAIL
    assert send_billing_emails() == 1
    assert email_at_stripe(stage, mine) == EMAIL
