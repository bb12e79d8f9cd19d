"""`POST /v1/subscriptions`: a subscription without Checkout, paid with a card the customer has already."""

from portal.sandbox import tax_settings
from portal.sandbox.added_items import ADDED
from portal.sandbox.billing_lines import OrderLine
from portal.sandbox.call import Call
from portal.sandbox.customer_time import by_clock_of_customer
from portal.sandbox.discounting import DISCOUNTS
from portal.sandbox.endpoints import Endpoint, Values
from portal.sandbox.errors import invalid, taken_back
from portal.sandbox.parameters import Array, Boolean, Choice, Hash, Integer, Metadata, Text, Timestamp
from portal.sandbox.registry import fetch, render
from portal.sandbox.resources import payment_methods, prices
from portal.sandbox.resources.subscriptions import TRIAL_SETTINGS
from portal.sandbox.store import Object
from portal.sandbox.subscribing import Order, begin, check_lines
from portal.sandbox.tax_settings import AUTOMATIC_TAX, TAX_RATES

ITEMS_MAX = 20
CREATE = {
    "add_invoice_items": ADDED,
    "automatic_tax": AUTOMATIC_TAX,
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
                "price": Text(required=True),
                "quantity": Integer(minimum=1, maximum=999_999),
                "tax_rates": TAX_RATES,
            }
        ),
    ),
    "metadata": Metadata(),
    "off_session": Boolean(),
    "payment_behavior": Choice(options=("allow_incomplete", "default_incomplete", "error_if_incomplete")),
    "trial_end": Timestamp(),
    "trial_period_days": Integer(minimum=1, maximum=730),
    "trial_settings": TRIAL_SETTINGS,
}


@by_clock_of_customer
def create(call: Call, values: Values) -> Object:
    """Make a subscription; a refused card leaves it incomplete, or nothing at all when `payment_behavior` says so."""
    customer = fetch(call, "customer", values["customer"], "customer")
    lines = [_line(call, number, sent) for number, sent in enumerate(values["items"])]
    check_lines(lines)
    trial_end = _trial_end(call, values)
    chosen = values.get("default_payment_method")
    if chosen is not None:
        payment_methods.require_of_customer(call, chosen, customer["id"], "default_payment_method")
    waits = values.get("payment_behavior") == "default_incomplete"
    free = waits or trial_end is not None or sum(prices.cost(line.price, line.quantity) for line in lines) == 0
    order = Order(
        customer=customer,
        lines=lines,
        payment_method=None if free else payment_methods.default_of(call, customer, chosen),
        trial_end=trial_end,
        values=values,
        added=values.get("add_invoice_items", []),
    )
    subscription, error = begin(call, order)
    if error is not None and values.get("payment_behavior") == "error_if_incomplete":
        raise taken_back(error)
    return render(call, subscription)


def _trial_end(call: Call, values: Values) -> int | None:
    if "trial_end" in values and "trial_period_days" in values:
        raise invalid("Send trial_end or trial_period_days, not both.", "trial_end")
    if "trial_end" in values and values["trial_end"] <= call.now():
        raise invalid("trial_end must lie in the future.", "trial_end")
    days = values.get("trial_period_days")
    return call.now() + days * 86400 if days else values.get("trial_end")


def _line(call: Call, number: int, sent: Values) -> OrderLine:
    param = f"items[{number}][price]"
    price = fetch(call, "price", sent["price"], param)
    if price["recurring"] is None or not price["active"]:
        raise invalid(f"The price {price['id']} is not recurring or not active.", param)
    rates = tax_settings.named(call, sent.get("tax_rates"), f"items[{number}][tax_rates]")
    if not prices.is_metered(price):
        return OrderLine(price, sent.get("quantity", 1), tax_rates=rates)
    if "quantity" in sent:
        raise invalid("A metered price takes no quantity; its meter counts.", f"items[{number}][quantity]")
    return OrderLine(price, 0, tax_rates=rates)


ENDPOINTS = (Endpoint("POST", "/v1/subscriptions", CREATE, create, "subscription"),)
