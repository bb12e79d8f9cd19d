"""Whom a team's invoices are made out to: name, address, tax ids, the number of an order, and the billing e-mail.

Stripe has the one copy that counts, since it writes the invoices. What is saved here is changed there in the request, and
its answer is mirrored like any other news of the customer; what is changed there comes as `customer.updated` and
`customer.tax_id.*`. So whoever wrote last at Stripe is right, and nothing is ever sent back that came from there. The
e-mail alone begins here, because its reader is asked first: it is sent to Stripe when it differs from what Stripe last said.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from sqlalchemy import select, update

from portal.accounts import audit
from portal.accounts.models import Team
from portal.billing.customers import (
    PO_NUMBER,
    CustomerDeleted,
    ensure_customer,
    fetch_customer,
    mirror_customer,
    plan_customer,
)
from portal.billing.gateway import Gateway, InvalidRequest, NotFound
from portal.billing.mirror import Fetched, Json, StaleFetch, lock_customer
from portal.billing.models import Customer, TaxId
from portal.core.alarms import raise_alarm
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import end_read, unit_of_work

log = structlog.get_logger(__name__)

FETCH_TRIES = 5
ADDRESS_LINES = ("line1", "line2", "postal_code", "city", "state", "country")
# How many fields of its own an invoice can have.
FIELDS_MAX = 4


class DetailsRefused(Exception):
    """Stripe did not take what was entered; `part` is what, `tax_id`, `po_number` or another parameter of Stripe's."""

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


@dataclass(frozen=True)
class Details:
    """As the form has them. Empty lines of an address are texts too."""

    name: str
    address: dict[str, str]
    po_number: str


def details_of(team: Team) -> Details:
    customer = db.session.execute(select(Customer).where(Customer.team_id == team.id)).scalar_one_or_none()
    address = (customer.address if customer else None) or {}
    return Details(
        name=(customer.name if customer and customer.stripe_id else None) or team.name,
        address={line: address.get(line) or "" for line in ADDRESS_LINES},
        po_number=(customer.po_number if customer else None) or "",
    )


def tax_ids_of(team_id: str) -> list[TaxId]:
    query = select(TaxId).where(TaxId.team_id == team_id).order_by(TaxId.created_at, TaxId.id)
    return list(db.session.execute(query).scalars())


def save(gateway: Gateway, team: Team, user_id: str, details: Details) -> None:
    """Change the customer at Stripe and mirror it. Raises `DetailsRefused` and `GatewayError`; then nothing is saved."""
    fetched = _customer(gateway, team, user_id)
    params: Json = {
        "name": details.name,
        "address": details.address if any(details.address.values()) else "",
        "invoice_settings": {"custom_fields": _custom_fields(fetched.data, details.po_number)},
    }
    try:
        answer = gateway.update_customer(fetched.stripe_id, params, new_id("details"))
    except InvalidRequest as error:
        raise DetailsRefused(error.param or "") from error
    _mirror(gateway, Fetched(fetched.stripe_id, fetched.gen, answer), user_id, "billing_details.changed")


def add_tax_id(gateway: Gateway, team: Team, user_id: str, kind: str, value: str) -> None:
    """Raises `DetailsRefused` and `GatewayError`. The key is of what is added and to what, so that two clicks are one."""
    fetched = _customer(gateway, team, user_id)
    params = {"type": kind, "value": value}
    try:
        gateway.create_tax_id(fetched.stripe_id, params, f"taxid-{fetched.stripe_id}-{fetched.gen}-{kind}-{value}")
    except InvalidRequest as error:
        raise DetailsRefused("tax_id") from error
    _mirror(gateway, fetch_customer(gateway, fetched.stripe_id), user_id, "tax_id.added", kind=kind)


def remove_tax_id(gateway: Gateway, team: Team, user_id: str, tax_id: TaxId) -> None:
    """Raises `GatewayError`. One that is gone at Stripe already is gone here too."""
    query = select(Customer.stripe_id).where(Customer.team_id == team.id)
    customer_id = str(db.session.execute(query).scalar_one())
    stripe_id, kind = tax_id.stripe_id, tax_id.type
    end_read()
    try:
        gateway.delete_tax_id(customer_id, stripe_id)
    except NotFound:
        log.info("tax_id_gone", tax_id=stripe_id)
    _mirror(gateway, fetch_customer(gateway, customer_id), user_id, "tax_id.removed", kind=kind)


def _customer(gateway: Gateway, team: Team, user_id: str) -> Fetched:
    """The team's customer as it is now; made now if the team has none yet. Raises `CustomerDeleted`."""
    with unit_of_work():
        plan_customer(team, {"user_id": user_id})
    fetched = fetch_customer(gateway, ensure_customer(gateway, team.id))
    if fetched.data.get("deleted"):  # the news of it is on its way
        raise CustomerDeleted(f"{fetched.stripe_id} was deleted")
    return fetched


def _custom_fields(customer: Json, po_number: str) -> list[dict[str, str]] | str:
    """Ours among those that stand there; an empty text takes all away. Raises `DetailsRefused` when there are too many."""
    found = (customer.get("invoice_settings") or {}).get("custom_fields") or []
    fields = [{"name": one["name"], "value": one["value"]} for one in found if one["name"] != PO_NUMBER]
    if po_number:
        fields.append({"name": PO_NUMBER, "value": po_number})
    if len(fields) > FIELDS_MAX:
        raise DetailsRefused("po_number")
    return fields or ""


def _mirror(gateway: Gateway, fetched: Fetched, user_id: str, action: str, **detail: str) -> None:
    """Write the customer and who changed it; read once more as often as news of it was faster."""
    for left in reversed(range(FETCH_TRIES)):
        try:
            with unit_of_work():
                customer = mirror_customer(fetched)
                audit.record(audit.by_user(user_id), action, team_id=customer.team_id, **detail)
            return
        except StaleFetch:
            if not left:
                raise
        fetched = fetch_customer(gateway, fetched.stripe_id)


def emails_to_send() -> list[str]:
    """The teams whose billing e-mail Stripe does not have yet, and has not refused."""
    query = (
        select(Customer.team_id)
        .join(Team, Team.id == Customer.team_id)
        .where(
            Customer.stripe_id.is_not(None),
            Customer.deleted.is_(False),
            Team.billing_email.is_distinct_from(Customer.email),
            Team.billing_email.is_distinct_from(Customer.refused_email),
        )
    )
    return list(db.session.execute(query).scalars())


def send_email(gateway: Gateway, team_id: str) -> None:
    """Let Stripe have the team's billing e-mail, if it has another one. Raises `GatewayError`; it is tried again then."""
    with unit_of_work() as session:
        known = (Customer.team_id == team_id) & Customer.deleted.is_(False)
        stripe_id = session.execute(select(Customer.stripe_id).where(known)).scalar()
    if stripe_id is None:
        return
    fetched = fetch_customer(gateway, stripe_id)
    try:
        with unit_of_work():
            email = _note_sending(fetched)
        if email is None:
            return
        answer = gateway.update_customer(stripe_id, {"email": email}, new_id("email"))
        with unit_of_work():
            mirror_customer(Fetched(stripe_id, fetched.gen + 1, answer))
    except StaleFetch:
        log.info("customer_written_meanwhile", team_id=team_id)  # by news of it; the schedule looks again
    except InvalidRequest:
        with unit_of_work() as session:
            session.execute(update(Customer).where(Customer.team_id == team_id).values(refused_email=email))
            raise_alarm("refused_address", team_id)


def _note_sending(fetched: Fetched) -> str | None:
    """Save, in the current unit, what is about to be sent and what was there before, neither of which is news when Stripe
    tells it later; None when Stripe has it already, or has deleted the customer. Raises `StaleFetch`.
    """
    if fetched.data.get("deleted"):
        mirror_customer(fetched)
        return None
    customer = lock_customer(fetched.stripe_id)
    if customer.gen != fetched.gen:
        raise StaleFetch(fetched.stripe_id)
    email = db.session.execute(select(Team.billing_email).where(Team.id == customer.team_id)).scalar_one()
    customer.email = fetched.data["email"]
    customer.sent_email = email if customer.email != email else None
    customer.gen += 1
    return customer.sent_email
