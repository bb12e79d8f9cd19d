"""Keeping a row equal to Stripe's object: fetch outside a transaction, write under a generation guard.

A write rests on a fetch that began after the previous write (`gen` was read first), so the order in which events
arrive stops mattering: an older answer that lands last is refused as stale, and fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, literal_column, select
from sqlalchemy.dialects.postgresql import Insert, insert

from portal.billing.dispute_models import Dispute
from portal.billing.invoice_models import CreditNote
from portal.billing.models import Customer, Invoice, Payment, PaymentMethod, Refund, Subscription
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.statements import Statement
from portal.core.unit_of_work import end_read, read_alone

Json = dict[str, Any]
M = TypeVar("M", Subscription, Invoice, PaymentMethod, Payment, Refund, CreditNote, Dispute)


class StaleFetch(Exception):
    """Somebody wrote the row after our fetch began: fetch again."""


class NotYet(Exception):
    """Something this needs is not here yet and is on its way: look again later. The message says what."""


class UnknownCustomer(NotYet):
    """The object belongs to a customer that no team has (yet)."""

    def __init__(self, customer_id: str) -> None:
        super().__init__(f"no team has the customer {customer_id}")


@dataclass(frozen=True)
class Fetched:
    """Stripe's object and the generation its row had before the fetch began."""

    stripe_id: str
    gen: int
    data: Json


def fetch(model: type[Any], stripe_id: str, retrieve: Callable[[str], Json]) -> Fetched:
    """End the transaction, read the row's generation, then ask Stripe."""
    end_read()
    found = read_alone(_generation(model.__tablename__), stripe_id=stripe_id)
    return Fetched(stripe_id, found[0].gen if found else 0, retrieve(stripe_id))


@cache
def _generation(table: str) -> Statement:
    return Statement(f"select gen from {table} where stripe_id = :stripe_id")  # noqa: S608  our own name


def store(model: type[M], prefix: str, fetched: Fetched, values: Mapping[str, Any]) -> M:
    """Insert or update the mirror row of `fetched`; raises `StaleFetch` when the row was written meanwhile."""
    statement = _upsert(model, prefix, fetched.stripe_id, values, model.gen == fetched.gen).returning(model)
    stored = db.session.execute(statement, execution_options={"populate_existing": True}).scalar_one_or_none()
    if stored is None:
        raise StaleFetch(fetched.stripe_id)
    return stored


def overwrite(model: type[M], prefix: str, stripe_id: str, values: Mapping[str, Any]) -> None:
    """Write a row that follows from another one, whose generation was checked in this unit: it needs none of its own."""
    db.session.execute(_upsert(model, prefix, stripe_id, values))


def _upsert(
    model: type[M], prefix: str, stripe_id: str, values: Mapping[str, Any], only_if: ColumnElement[bool] | None = None
) -> Insert:
    """Every value is sent once: a statement of more than 50 parameters or 4,096 characters is taken apart by the driver anew
    each time, which takes longer than the statement.
    """
    row = {**values, "synced_at": app_now()}
    statement = insert(model).values(id=new_id(prefix), stripe_id=stripe_id, gen=1, **row)
    set_: dict[str, Any] = {name: literal_column(f"excluded.{name}") for name in row} | {"gen": model.gen + 1}
    return statement.on_conflict_do_update(index_elements=["stripe_id"], set_=set_, where=only_if)


def lock_customer(stripe_customer_id: str) -> Customer:
    """The team's customer row, locked: writes to one team's mirror take turns. Raises `UnknownCustomer`."""
    query = select(Customer).where(Customer.stripe_id == stripe_customer_id).with_for_update()
    customer = db.session.execute(query, execution_options={"populate_existing": True}).scalar_one_or_none()
    if customer is None:
        raise UnknownCustomer(stripe_customer_id)
    return customer


def ref(value: Any) -> str | None:
    """The id of a reference, whether Stripe sent it expanded or not."""
    return value["id"] if isinstance(value, dict) else value


def moment(epoch: int | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
