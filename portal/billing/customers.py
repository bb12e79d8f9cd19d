"""The team's customer at Stripe: made once however many ask at the same time, and kept up to date."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from portal.accounts.billing_email import take_billing_email
from portal.accounts.models import Team
from portal.billing.gateway import Failed, Gateway, GatewayError, InFlight, NotFound, Unavailable
from portal.billing.mirror import Fetched, StaleFetch, fetch, lock_customer, moment, ref
from portal.billing.models import Customer, TaxId
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import end_read, unit_of_work

IN_FLIGHT_TRIES, IN_FLIGHT_PAUSE_SECONDS = 25, 0.2
# How many keys that have kept a failure are gone through, and for how long Stripe surely remembers a key.
KEYS_MAX = 5
KEYS_LAST = timedelta(hours=23)
PO_NUMBER = "PO number"


class CustomerDeleted(GatewayError):
    """The team's customer was deleted at Stripe. No other one takes its place: what Stripe still tells of the old one's
    invoices, refunds and disputes finds the team by it.
    """


def plan_customer(team: Team, asked_by: dict[str, str]) -> None:
    """Save, in the current unit, what the team's customer is to be made of; the first to save decides."""
    params = {
        "name": team.name,
        "email": team.billing_email,
        "metadata": {"team_id": team.id, **asked_by, "source": "turnpike"},
    }
    db.session.execute(insert(Customer).values(team_id=team.id, params=params).on_conflict_do_nothing())


def ensure_customer(gateway: Gateway, team_id: str) -> str:
    """Stripe's id of the team's customer, made now if need be (after `plan_customer` was committed).

    Everyone who asks at once sends the same frozen parameters under the same key, so Stripe makes one. While it does,
    the others are told that the key is in flight and look again. Raises `CustomerDeleted`.
    """
    for _ in range(IN_FLIGHT_TRIES):
        with unit_of_work() as session:
            columns = (Customer.stripe_id, Customer.deleted, Customer.params, app_now() - Customer.created_at)
            stripe_id, deleted, params, age = session.execute(select(*columns).where(Customer.team_id == team_id)).one()
        if deleted:
            raise CustomerDeleted(f"{stripe_id} was deleted")
        if stripe_id is not None:
            return str(stripe_id)
        try:
            created = _make_customer(gateway, team_id, params, look_first=age > KEYS_LAST)
        except InFlight:
            time.sleep(IN_FLIGHT_PAUSE_SECONDS)
            continue
        with unit_of_work() as session:
            session.execute(
                update(Customer)
                .where(Customer.team_id == team_id, Customer.stripe_id.is_(None))
                .values(stripe_id=created["id"], email=created["email"], name=created["name"], synced_at=app_now())
            )
        return str(created["id"])
    raise InFlight("the customer is being made by another request")


def _make_customer(gateway: Gateway, team_id: str, params: dict[str, Any], *, look_first: bool) -> dict[str, Any]:
    """Make the customer, or find the one that an earlier call made without our hearing of it.

    A key that has kept a failure tells nothing else for a day, so the customer is looked for, and if there is none the
    next key is used. Everyone goes through the same keys in the same order, so that nobody makes a second one.
    """
    for number in range(KEYS_MAX):
        found = gateway.customer_of_team(team_id, params["email"]) if look_first or number else None
        if found is not None:
            return found
        try:
            return gateway.create_customer(params, f"customer-{team_id}" + (f"-{number}" if number else ""))
        except Failed as error:
            if not error.replayed:
                raise
    raise Unavailable("Stripe has failed to make the customer too often today")


def has_customer(team_id: str) -> bool:
    """Whether Stripe knows the team, so that there is something to manage there."""
    query = select(Customer.stripe_id).where(Customer.team_id == team_id, Customer.deleted.is_(False))
    return db.session.execute(query).scalar() is not None


def customer_is_deleted(team_id: str) -> bool:
    query = select(Customer.team_id).where(Customer.team_id == team_id, Customer.deleted)
    return db.session.execute(query).scalar() is not None


def fetch_customer(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(Customer, stripe_id, gateway.customer)


def customer_of_tax_id(gateway: Gateway, stripe_id: str) -> str | None:
    """Whose tax id it is: ours, if we know it, also when it is gone at Stripe; None when nobody knows."""
    query = select(Customer.stripe_id).join(TaxId, TaxId.team_id == Customer.team_id)
    known = db.session.execute(query.where(TaxId.stripe_id == stripe_id)).scalar()
    end_read()
    if known is not None:
        return known
    try:
        return ref(gateway.tax_id(stripe_id).get("customer"))
    except NotFound:
        return None


def mirror_customer(fetched: Fetched, *, card: bool = False) -> Customer:
    """Write what invoices say of a customer we know; `UnknownCustomer` otherwise.

    An e-mail address that was changed at Stripe becomes the team's: whoever wrote last is right, there or here.
    With `card` its default card is written too, which only the event that has the plan paid with it may do: to whoever
    finds a card written here, it is no news any more.
    """
    customer = lock_customer(fetched.stripe_id)
    if customer.gen != fetched.gen:
        raise StaleFetch(fetched.stripe_id)
    data = fetched.data
    customer.deleted = bool(data.get("deleted"))
    if customer.deleted:
        customer.default_payment_method = None  # nothing is charged to it any more
    else:
        _mirror_email(customer, data["email"])
        customer.name = data["name"]
        customer.address, customer.po_number = data.get("address"), po_number(data)
        if card:
            customer.default_payment_method = default_payment_method(data)
        _mirror_tax_ids(customer.team_id, (data.get("tax_ids") or {}).get("data"))
    customer.gen += 1
    customer.synced_at = app_now()
    db.session.flush()
    return customer


def _mirror_email(customer: Customer, email: str | None) -> None:
    """Only what is news from Stripe becomes the team's address: neither what Stripe has said before, nor what we have sent
    there ourselves, since the team may have chosen another one meanwhile.
    """
    if customer.email is not None and email not in (None, customer.email, customer.sent_email):
        take_billing_email(customer.team_id, str(email))
    if email == customer.sent_email:
        customer.sent_email = None
    customer.email = email


def _mirror_tax_ids(team_id: str, found: list[dict[str, Any]] | None) -> None:
    """Write all of them anew; an answer that does not tell of them leaves them as they are."""
    if found is None:
        return
    gone = delete(TaxId).where(TaxId.team_id == team_id, TaxId.stripe_id.not_in([one["id"] for one in found]))
    db.session.execute(gone)
    for one in found:
        values = {
            "team_id": team_id,
            "type": one["type"],
            "value": one["value"],
            "verification": (one.get("verification") or {}).get("status"),
            "created_at": moment(one["created"]),
        }
        statement = insert(TaxId).values(id=new_id("txi"), stripe_id=one["id"], **values)
        db.session.execute(statement.on_conflict_do_update(index_elements=["stripe_id"], set_=values))


def po_number(data: dict[str, Any]) -> str | None:
    """The order's number, which stands on each invoice as a field of this name."""
    fields = (data.get("invoice_settings") or {}).get("custom_fields") or []
    return next((one["value"] for one in fields if one["name"] == PO_NUMBER), None)


def default_payment_method(data: dict[str, Any]) -> str | None:
    return ref((data.get("invoice_settings") or {}).get("default_payment_method"))
