"""`POST /v1/invoices/create_preview`: what a change or the next renewal would bill."""

from portal.sandbox import discounting, schedule_phases
from portal.sandbox.addresses import ADDRESS, SHIPPING
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of_customer
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.item_changes import ITEMS
from portal.sandbox.parameters import (
    AMOUNT_MAX,
    Array,
    Boolean,
    Choice,
    Hash,
    Integer,
    Metadata,
    Text,
    Timestamp,
    TimestampOr,
)
from portal.sandbox.previewing import preview
from portal.sandbox.resources.subscriptions import BILLING_MODE
from portal.sandbox.store import Object
from portal.sandbox.tax_settings import AUTOMATIC_TAX, TAX_RATES

_INVOICE_ITEM = Hash(
    fields={
        "amount": Integer(minimum=-AMOUNT_MAX, maximum=AMOUNT_MAX),
        "currency": Text(pattern="[A-Za-z]{3}"),
        "description": Text(),
        "discountable": Boolean(),
        "metadata": Metadata(),
        "period": Hash(fields={"end": Timestamp(required=True), "start": Timestamp(required=True)}),
        "price": Text(),
        "quantity": Integer(minimum=0, maximum=999_999),
        "tax_rates": TAX_RATES,
    }
)
_CUSTOMER = Hash(
    fields={
        "address": Hash(fields=ADDRESS, unsettable=True),
        "shipping": SHIPPING,
        "tax_exempt": Choice(options=("exempt", "none", "reverse"), unsettable=True),
    }
)
_SUBSCRIPTION = Hash(
    fields={
        "billing_cycle_anchor": Hash(
            fields={"timestamp": Timestamp(), "type": Choice(options=("now", "timestamp", "unchanged"), required=True)}
        ),
        "billing_mode": BILLING_MODE,
        "cancel_at": TimestampOr(options=("max_period_end", "min_period_end"), unsettable=True),
        "cancel_at_period_end": Boolean(),
        "cancel_now": Boolean(),
        "default_tax_rates": TAX_RATES,
        "items": ITEMS,
        "proration_behavior": Choice(options=("always_invoice", "create_prorations", "none")),
        "proration_date": Timestamp(),
        "resume_at": Choice(options=("now",)),
        "trial_end": TimestampOr(options=("now",)),
    }
)
CREATE_PREVIEW = {
    "automatic_tax": AUTOMATIC_TAX,
    "customer": Text(),
    "customer_details": _CUSTOMER,
    "discounts": discounting.DISCOUNTS,
    "invoice_items": Array(max_items=250, item=_INVOICE_ITEM),
    "schedule": Text(),
    "schedule_details": Hash(
        fields={
            "end_behavior": Choice(options=("cancel", "release")),
            "phases": schedule_phases.CHANGED,
            "proration_behavior": schedule_phases.BEHAVIOR,
        }
    ),
    "preview_mode": Choice(options=("next", "recurring")),
    "subscription": Text(),
    "subscription_details": _SUBSCRIPTION,
}


@by_clock_of_customer
def create_preview(call: Call, values: Values) -> Object:
    """`POST /v1/invoices/create_preview`."""
    return preview(call, values)


ENDPOINTS = (Endpoint("POST", "/v1/invoices/create_preview", CREATE_PREVIEW, create_preview, "invoice"),)
