"""What the customer portal at Stripe offers, brought there from the catalog: one configuration, known by its metadata."""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from portal.billing.models import PortalConfiguration
from portal.catalog.definition import Catalog
from portal.core.clock import app_now
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work

Json = dict[str, Any]

SOURCE = {"source": "turnpike"}
CANCEL_REASONS = (
    "too_expensive", "missing_features", "switched_service", "unused", "customer_service", "too_complex", "low_quality",
    "other",
)  # fmt: skip


class PortalGateway(Protocol):
    """What is asked of Stripe here."""

    def portal_configurations(self) -> list[Json]: ...

    def create_portal_configuration(self, params: Json, idempotency_key: str) -> Json: ...

    def update_portal_configuration(self, configuration_id: str, params: Json, idempotency_key: str) -> Json: ...


def params_of(catalog: Catalog, base_url: str) -> Json:
    """The configuration that the catalog asks for. Plans are not changed there: the portal of the seller previews that.
    Neither is the e-mail: here its reader is asked first.
    """
    addresses = {"privacy_policy_url": catalog.portal.privacy_url, "terms_of_service_url": catalog.portal.terms_url}
    return {
        "business_profile": {name: address for name, address in addresses.items() if address},
        "default_return_url": f"{base_url}/teams",
        "features": {
            "customer_update": {"enabled": True, "allowed_updates": ["name", "address", "tax_id"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {
                "enabled": True,
                "mode": "at_period_end",
                "cancellation_reason": {"enabled": True, "options": list(CANCEL_REASONS)},
            },
            "subscription_update": {"enabled": False},
        },
        "metadata": SOURCE,
    }


def sync_portal_configuration(gateway: PortalGateway, catalog: Catalog, base_url: str) -> str | None:
    """Make or update the configuration; returns `made` or `updated`, None when it is as it should be.

    Raises `GatewayError`. It is looked for at Stripe each time, since the account may be another one or emptied.
    """
    params = params_of(catalog, base_url)
    with unit_of_work():
        known = db.session.execute(select(PortalConfiguration)).scalar_one_or_none()
        before = (known.stripe_id, known.params) if known is not None else None
    ours = [found for found in gateway.portal_configurations() if found["metadata"].get("source") == SOURCE["source"]]
    if not ours:
        _save(str(gateway.create_portal_configuration(params, new_id("portal"))["id"]), params)
        return "made"
    stripe_id = str(ours[0]["id"])
    if before == (stripe_id, params):
        return None
    gateway.update_portal_configuration(stripe_id, params, new_id("portal"))
    _save(stripe_id, params)
    return "updated"


def _save(stripe_id: str, params: Json) -> None:
    row = {"one_row": True, "stripe_id": stripe_id, "params": params, "synced_at": app_now()}
    with unit_of_work() as session:
        statement = insert(PortalConfiguration).values(row)
        session.execute(statement.on_conflict_do_update(index_elements=["one_row"], set_=row))
