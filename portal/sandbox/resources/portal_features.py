"""What a portal configuration may switch on: the parameters of `features`, and how they come together in the object."""

from typing import Any

from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid, missing_parameter
from portal.sandbox.parameters import Array, Boolean, Choice, Hash, Integer, Param, Text
from portal.sandbox.registry import fetch
from portal.sandbox.resources.subscriptions import FEEDBACK
from portal.sandbox.store import Object

PRODUCTS_MAX = 10
PAUSES_MAX = 10
CUSTOMER_UPDATES = ("address", "email", "name", "phone", "shipping", "tax_id")
_PRODUCT = Hash(
    fields={
        "adjustable_quantity": Hash(
            fields={
                "enabled": Boolean(required=True),
                "maximum": Integer(minimum=0, maximum=999_999),
                "minimum": Integer(minimum=0, maximum=999_999),
            }
        ),
        "prices": Array(required=True),
        "product": Text(required=True),
    }
)
_CONDITION = Hash(fields={"type": Choice(options=("decreasing_item_amount", "shortening_interval"), required=True)})
_SUBSCRIPTION_UPDATE: dict[str, Param] = {
    "billing_cycle_anchor": Choice(options=("now", "unchanged")),
    "default_allowed_updates": Array(item=Choice(options=("price", "promotion_code", "quantity")), unsettable=True),
    "products": Array(item=_PRODUCT, max_items=PRODUCTS_MAX, unsettable=True),
    "proration_behavior": Choice(options=("always_invoice", "create_prorations", "none")),
    "schedule_at_period_end": Hash(fields={"conditions": Array(item=_CONDITION)}),
    "trial_update_behavior": Choice(options=("continue_trial", "end_trial")),
}
_PAUSE_OPTION = Hash(
    fields={
        "interval": Choice(options=("day", "month", "week", "year"), required=True),
        "interval_count": Integer(minimum=1, maximum=1095),
    }
)
_SUBSCRIPTION_PAUSE = Hash(
    fields={
        "duration": Hash(
            fields={
                "interval_options": Array(item=_PAUSE_OPTION, max_items=PAUSES_MAX, unsettable=True),
                "type": Choice(options=("indefinite", "interval_options"), required=True),
            }
        ),
        "enabled": Boolean(),
    }
)


def parameters(*, new: bool) -> Hash:
    """Return the declaration of `features`; a new configuration must say more than a changed one."""
    reasons = Array(item=Choice(options=FEEDBACK), unsettable=not new, required=new)
    cancel = {
        "cancellation_reason": Hash(fields={"enabled": Boolean(required=True), "options": reasons}),
        "enabled": Boolean(required=new),
        "mode": Choice(options=("at_period_end", "immediately")),
        "proration_behavior": Choice(options=("always_invoice", "create_prorations", "none")),
    }
    customer = {
        "allowed_updates": Array(item=Choice(options=CUSTOMER_UPDATES), unsettable=True),
        "enabled": Boolean(required=new),
    }
    always = Hash(fields={"enabled": Boolean(required=True)})
    return Hash(
        required=new,
        fields={
            "customer_update": Hash(fields=customer),
            "invoice_history": always,
            "payment_method_update": always,
            "subscription_cancel": Hash(fields=cancel),
            "subscription_pause": _SUBSCRIPTION_PAUSE,
            "subscription_update": Hash(fields=_SUBSCRIPTION_UPDATE | {"enabled": Boolean(required=new)}),
        },
    )


def none_enabled() -> Object:
    """Return the features of a configuration in which nothing is switched on."""
    return {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": False},
        "payment_method_update": {"enabled": False, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "feedback_options": None, "options": []},
            "enabled": False,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_pause": {
            "duration": {"interval_options": [{"interval": "month", "interval_count": 1}], "type": "interval_options"},
            "enabled": False,
        },
        "subscription_update": {
            "billing_cycle_anchor": None,
            "default_allowed_updates": [],
            "enabled": False,
            "products": [],
            "proration_behavior": "none",
            "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial",
        },
    }


def merge(call: Call, features: Object, sent: Values) -> None:
    """Bring what was sent into the features of a configuration, in place, and refuse what does not go together."""
    for name, values in sent.items():
        _merge(features[name], values)
    for option in features["subscription_pause"]["duration"]["interval_options"]:
        option.setdefault("interval_count", 1)
    for product in features["subscription_update"]["products"]:
        product["adjustable_quantity"] = {"maximum": None, "minimum": 1} | product.get(
            "adjustable_quantity", {"enabled": False}
        )
    _check_cancel(features["subscription_cancel"])
    duration = features["subscription_pause"]["duration"]
    if duration["type"] == "interval_options" and not duration["interval_options"]:
        raise missing_parameter("features[subscription_pause][duration][interval_options]")
    if features["customer_update"]["enabled"] and not features["customer_update"]["allowed_updates"]:
        raise missing_parameter("features[customer_update][allowed_updates]")
    _check_update(call, features["subscription_update"])


def _merge(old: Object, sent: Values) -> None:
    for name, value in sent.items():
        if isinstance(value, dict) and isinstance(old.get(name), dict):
            _merge(old[name], value)
        else:
            # Only lists can be unset here, and an unset list is an empty one.
            old[name] = [] if value is None else value


def _check_cancel(cancel: Object) -> None:
    reason = cancel["cancellation_reason"]
    if reason["enabled"] and not reason["options"]:
        raise missing_parameter("features[subscription_cancel][cancellation_reason][options]")
    prorates = cancel["proration_behavior"]
    if prorates == "always_invoice" or (prorates == "create_prorations" and cancel["mode"] != "immediately"):
        raise invalid(
            "A plan that ends with its period leaves nothing to prorate, and what one that ends at once leaves is not "
            "invoiced at once: send none, or create_prorations with the mode immediately.",
            "features[subscription_cancel][proration_behavior]",
        )


def _check_update(call: Call, update: Object) -> None:
    prefix = "features[subscription_update]"
    if not update["enabled"]:
        return
    for name in ("default_allowed_updates", "products"):
        if not update[name]:
            raise missing_parameter(f"{prefix}[{name}]")
    for number, product in enumerate(update["products"]):
        _check_product(call, product, f"{prefix}[products][{number}]")


def _check_product(call: Call, product: dict[str, Any], param: str) -> None:
    fetch(call, "product", product["product"], f"{param}[product]")
    for number, price_id in enumerate(product["prices"]):
        price = fetch(call, "price", price_id, f"{param}[prices][{number}]")
        if price["product"] != product["product"] or price["recurring"] is None:
            raise invalid(
                f"The price {price_id} is not recurring or belongs to another product.", f"{param}[prices][{number}]"
            )
