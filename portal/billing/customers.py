"""The team's customer at Stripe: made once however many ask at the same time, and kept up to date."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from portal.accounts.models import Team
from portal.billing.gateway import Gateway, InFlight
from portal.billing.mirror import Fetched, StaleFetch, fetch, lock_customer, ref
from portal.billing.models import Customer
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work

IN_FLIGHT_TRIES, IN_FLIGHT_PAUSE_SECONDS = 25, 0.2


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
    the others are told that the key is in flight and look again.
    """
    for _ in range(IN_FLIGHT_TRIES):
        with unit_of_work() as session:
            stripe_id, params = session.execute(
                select(Customer.stripe_id, Customer.params).where(Customer.team_id == team_id)
            ).one()
        if stripe_id is not None:
            return str(stripe_id)
        try:
            created = gateway.create_customer(params, f"customer-{team_id}")
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


def has_customer(team_id: str) -> bool:
    """Whether Stripe knows the team, so that there is something to manage there."""
    query = select(Customer.stripe_id).where(Customer.team_id == team_id, Customer.deleted.is_(False))
    return db.session.execute(query).scalar() is not None


def fetch_customer(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(Customer, stripe_id, gateway.customer)


def mirror_customer(fetched: Fetched) -> Customer:
    """Write name, address and default card of a customer we know; `UnknownCustomer` otherwise."""
    customer = lock_customer(fetched.stripe_id)
    if customer.gen != fetched.gen:
        raise StaleFetch(fetched.stripe_id)
    data = fetched.data
    customer.deleted = bool(data.get("deleted"))
    if not customer.deleted:
        customer.email, customer.name = data["email"], data["name"]
        customer.default_payment_method = default_payment_method(data)
    customer.gen += 1
    customer.synced_at = app_now()
    db.session.flush()
    return customer


def default_payment_method(data: dict[str, Any]) -> str | None:
    return ref((data.get("invoice_settings") or {}).get("default_payment_method"))
