"""What is billed once with a subscription's next invoice: `add_invoice_items` of a new one, or of a change."""

from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import ApiError
from portal.sandbox.parameters import Array, Hash, Integer, Metadata, Text
from portal.sandbox.registry import fetch
from portal.sandbox.resources import invoice_items, subscription_items
from portal.sandbox.store import Object
from portal.sandbox.tax_settings import TAX_RATES

ADDED = Array(
    max_items=20,
    item=Hash(
        fields={
            "metadata": Metadata(),
            "price": Text(required=True),
            "quantity": Integer(minimum=0, maximum=999_999),
            "tax_rates": TAX_RATES,
        }
    ),
)


def add(call: Call, subscription: Object, sent: list[Values]) -> None:
    """Let what was sent wait for the subscription's next invoice, for its current period."""
    customer = fetch(call, "customer", subscription["customer"])
    for place, values in enumerate(sent):
        rest = {name: value for name, value in values.items() if name != "price"}
        asked = {"pricing": {"price": values["price"]}, "period": _period(call, subscription)}
        try:
            invoice_items.add(call, customer, rest | asked | {"subscription": subscription["id"]})
        except ApiError as error:
            name = (error.param or "price").replace("pricing[price]", "price")
            head, _, tail = name.partition("[")
            error.param = f"add_invoice_items[{place}][{head}]" + (f"[{tail}" if tail else "")
            raise


def _period(call: Call, subscription: Object) -> dict[str, int]:
    items = subscription_items.of_subscription(call, subscription["id"])
    return {
        "end": max(item["current_period_end"] for item in items),
        "start": min(item["current_period_start"] for item in items),
    }
