"""`POST /v1/subscriptions`: a subscription without Checkout, paid with a card the customer has already."""

from portal.sandbox import currencies, tax_settings
from portal.sandbox.added_items import ADDED
from portal.sandbox.beginning import ANCHOR_CONFIG, TRIAL_DAYS_MAX, anchor_of, trial_end_of
from portal.sandbox.billing_lines import OrderLine
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of_customer
from portal.sandbox.discounting import DISCOUNTS
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid, taken_back
from portal.sandbox.item_changes import QUANTITY
from portal.sandbox.parameters import Array, Boolean, Choice, Hash, Integer, Metadata, Text, Timestamp, TimestampOr
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import payment_methods, prices
from portal.sandbox.resources.subscriptions import BILLING_MODE, PAYMENT_SETTINGS, TRIAL_SETTINGS
from portal.sandbox.store import Object
from portal.sandbox.subscribing import Order, begin, check_lines
from portal.sandbox.tax_settings import AUTOMATIC_TAX, TAX_RATES

ITEMS_MAX = 20
CREATE = {
    "add_invoice_items": ADDED,
    "automatic_tax": AUTOMATIC_TAX,
    "billing_cycle_anchor": Timestamp(),
    "billing_cycle_anchor_config": ANCHOR_CONFIG,
    "billing_mode": BILLING_MODE,
    "cancel_at": TimestampOr(options=("max_period_end", "min_period_end")),
    "cancel_at_period_end": Boolean(),
    "customer": Text(required=True),
    "default_payment_method": Text(),
    "default_tax_rates": TAX_RATES,
    "description": Text(max_length=500),
    "discounts": DISCOUNTS,
    "items": Array(
        required=True,
        max_items=ITEMS_MAX,
        item=Hash(
            fields={
                "metadata": Metadata(),
                "price": Text(required=True),
                "quantity": QUANTITY,
                "tax_rates": TAX_RATES,
            }
        ),
    ),
    "metadata": Metadata(),
    "off_session": Boolean(),
    "payment_behavior": Choice(options=("allow_incomplete", "default_incomplete", "error_if_incomplete")),
    "payment_settings": PAYMENT_SETTINGS,
    "proration_behavior": Choice(options=("always_invoice", "create_prorations", "none")),
    "trial_end": TimestampOr(options=("now",)),
    "trial_period_days": Integer(minimum=1, maximum=TRIAL_DAYS_MAX),
    "trial_settings": TRIAL_SETTINGS,
}


@by_clock_of_customer
def create(call: Call, values: Values) -> Object:
    """Make a subscription; a refused card leaves it incomplete, or nothing at all when `payment_behavior` says so."""
    customer = fetch(call, "customer", values["customer"], "customer")
    lines = [_line(call, number, sent) for number, sent in enumerate(values["items"])]
    check_lines(lines)
    currencies.require(call, customer["id"], lines[0].price["currency"], "items")
    trial_end = trial_end_of(call, values)
    chosen = values.get("default_payment_method")
    if chosen is not None:
        payment_methods.require_of_customer(call, chosen, customer["id"], "default_payment_method")
    order = Order(
        customer=customer,
        lines=lines,
        payment_method=None,  # What is due is known with the invoice, and only then is a card looked for.
        trial_end=trial_end,
        values=values,
        added=values.get("add_invoice_items", []),
        anchor=anchor_of(call, values, [line.price for line in lines], trial_end),
    )
    subscription, error = begin(call, order)
    if error is not None and values.get("payment_behavior") == "error_if_incomplete":
        raise taken_back(error)
    return render(call, subscription)


def _line(call: Call, number: int, sent: Values) -> OrderLine:
    param = f"items[{number}][price]"
    price = fetch(call, "price", sent["price"], param)
    if price["recurring"] is None or not price["active"]:
        raise invalid(f"The price {price['id']} is not recurring or not active.", param)
    rates = tax_settings.named(call, sent.get("tax_rates"), f"items[{number}][tax_rates]")
    metadata = sent.get("metadata") or {}
    if not prices.is_metered(price):
        return OrderLine(price, sent.get("quantity", 1), tax_rates=rates, metadata=metadata)
    if "quantity" in sent:
        raise invalid("A metered price takes no quantity; its meter counts.", f"items[{number}][quantity]")
    return OrderLine(price, 0, tax_rates=rates, metadata=metadata)


ENDPOINTS = (Endpoint("POST", "/v1/subscriptions", CREATE, create, "subscription"),)
