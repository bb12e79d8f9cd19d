"""Keeping people from trying stolen cards on our pages: few open or declined checkouts an hour, and an alarm.

Counted for the team and for the person: neither a new team nor a colleague's account gives more tries.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert

from portal.billing.checkout_order import Buyer, CheckoutRefused
from portal.billing.models import CardDecline, Checkout
from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.database import db

OPEN_OR_DECLINED_MAX = 5
WINDOW = timedelta(hours=1)
ALARM = "card_testing"


def refuse_card_testing(team_id: str, buyer: Buyer) -> None:
    """Raise `CheckoutRefused` when too many checkouts of the last hour came to nothing. Call under the team's lock.

    Those of one buyer in several teams take turns here, so that they are counted one after the other.
    """
    who = buyer.user_id or str(buyer.api_key_id)
    db.session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"checkouts of {who}"))))
    if unpaid_checkouts(team_id, buyer) + declines(team_id, buyer) >= OPEN_OR_DECLINED_MAX:
        raise CheckoutRefused("too_many")


def unpaid_checkouts(team_id: str, buyer: Buyer) -> int:
    """Checkouts begun in the last hour that were not paid, whatever has become of their pages."""
    query = select(func.count(Checkout.id)).where(
        or_(Checkout.team_id == team_id, _begun_by(buyer)), Checkout.created_at > _since(), Checkout.state != "complete"
    )
    return db.session.execute(query).scalar_one()


def declines(team_id: str, buyer: Buyer) -> int:
    """Cards that were refused in the last hour, on the team's checkouts or on the buyer's elsewhere."""
    query = (
        select(func.count(CardDecline.attempt_id))
        .outerjoin(Checkout, Checkout.id == CardDecline.checkout_id)
        .where(or_(CardDecline.team_id == team_id, _begun_by(buyer)), CardDecline.at > _since())
    )
    return db.session.execute(query).scalar_one()


def note_decline(team_id: str, attempt_id: str, checkout_id: str | None = None) -> None:
    """Note, in the current unit, that a bank refused a card; the same try told again counts once.

    `attempt_id` is the charge's id, or the payment intent's where no charge was made; `checkout_id` is what the
    intent's metadata says. The one that makes it too many raises the alarm.
    """
    known = select(Checkout.id).where(Checkout.id == checkout_id, Checkout.team_id == team_id).scalar_subquery()
    row = {"attempt_id": attempt_id, "team_id": team_id, "checkout_id": known}
    db.session.execute(insert(CardDecline).values(row).on_conflict_do_nothing())
    counted = select(func.count(CardDecline.attempt_id)).where(
        CardDecline.team_id == team_id, CardDecline.at > _since()
    )
    if db.session.execute(counted).scalar_one() >= OPEN_OR_DECLINED_MAX:
        warn(team_id)


def warn(team_id: str) -> None:
    """Raise the alarm, in the current unit."""
    raise_alarm(ALARM, team_id, open_or_declined_max=OPEN_OR_DECLINED_MAX)


def _begun_by(buyer: Buyer) -> ColumnElement[bool]:
    return Checkout.user_id == buyer.user_id if buyer.user_id else Checkout.api_key_id == buyer.api_key_id


def _since() -> ColumnElement[datetime]:
    return app_now() - cast(literal(WINDOW), Interval)
