"""Keeping people from trying stolen cards on our pages: few open or declined checkouts an hour, and an alarm.

Counted for the team and for the person: neither a new team nor a colleague's account gives more tries.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Interval, Select, cast, func, literal, or_, select, union
from sqlalchemy.dialects.postgresql import insert

from portal.billing.checkout_order import Buyer, CheckoutRefused
from portal.billing.gateway import Gateway, GatewayError
from portal.billing.models import CardDecline, Checkout
from portal.core.alarms import raise_alarm
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.unit_of_work import end_read

log = structlog.get_logger(__name__)

OPEN_OR_DECLINED_MAX = 5
WINDOW = timedelta(hours=1)
IN_MAKING = timedelta(minutes=1)
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
    """Checkouts begun in the last hour that were not paid, whatever has become of their pages.

    One that never came to a page takes no card: it counts only for as long as its page may be in the making.
    """
    unpaid = select(Checkout.id).where(
        Checkout.created_at > _since(),
        Checkout.state != "complete",
        or_(Checkout.stripe_id.is_not(None), (Checkout.state == "starting") & (Checkout.created_at > _ago(IN_MAKING))),
    )
    return _count(unpaid.where(Checkout.team_id == team_id), unpaid.where(_begun_by(buyer)))


def declines(team_id: str, buyer: Buyer) -> int:
    """Cards that were refused in the last hour, on the team's checkouts or on the buyer's elsewhere."""
    recent = select(CardDecline.attempt_id).where(CardDecline.at > _since())
    elsewhere = recent.join(Checkout, Checkout.id == CardDecline.checkout_id).where(_begun_by(buyer))
    return _count(recent.where(CardDecline.team_id == team_id), elsewhere)


def note_decline(team_id: str, attempt_id: str, checkout_id: str | None = None) -> None:
    """Note, in the current unit, that a bank refused a card; the same try told again counts once.

    `attempt_id` is the charge's id, or the payment intent's where no charge was made; `checkout_id` is what the
    intent's metadata says. The one that makes it too many raises the alarm.
    """
    known = select(Checkout.id).where(Checkout.id == checkout_id, Checkout.team_id == team_id).scalar_subquery()
    row = {"attempt_id": attempt_id, "team_id": team_id, "checkout_id": known}
    db.session.execute(insert(CardDecline).values(row).on_conflict_do_nothing())
    if _team_declines(team_id) >= OPEN_OR_DECLINED_MAX:
        warn(team_id)


def close_tested_pages(gateway: Gateway, team_id: str, cause: str) -> None:
    """Close the team's open pages for bundles once too many cards were refused: a page takes one card after another.

    Call outside of any unit; `cause` is a part of the keys. What could not be closed is tried again with the next
    card that is refused there.
    """
    tested = _team_declines(team_id) >= OPEN_OR_DECLINED_MAX
    bundles = (Checkout.team_id == team_id) & (Checkout.purpose == "bundle") & (Checkout.state == "open")
    pages = list(db.session.execute(select(Checkout.stripe_id).where(bundles)).scalars()) if tested else []
    end_read()
    for page_id in filter(None, pages):
        try:
            gateway.expire_checkout_session(page_id, f"expire-{page_id}-{cause}")
        except GatewayError as error:  # most likely it is paid or over, which its own event tells
            log.warning("tested_page_not_closed", checkout_session=page_id, code=error.code)


def _team_declines(team_id: str) -> int:
    query = select(func.count(CardDecline.attempt_id)).where(CardDecline.team_id == team_id, CardDecline.at > _since())
    return db.session.execute(query).scalar_one()


def warn(team_id: str) -> None:
    """Raise the alarm, in the current unit."""
    raise_alarm(ALARM, team_id, open_or_declined_max=OPEN_OR_DECLINED_MAX)


def _begun_by(buyer: Buyer) -> ColumnElement[bool]:
    return Checkout.user_id == buyer.user_id if buyer.user_id else Checkout.api_key_id == buyer.api_key_id


def _count(*queries: Select[str]) -> int:
    """How many ids the queries find, each once. Apart they use an index each, which one with `or` does not."""
    return db.session.execute(select(func.count()).select_from(union(*queries).subquery())).scalar_one()


def _since() -> ColumnElement[datetime]:
    return _ago(WINDOW)


def _ago(span: timedelta) -> ColumnElement[datetime]:
    return app_now() - cast(literal(span), Interval)
