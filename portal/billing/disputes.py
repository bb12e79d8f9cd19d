"""The mirror of disputes. How the bank decides is found out from Stripe, whichever of its events brings the news."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select

from portal.billing.dispute_models import Dispute
from portal.billing.gateway import Gateway
from portal.billing.mirror import Fetched, Json, fetch, lock_customer, moment, ref, store
from portal.core.database import db
from portal.core.unit_of_work import end_read


def fetch_dispute(gateway: Gateway, stripe_id: str) -> Fetched:
    return fetch(Dispute, stripe_id, gateway.dispute)


def fetch_disputes_of(gateway: Gateway, payment_intent_id: str) -> tuple[Fetched, ...]:
    """All disputes of an intent. One that is new to us has generation 0, and is stale if another worker is faster."""
    query = select(Dispute.stripe_id, Dispute.gen).where(Dispute.payment_intent_stripe_id == payment_intent_id)
    gens = {row.stripe_id: row.gen for row in db.session.execute(query)}
    end_read()
    found = gateway.disputes_of(payment_intent_id)
    return tuple(Fetched(dispute["id"], gens.get(dispute["id"], 0), dispute) for dispute in found)


def mirror_dispute(fetched: Fetched, team_id: str) -> Dispute:
    """Write a dispute; the customer is locked. Raises `StaleFetch`."""
    data = fetched.data
    values = {
        "team_id": team_id,
        "payment_intent_stripe_id": ref(data.get("payment_intent")),
        "charge_stripe_id": ref(data.get("charge")),
        "amount": data["amount"],
        "currency": data["currency"],
        "status": data["status"],
        "reason": data.get("reason"),
        "withdrawn": _withdrawn(data),
        "respond_by": moment((data.get("evidence_details") or {}).get("due_by")),
        "created_at": moment(data["created"]),
    }
    return store(Dispute, "dsp", fetched, values)


def _withdrawn(data: Json) -> int:
    """The disputed money that is away, without fees: withdrawals less what was reinstated."""
    return max(0, -sum(entry["amount"] for entry in data.get("balance_transactions") or ()))


def disputes_of(payment_intent_ids: list[str]) -> list[Dispute]:
    """The disputes of these intents, oldest first."""
    return _read(Dispute.payment_intent_stripe_id.in_(payment_intent_ids))


def disputes_of_team(team_id: str) -> list[Dispute]:
    """All of the team's disputes, oldest first."""
    return _read(Dispute.team_id == team_id)


def _read(which: ColumnElement[bool]) -> list[Dispute]:
    query = select(Dispute).where(which).order_by(Dispute.created_at, Dispute.stripe_id)
    return list(db.session.execute(query, execution_options={"populate_existing": True}).scalars())


def mirror_dispute_of_charge(fetched: Fetched, customer_id: str | None) -> None:
    """Write a dispute of a charge without an intent, as very old ones are. It bought nothing that we know of."""
    if customer_id is not None:
        mirror_dispute(fetched, lock_customer(customer_id).team_id)
