"""The Billing Meter that counts one of the catalog's meters at Stripe: what it is called there and how it adds up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
CUSTOMER, VALUE = "stripe_customer_id", "value"


@dataclass(frozen=True)
class MeterTerms:
    """A metered meter of the catalog."""

    key: str
    name: str

    @property
    def event_name(self) -> str:
        return event_name(self.key)

    @property
    def params(self) -> Json:
        return {"display_name": self.name, "event_name": self.event_name, **_COUNTING}

    def fits(self, found: Json) -> bool:
        """Whether a meter of Stripe's counts as we report."""
        return all(found[name] == wanted for name, wanted in _COUNTING.items())


_COUNTING: Json = {
    "default_aggregation": {"formula": "sum"},
    "customer_mapping": {"type": "by_id", "event_payload_key": CUSTOMER},
    "value_settings": {"event_payload_key": VALUE},
}


def event_name(meter_key: str) -> str:
    """The name of a meter's events: Stripe has one active meter for each."""
    return f"turnpike_{meter_key}"
