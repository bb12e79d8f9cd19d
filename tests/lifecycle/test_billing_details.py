"""Whom invoices are made out to and sent to: saved here and at Stripe, changed there and here, without going round."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from portal.accounts.models import AuditEntry, Team
from portal.billing.models import Customer, TaxId
from portal.core.alarms import Alarm
from portal.core.database import db
from portal.notifications.models import OutboxItem
from portal.worker import tasks
from tests.cast import Cast, Person
from tests.stage import Stage
from tests.trouble import call_fault, trouble

Json = dict[str, Any]
FORM = {
    "name": "Harbor Analytics GmbH", "line1": "Kai 7", "line2": "", "postal_code": "20457", "city": "Hamburg", "state": "",
    "country": "DE", "po_number": "PO-4711",
}  # fmt: skip


def post(person: Person, cast: Cast, path: str = "", **form: str) -> TestResponse:
    return person.client.post(f"/teams/{cast.team_id}/billing-details{path}", data=form)


def page(person: Person, cast: Cast) -> str:
    return person.client.get(f"/teams/{cast.team_id}/billing-details").get_data(as_text=True)


def row() -> Customer:
    found = db.session.execute(select(Customer), execution_options={"populate_existing": True}).scalar_one()
    db.session.remove()
    return found


def at_stripe(stage: Stage) -> Json:
    return stage.stripe("GET", f"/v1/customers/{row().stripe_id}", **{"expand[0]": "tax_ids"})


def tax_ids() -> list[tuple[str, str, str | None]]:
    found = list(db.session.execute(select(TaxId).order_by(TaxId.created_at, TaxId.id)).scalars())
    db.session.remove()
    return [(one.type, one.value, one.verification) for one in found]


def billing_email(cast: Cast) -> str:
    found = db.session.execute(select(Team.billing_email).where(Team.id == cast.team_id)).scalar_one()
    db.session.remove()
    return found


def actions() -> list[str]:
    found = list(db.session.execute(select(AuditEntry.action).order_by(AuditEntry.id)).scalars())
    db.session.remove()
    return found


def mail(kind: str, to: str) -> list[str]:
    payloads = db.session.execute(select(OutboxItem.payload).order_by(OutboxItem.id)).scalars()
    found = [one["text"] for one in payloads if (one["message"], one["to"]) == (kind, to)]
    db.session.remove()
    return found


def test_what_is_saved_stands_at_stripe_and_on_the_next_invoice(cast: Cast, stage: Stage) -> None:
    """By everybody who manages billing; a team that never bought anything gets its customer with it."""
    assert post(cast.member, cast, **FORM).status_code == 403
    for person in (cast.owner, cast.admin, cast.billing):
        assert post(person, cast, **FORM).status_code == 303
    stage.deliver_all()
    customer = at_stripe(stage)
    assert (customer["name"], customer["address"]["city"], customer["address"]["country"]) == (
        FORM["name"],
        "Hamburg",
        "DE",
    )
    assert customer["invoice_settings"]["custom_fields"] == [{"name": "PO number", "value": "PO-4711"}]
    shown = page(cast.owner, cast)
    assert all(value in shown for value in FORM.values())
    assert '<option selected value="DE">Germany</option>' in shown
    assert actions().count("billing_details.changed") == 3
    stage.subscribe(cast.owner, cast.team_id, "business")
    invoice = stage.stripe("GET", "/v1/invoices", customer=row().stripe_id)["data"][0]
    assert invoice["custom_fields"] == [{"name": "PO number", "value": "PO-4711"}]
    assert invoice["customer_name"] == FORM["name"]
    assert post(cast.owner, cast, **dict.fromkeys(FORM, "") | {"name": "Harbor"}).status_code == 303
    customer = at_stripe(stage)
    assert (customer["name"], customer["address"], customer["invoice_settings"]["custom_fields"]) == (
        "Harbor",
        None,
        None,
    )


def test_other_fields_of_an_invoice_stay(cast: Cast, stage: Stage) -> None:
    post(cast.owner, cast, **FORM)
    fields = {
        f"invoice_settings[custom_fields][{n}][{part}]": f"{part} {n}" for n in range(4) for part in ("name", "value")
    }
    stage.stripe("POST", f"/v1/customers/{row().stripe_id}", **fields)
    stage.deliver_all()
    assert row().po_number is None
    full = post(cast.owner, cast, **FORM)
    assert full.status_code == 422
    assert "Invoices have no room for it" in full.get_data(as_text=True)
    assert post(cast.owner, cast, **FORM | {"po_number": ""}).status_code == 303
    assert len(at_stripe(stage)["invoice_settings"]["custom_fields"]) == 4


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": ""}, "Invoices need a name"),
        ({"country": "XX"}, "Not a valid choice"),
        ({"po_number": "x" * 101}, "longer"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(cast: Cast, stage: Stage, changed: dict[str, str], words: str) -> None:
    answer = post(cast.owner, cast, **FORM | changed)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert db.session.execute(select(Customer)).first() is None


def test_while_stripe_is_away_nothing_is_saved_and_nothing_typed_is_lost(cast: Cast, stage: Stage) -> None:
    post(cast.owner, cast, **FORM)
    for path, form, call in (
        ("", FORM | {"name": "Other"}, "POST /v1/customers/*"),
        ("/tax-ids", {"kind": "eu_vat", "value": "DE999999999"}, "POST /v1/customers/*/tax_ids"),
    ):
        with trouble(stage, call_fault("drop_before", call, times=None)):
            answer = post(cast.owner, cast, path, **form)
        assert answer.status_code == 502
        assert "Nothing was saved" in answer.get_data(as_text=True)
        assert str(form.get("name") or form.get("value")) in answer.get_data(as_text=True)
    assert (row().name, tax_ids()) == (FORM["name"], [])


def test_what_is_changed_at_stripe_comes_here_and_does_not_go_back(cast: Cast, stage: Stage) -> None:
    post(cast.owner, cast, **FORM)
    customer_id = row().stripe_id
    changed = {
        "name": "Harbor Inc",
        "address[line1]": "1 Pier",
        "address[country]": "US",
        "email": "accounts@harbor.example",
    }
    stage.stripe("POST", f"/v1/customers/{customer_id}", **changed)
    stage.stripe("POST", f"/v1/customers/{customer_id}/tax_ids", type="us_ein", value="12-3456789")
    stage.deliver_all()
    found = row()
    assert (found.name, (found.address or {})["line1"]) == ("Harbor Inc", "1 Pier")
    assert tax_ids() == [("us_ein", "12-3456789", "unavailable")]
    assert billing_email(cast) == "accounts@harbor.example"
    assert "1 Pier" in page(cast.billing, cast)
    last = stage.last_event
    run("billing.emails")
    stage.drain()
    stage.deliver_all()
    assert stage.last_event == last, "nothing goes round"


def test_tax_ids_are_added_and_removed_and_checked(cast: Cast, stage: Stage) -> None:
    post(cast.owner, cast, **FORM)
    wrong = post(cast.billing, cast, "/tax-ids", kind="eu_vat", value="nonsense!")
    assert wrong.status_code == 422
    assert "Stripe says that this is no EU VAT number. One looks like DE123456789." in wrong.get_data(as_text=True)
    for kind, value in (("eu_vat", "de123456789"), ("gb_vat", "111111111")):
        assert post(cast.billing, cast, "/tax-ids", kind=kind, value=value).status_code == 303
    stage.deliver_all()
    assert tax_ids() == [("eu_vat", "DE123456789", "verified"), ("gb_vat", "111111111", "unverified")]
    assert all(words in page(cast.owner, cast) for words in ("EU VAT number", "Verified", "Not found"))
    ours = list(db.session.execute(select(TaxId.id, TaxId.stripe_id).order_by(TaxId.created_at, TaxId.id)))
    db.session.remove()
    assert post(cast.member, cast, f"/tax-ids/{ours[0].id}/removal").status_code == 403
    assert post(cast.admin, cast, f"/tax-ids/{ours[0].id}/removal").status_code == 303
    assert len(tax_ids()) == 1
    stage.stripe("DELETE", f"/v1/customers/{row().stripe_id}/tax_ids/{ours[1].stripe_id}")
    assert post(cast.admin, cast, f"/tax-ids/{ours[1].id}/removal").status_code == 303, "gone there already"
    stage.deliver_all()
    assert (tax_ids(), at_stripe(stage)["tax_ids"]["data"]) == ([], [])
    assert (actions().count("tax_id.added"), actions().count("tax_id.removed")) == (2, 2)


def test_news_of_a_tax_id_that_is_gone_concerns_nobody(cast: Cast, stage: Stage) -> None:
    post(cast.owner, cast, **FORM)
    stage.deliver_all()
    made = stage.stripe("POST", f"/v1/customers/{row().stripe_id}/tax_ids", type="us_ein", value="12-3456789")
    created, deleted = stage.new_events(), []
    for event in created:
        stage.deliver(event)
    stage.drain()
    assert len(tax_ids()) == 1
    stage.stripe("DELETE", f"/v1/customers/{row().stripe_id}/tax_ids/{made['id']}")
    deleted = stage.new_events()
    for event in [*deleted, *({**one, "id": f"{one['id']}late"} for one in created)]:
        assert stage.deliver(event) == 200
    stage.drain()
    assert tax_ids() == []


# The billing e-mail


def ask(cast: Cast, email: str = "bills@harbor.example") -> str:
    """Ask for the address; returns where the mailed link leads."""
    assert post(cast.billing, cast, "/email", email=email).status_code == 303
    found = re.search(r"/billing-email/\S+", mail("confirm_billing_email", email)[-1])
    assert found is not None
    return found.group()


def test_an_address_counts_when_its_reader_says_so(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    link = ask(cast)
    assert "bills@harbor.example waits for proof" in page(cast.owner, cast)
    assert cast.anonymous.get(link).status_code == 200, "a mail scanner opens it, and nothing happens"
    assert billing_email(cast) == "owner@example.com"
    done = cast.anonymous.post(link)
    assert "Invoices come here now" in done.get_data(as_text=True)
    assert (billing_email(cast), at_stripe(stage)["email"]) == ("bills@harbor.example", "bills@harbor.example")
    assert len(mail("billing_email_changed", "owner@example.com")) == 1
    assert [cast.anonymous.open(link, method=method).status_code for method in ("GET", "POST")] == [410, 410]
    stage.deliver_all()
    run("billing.emails")
    assert billing_email(cast) == "bills@harbor.example"
    assert actions().count("team.billing_email_changed") == 1


def test_only_the_newest_link_counts_and_not_for_ever(cast: Cast, stage: Stage) -> None:
    first, second = ask(cast), ask(cast, "money@harbor.example")
    assert cast.anonymous.post(first).status_code == 410
    stage.advance(timedelta(days=2, minutes=1))
    assert cast.anonymous.post(second).status_code == 410
    third = ask(cast)
    assert post(cast.owner, cast, "/email/withdrawal").status_code == 303
    assert cast.anonymous.post(third).status_code == 410
    assert billing_email(cast) == "owner@example.com"
    for email in ("owner@example.com", "nobody", ""):
        assert post(cast.billing, cast, "/email", email=email).status_code == 422


def test_an_address_chosen_while_stripe_is_away_is_sent_there_later(cast: Cast, stage: Stage) -> None:
    post(cast.owner, cast, **FORM)
    stage.deliver_all()
    link = ask(cast)
    with trouble(stage, call_fault("drop_before", "POST /v1/customers/*", times=None)):
        assert cast.anonymous.post(link).status_code == 200
    assert (billing_email(cast), at_stripe(stage)["email"]) == ("bills@harbor.example", "owner@example.com")
    stage.stripe("POST", f"/v1/customers/{row().stripe_id}", phone="040 1234")
    stage.deliver_all()
    assert billing_email(cast) == "bills@harbor.example", "other news of the customer do not undo it"
    run("billing.emails")
    assert at_stripe(stage)["email"] == "bills@harbor.example"


def test_late_news_of_one_address_does_not_undo_the_next(cast: Cast, stage: Stage) -> None:
    """The first one is at Stripe and we have not heard of it when the second one is chosen."""
    post(cast.owner, cast, **FORM)
    stage.deliver_all()
    first = ask(cast, "first@harbor.example")
    with trouble(stage, call_fault("drop_after", "POST /v1/customers/*")):
        cast.anonymous.post(first)
    second = ask(cast, "second@harbor.example")
    with trouble(stage, call_fault("drop_before", "POST /v1/customers/*", times=None)):
        cast.anonymous.post(second)
    stage.deliver_all()
    run("billing.emails")
    assert (billing_email(cast), at_stripe(stage)["email"]) == ("second@harbor.example", "second@harbor.example")


def test_an_address_that_stripe_refuses_is_not_sent_again_and_again(cast: Cast, stage: Stage) -> None:
    post(cast.owner, cast, **FORM)
    with trouble(stage, call_fault("drop_before", "POST /v1/customers/*", times=None)):
        cast.anonymous.post(ask(cast))
    db.session.execute(update(Team).values(billing_email="no address"))
    db.session.commit()
    for _ in range(2):
        run("billing.emails")
    assert row().refused_email == "no address"
    assert len(list(db.session.execute(select(Alarm).where(Alarm.kind == "refused_address")))) == 1
    db.session.remove()


def run(task: str) -> None:
    tasks()[task].run()
    db.session.remove()
