"""Stripe's customer portal: where a team changes its card, cancels or resumes its plan and finds its invoices.

A session is always for the team's own customer, whose id comes from our row and from nowhere else.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from portal.accounts.models import Team
from portal.billing.gateway import Gateway
from portal.billing.models import PORTAL_FLOWS, Customer, PortalConfiguration
from portal.billing.subscriptions import live_subscription
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import end_read


class PortalRefused(Exception):
    """There is nothing to open for this team; `reason` is `no_customer`, `customer_deleted`, `no_plan` or `ending`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def start(
    gateway: Gateway, team: Team, *, return_url: str, flow: str | None = None, done_url: str | None = None
) -> str:
    """Open a session and return the address of Stripe's page. Raises `PortalRefused` and `GatewayError`.

    Each session has a key of its own: it is short-lived, and one too many does no harm.
    """
    key = new_id("portal")
    return str(open_session(gateway, team, key=key, return_url=return_url, flow=flow, done_url=done_url)["url"])


def open_session(
    gateway: Gateway, team: Team, *, key: str, return_url: str, flow: str | None = None, done_url: str | None = None
) -> dict[str, Any]:
    """Open a session under this idempotency key and return it as Stripe has it.

    With a `flow` the page does one thing, and then sends the browser to `done_url` (or `return_url`, which is also
    where its way back leads).
    """
    params = _params(team.id, return_url, flow, done_url or return_url)
    end_read()
    return gateway.create_portal_session(params, key)


def _params(team_id: str, return_url: str, flow: str | None, done_url: str) -> dict[str, Any]:
    customer = db.session.execute(select(Customer).where(Customer.team_id == team_id)).scalar_one_or_none()
    if customer is None or customer.stripe_id is None:
        raise PortalRefused("no_customer")
    if customer.deleted:
        raise PortalRefused("customer_deleted")
    params: dict[str, Any] = {"customer": customer.stripe_id, "return_url": return_url}
    configuration = db.session.execute(select(PortalConfiguration.stripe_id)).scalar()
    if configuration is not None:
        params["configuration"] = configuration
    if flow is not None:
        params["flow_data"] = _flow_data(team_id, flow, done_url)
    return params


def _flow_data(team_id: str, flow: str, done_url: str) -> dict[str, Any]:
    if flow not in PORTAL_FLOWS:
        raise ValueError(f"a flow is one of {', '.join(PORTAL_FLOWS)}, not {flow!r}")
    after = {"type": "redirect", "redirect": {"return_url": done_url}}
    if flow == "payment_method_update":
        return {"type": flow, "after_completion": after}
    subscription = live_subscription(team_id)
    if subscription is None:
        raise PortalRefused("no_plan")
    if subscription.cancel_at is not None:
        raise PortalRefused("ending")
    return {"type": flow, "after_completion": after, flow: {"subscription": subscription.stripe_id}}
