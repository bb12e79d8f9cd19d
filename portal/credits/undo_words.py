"""Why credits were taken back, frozen or given again, in words, with the payment that it is about.

The cause of an entry names the refund, the dispute or the invoice; from there it is one step to the payment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select

from portal.accounts.models import Team
from portal.billing.dispute_models import Dispute
from portal.billing.models import Invoice, Payment, Refund
from portal.core.database import db
from portal.core.money import money_words
from portal.core.times import day_words

R = TypeVar("R", Refund, Dispute, Invoice)

_BY_REFUND = ("refund", "refund_failed")
_BY_DISPUTE = ("dispute", "dispute_returned", "dispute_won")
_BY_INVOICE = ("given_back", "upgrade_undone")


# `{what}` is the payment, or the part of it that a refund or a dispute is about.
_SENTENCES = {
    "refund": "{what} was refunded.",
    "refund_failed": "The refund did not go through: {what}.",
    "dispute": "{what} was disputed, and the bank sent it back.",
    "dispute_returned": "The dispute was won after all: {what}.",
    "dispute_won": "Could not be used while it was disputed: {what}.",
    "frozen": "{what} is disputed. The bank decides.",
    "thawed": "The bank has decided: {what}.",
}


@dataclass(frozen=True)
class Reason:
    """`words` is a sentence; `invoice_id` is the page on which the payment can be seen, where it has one."""

    words: str
    invoice_id: str | None


def reasons(team_id: str, cause_keys: Collection[str]) -> dict[str, Reason]:
    """The reason of each of these causes that has one to be told."""
    named = {cause: _named(cause) for cause in cause_keys}
    wanted = {stripe_id for _kind, stripe_id in named.values()}
    kinds = {kind for kind, _stripe_id in named.values()}
    if not kinds & {*_BY_REFUND, *_BY_DISPUTE, *_BY_INVOICE}:
        return {}
    rows: dict[str, Refund | Dispute | Invoice] = {}
    rows |= {row.stripe_id: row for row in _rows(Refund, team_id, wanted)}
    rows |= {row.stripe_id: row for row in _rows(Dispute, team_id, wanted)}
    rows |= {row.stripe_id: row for row in _rows(Invoice, team_id, wanted)}
    payments = _payments_of(team_id, [row for row in rows.values() if not isinstance(row, Invoice)])
    zone = db.session.execute(select(Team.time_zone).where(Team.id == team_id)).scalar_one()
    found = {}
    for cause, (kind, stripe_id) in named.items():
        if (row := rows.get(stripe_id)) is not None:
            found[cause] = _reason(kind, cause, row, payments, zone)
    return found


def frozen_for(team_id: str) -> list[Reason]:
    """Why something of the team's is frozen: one reason for each payment that the bank has not decided about."""
    disputes = [
        one for one in db.session.execute(select(Dispute).where(Dispute.team_id == team_id)).scalars() if one.open
    ]
    return list(dict.fromkeys(reasons(team_id, [f"dispute:{one.stripe_id}:frozen:" for one in disputes]).values()))


def _named(cause: str) -> tuple[str, str]:
    kind, _, rest = cause.partition(":")
    return kind, rest.partition(":")[0]


def _rows(model: type[R], team_id: str, stripe_ids: set[str]) -> list[R]:
    query = select(model).where(model.team_id == team_id, model.stripe_id.in_(stripe_ids))
    return list(db.session.execute(query).scalars())


def _payments_of(team_id: str, rows: list[Refund | Dispute]) -> dict[str, tuple[Payment, str | None]]:
    """The payments of refunds and disputes by their intent, each with the id of our page of its invoice."""
    intents = [row.payment_intent_stripe_id for row in rows if row.payment_intent_stripe_id]
    query = (
        select(Payment, Invoice.id)
        .outerjoin(Invoice, (Invoice.stripe_id == Payment.invoice_stripe_id) & (Invoice.team_id == Payment.team_id))
        .where(Payment.team_id == team_id, Payment.stripe_id.in_(intents))
    )
    return {payment.stripe_id: (payment, invoice_id) for payment, invoice_id in db.session.execute(query)}


def _reason(
    kind: str,
    cause: str,
    row: Refund | Dispute | Invoice,
    payments: Mapping[str, tuple[Payment, str | None]],
    zone: str,
) -> Reason:
    if isinstance(row, Invoice):
        what = "the rest of the plan's time was given back" if kind == "given_back" else "the plan was changed back"
        return Reason(f"Invoice {row.number or ''}: {what}.".replace(" :", ":"), row.id)
    payment, invoice_id = payments.get(row.payment_intent_stripe_id or "", (None, None))
    what = payment_words(payment, zone) if payment else "the payment"
    if payment is None or payment.amount != row.amount:
        what = f"{money_words(row.amount, row.currency)} of {what}"
    return Reason(_sentence(kind, cause, row, what), invoice_id)


def payment_words(payment: Payment, zone: str) -> str:
    paid = money_words(payment.amount, payment.currency)
    return f"the payment of {paid} on {day_words(payment.occurred_at, zone)}"


def _sentence(kind: str, cause: str, row: Refund | Dispute, what: str) -> str:
    if isinstance(row, Dispute) and kind == "dispute":
        kind = next((step for step in ("frozen", "thawed") if f":{step}:" in cause), kind)
    sentence = _SENTENCES[kind].format(what=what)
    return sentence[0].upper() + sentence[1:]
