"""Checkout Sessions in the modes `payment` and `subscription`, paid on the sandbox's own hosted page."""

from portal.sandbox import checkout_taxes, discounting, events, ids, tax_settings
from portal.sandbox.addresses import ADDRESS, SHIPPING
from portal.sandbox.call import ACCOUNT_NAME, Call
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid
from portal.sandbox.instruments import types_for
from portal.sandbox.parameters import (
    AMOUNT_MAX,
    CREATED_PAGING,
    Array,
    Boolean,
    Choice,
    Email,
    Hash,
    Integer,
    Metadata,
    Text,
    Timestamp,
    Url,
    merge_metadata,
)
from portal.sandbox.registry import Embedded, Included, Reference, Resource, fetch, register, render
from portal.sandbox.resources import checkout_items, payment_intents
from portal.sandbox.resources.subscriptions import TRIAL_SETTINGS
from portal.sandbox.store import Condition, Object, equals
from portal.sandbox.tax_settings import AUTOMATIC_TAX, TAX_RATES, TaxTerms

OPEN_SECONDS_MIN = 30 * 60
OPEN_SECONDS_MAX = 24 * 3600
# So that a trial never ends before the session that begins it.
TRIAL_SECONDS_MIN = 48 * 3600
QUANTITY_MAX = 999_999
_AUTO_NEVER = Choice(options=("auto", "never"))
_SUBSCRIPTION_DATA = Hash(
    fields={
        "billing_mode": Hash(fields={"type": Choice(options=("flexible",), required=True)}),
        "default_tax_rates": TAX_RATES,
        "description": Text(max_length=500),
        "metadata": Metadata(),
        "trial_end": Timestamp(),
        "trial_period_days": Integer(minimum=1, maximum=730),
        "trial_settings": TRIAL_SETTINGS,
    }
)
_SHIPPING = Hash(
    fields={**SHIPPING.fields, "address": Hash(required=True, fields=ADDRESS | {"line1": Text(required=True)})}
)
_PAYMENT_INTENT_DATA = Hash(
    fields={
        "capture_method": Choice(options=("automatic", "automatic_async")),
        "description": Text(max_length=1000),
        "metadata": Metadata(),
        "receipt_email": Email(),
        "setup_future_usage": Choice(options=("off_session", "on_session")),
        "shipping": _SHIPPING,
        "statement_descriptor": Text(max_length=22),
        "statement_descriptor_suffix": Text(max_length=22),
    }
)
CREATE = {
    "allow_promotion_codes": Boolean(),
    "allowed_payment_method_types": Array(),
    "automatic_tax": AUTOMATIC_TAX,
    "billing_address_collection": Choice(options=("auto", "required")),
    "cancel_url": Url(),
    "client_reference_id": Text(max_length=200),
    "currency": Text(pattern="[A-Za-z]{3}"),
    "customer": Text(),
    "customer_creation": Choice(options=("always", "if_required")),
    "customer_email": Email(),
    "discounts": Array(item=Hash(fields={"coupon": Text(), "promotion_code": Text()}), max_items=1),
    "customer_update": Hash(fields={"address": _AUTO_NEVER, "name": _AUTO_NEVER, "shipping": _AUTO_NEVER}),
    "expires_at": Timestamp(),
    "invoice_creation": Hash(
        fields={
            "enabled": Boolean(required=True),
            "invoice_data": Hash(fields={"description": Text(), "metadata": Metadata()}),
        }
    ),
    "line_items": Array(
        required=True,
        item=Hash(
            fields={
                "price": Text(required=True),
                "quantity": Integer(minimum=1, maximum=QUANTITY_MAX, required=True),
                "tax_rates": TAX_RATES,
            }
        ),
    ),
    "locale": Choice(options=("auto", "en")),
    "metadata": Metadata(),
    "mode": Choice(options=("payment", "subscription"), required=True),
    "payment_intent_data": _PAYMENT_INTENT_DATA,
    "payment_method_collection": Choice(options=("always", "if_required")),
    "payment_method_types": Array(),
    "submit_type": Choice(options=("auto", "book", "donate", "pay", "subscribe")),
    "subscription_data": _SUBSCRIPTION_DATA,
    "success_url": Url(required=True),
    "tax_id_collection": Hash(fields={"enabled": Boolean(required=True)}),
    "ui_mode": Choice(options=("hosted_page",)),
}
UPDATE = {"metadata": Metadata()}
LIST = CREATED_PAGING | {
    "customer": Text(),
    "payment_intent": Text(),
    "status": Choice(options=("complete", "expired", "open")),
    "subscription": Text(),
}
_ONLY_IN = {
    "payment": ("customer_creation", "invoice_creation", "payment_intent_data"),
    "subscription": ("payment_method_collection", "subscription_data"),
}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/checkout/sessions`."""
    _check_mode(values)
    customer = _customer(call, values)
    lines = [_line(call, values, number) for number in range(len(values["line_items"]))]
    _check_prices(values["mode"], [price for price, _ in lines])
    trial_end = trial_end_of(call, values.get("subscription_data", {}))
    fixed = values.get("subscription_data", {}).get("trial_end")
    if fixed is not None and fixed < call.now() + TRIAL_SECONDS_MIN:
        raise invalid("The trial must end at least 48 hours from now.", "subscription_data[trial_end]")
    session = _build(call, values, customer, lines[0][0]["currency"])
    rates = _tax_rates(call, values)
    total = 0
    for (price, quantity), own in zip(lines, rates, strict=True):
        free = trial_end is not None and price["type"] == "recurring"
        amount = 0 if free else price["unit_amount"] * quantity
        product = fetch(call, "product", price["product"])
        call.store.insert("item", checkout_items.build(session["id"], price, product, quantity, amount, own))
        total += amount
    _check_total(values["mode"], total)
    session["amount_subtotal"] = total
    checkout_taxes.apply(call, session)
    call.store.insert("checkout.session", session)
    if values.get("discounts"):
        discounting.apply_sent(call, session, values["discounts"])
    return render(call, session)


def _check_total(mode: str, total: int) -> None:
    if total > AMOUNT_MAX:
        raise invalid("The total is larger than a card can be charged.", "line_items", "amount_too_large")
    if mode == "payment" and 0 < total < payment_intents.AMOUNT_MIN:
        raise invalid("The total is smaller than a card can be charged.", "line_items", "amount_too_small")


def _check_mode(values: Values) -> None:
    if "discounts" in values and "allow_promotion_codes" in values:
        raise invalid("Send allow_promotion_codes or discounts, not both.", "allow_promotion_codes")
    for mode, names in _ONLY_IN.items():
        for name in names:
            if name in values and values["mode"] != mode:
                raise invalid(f"'{name}' can be sent only in {mode} mode.", name)
    if not values["line_items"]:
        raise invalid("Send at least one line item.", "line_items", "parameter_missing")


def _customer(call: Call, values: Values) -> Object | None:
    if "customer" not in values:
        if "customer_update" in values:
            raise invalid("'customer_update' needs a customer.", "customer_update")
        return None
    for name in ("customer_creation", "customer_email"):
        if name in values:
            raise invalid(f"Send customer or {name}, not both.", name)
    return fetch(call, "customer", values["customer"], "customer")


def _line(call: Call, values: Values, number: int) -> tuple[Object, int]:
    sent = values["line_items"][number]
    param = f"line_items[{number}][price]"
    price = fetch(call, "price", sent["price"], param)
    if not price["active"]:
        raise invalid(f"The price {price['id']} is inactive and cannot be bought.", param)
    return price, sent["quantity"]


def _check_prices(mode: str, prices: list[Object]) -> None:
    recurring = [price["recurring"] for price in prices if price["recurring"]]
    if mode == "payment" and recurring:
        raise invalid("Recurring prices can be bought only in subscription mode.", "line_items")
    if mode == "subscription" and not recurring:
        raise invalid("Subscription mode needs at least one recurring price.", "line_items")
    if len({(one["interval"], one["interval_count"]) for one in recurring}) > 1:
        raise invalid("All recurring prices of a session must have the same interval.", "line_items")
    if len({price["currency"] for price in prices}) > 1:
        raise invalid("All prices of a session must have the same currency.", "line_items")


def trial_end_of(call: Call, subscription_data: Values) -> int | None:
    """Return when a trial that starts now ends, in epoch seconds, or None when there is no trial."""
    if "trial_end" in subscription_data and "trial_period_days" in subscription_data:
        raise invalid("Send trial_end or trial_period_days, not both.", "subscription_data[trial_end]")
    if "trial_period_days" in subscription_data:
        return call.now() + int(subscription_data["trial_period_days"]) * 86400
    trial_end = subscription_data.get("trial_end")
    return int(trial_end) if trial_end is not None else None


def _expires_at(call: Call, values: Values) -> int:
    now = call.now()
    expires_at = int(values.get("expires_at", now + OPEN_SECONDS_MAX))
    if not now + OPEN_SECONDS_MIN <= expires_at <= now + OPEN_SECONDS_MAX:
        raise invalid("expires_at must lie between 30 minutes and 24 hours ahead.", "expires_at")
    return expires_at


def _build(call: Call, values: Values, customer: Object | None, currency: str) -> Object:
    """Return a new open session whose sums are still to be set."""
    session_id = "cs_test_" + ids.random_text(58)
    subscribing = values["mode"] == "subscription"
    if values.get("currency", currency).lower() != currency:
        raise invalid("The prices are in another currency.", "currency")
    head = {"id": session_id, "object": "checkout.session"}
    return (
        head
        | _blank()
        | {
            "allow_promotion_codes": values.get("allow_promotion_codes"),
            "allowed_payment_method_types": values.get("allowed_payment_method_types"),
            "automatic_tax": _automatic_tax(values, customer),
            "billing_address_collection": values.get("billing_address_collection"),
            "cancel_url": values.get("cancel_url"),
            "client_reference_id": values.get("client_reference_id"),
            "created": call.now(),
            "currency": currency,
            "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
            "customer": customer["id"] if customer else None,
            "customer_creation": None if customer else values.get("customer_creation", _creation_default(subscribing)),
            "customer_details": _customer_details(customer, values.get("customer_email")),
            "customer_email": values.get("customer_email"),
            "expires_at": _expires_at(call, values),
            "invoice_creation": None if subscribing else _invoice_creation(values),
            "locale": values.get("locale"),
            "metadata": merge_metadata({}, values.get("metadata", {})),
            "mode": values["mode"],
            "payment_method_types": types_for(values, currency, once=not subscribing),
            "payment_method_collection": values.get("payment_method_collection", "always") if subscribing else None,
            "saved_payment_method_options": _saved_options() if customer else None,
            "status": "open",
            "submit_type": values.get("submit_type"),
            "success_url": values["success_url"],
            "url": call.link(f"/c/pay/{session_id}"),
            "_customer_update": values.get("customer_update", {}),
            "_payment_intent_data": values.get("payment_intent_data", {}),
            "_subscription_data": values.get("subscription_data", {}),
        }
    )


def _blank() -> Object:
    """Return what every session begins with."""
    return {
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "amount_subtotal": 0,
        "amount_total": 0,
        "branding_settings": {
            "background_color": "#ffffff",
            "border_style": "rounded",
            "button_color": "#4457d9",
            "display_name": ACCOUNT_NAME,
            "font_family": "default",
            "icon": None,
            "logo": None,
        },
        "client_secret": None,
        "collected_information": dict.fromkeys(("business_name", "individual_name", "shipping_details")),
        "consent": None,
        "consent_collection": None,
        "currency_conversion": None,
        "custom_fields": [],
        "customer_account": None,
        "discounts": [],
        "integration_identifier": None,
        "invoice": None,
        "livemode": False,
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "subscription": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "wallet_options": None,
        "_address": None,
        "_challenge": None,
        "_coupon": None,
        "_notice": None,
    }


def _saved_options() -> Object:
    return {"allow_redisplay_filters": ["always"], "payment_method_remove": "disabled", "payment_method_save": None}


def _creation_default(subscribing: bool) -> str:
    return "always" if subscribing else "if_required"


def _automatic_tax(values: Values, customer: Object | None) -> Object:
    enabled = values.get("automatic_tax", {}).get("enabled", False)
    kept = values.get("customer_update", {}).get("address") != "auto"
    if enabled and customer is not None and kept:
        tax_settings.require_location(customer)  # Nobody may be asked for another address.
    return {"enabled": enabled}


def _tax_rates(call: Call, values: Values) -> list[list[str]]:
    """Return the rates of each line; those of the subscription are looked at as well."""
    default = values.get("subscription_data", {}).get("default_tax_rates")
    known = tax_settings.named(call, default, "subscription_data[default_tax_rates]")
    own = [
        tax_settings.named(call, sent.get("tax_rates"), f"line_items[{number}][tax_rates]")
        for number, sent in enumerate(values["line_items"])
    ]
    tax_settings.check(TaxTerms(tuple(known), values.get("automatic_tax", {}).get("enabled", False)), own)
    return own


def _invoice_creation(values: Values) -> Object:
    sent = values.get("invoice_creation", {"enabled": False})
    data = sent.get("invoice_data", {})
    return {
        "enabled": sent["enabled"],
        "invoice_data": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": data.get("description"),
            "footer": None,
            "issuer": None,
            "metadata": merge_metadata({}, data.get("metadata", {})),
            "rendering_options": None,
        },
    }


def _customer_details(customer: Object | None, email: str | None) -> Object | None:
    if customer is None and email is None:
        return None
    return customer_details(customer["email"] if customer else email, None)


def customer_details(email: str | None, name: str | None, address: Object | None = None) -> Object:
    """Return what a session tells of the person who pays."""
    return {
        "address": address,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": None,
    }


def retrieve(call: Call, _: Values, session_id: str) -> Object:
    """`GET /v1/checkout/sessions/{session}`."""
    return render(call, fetch(call, "checkout.session", session_id))


def update(call: Call, values: Values, session_id: str) -> Object:
    """`POST /v1/checkout/sessions/{session}`: metadata only."""
    session = fetch(call, "checkout.session", session_id)
    if "metadata" in values:
        session["metadata"] = merge_metadata(session["metadata"], values["metadata"])
    return render(call, call.store.save(session))


def expire(call: Call, _: Values, session_id: str) -> Object:
    """`POST /v1/checkout/sessions/{session}/expire`; only an open session can be expired."""
    session = fetch(call, "checkout.session", session_id)
    if session["status"] != "open":
        raise invalid(f"Only an open session can be expired; the status of this one is {session['status']}.")
    return render(call, _expire(call, session))


def _expire(call: Call, session: Object) -> Object:
    session |= {"status": "expired", "url": None}
    call.store.save(session)
    events.emit(call, "checkout.session.expired", session)
    return session


def expire_due(call: Call) -> None:
    """Expire every open session whose time has come."""
    overdue = [equals("status", "open"), Condition("json_extract(body, '$.expires_at') <= ?", (call.now(),))]
    if not call.store.find("checkout.session", overdue, limit=1):
        return
    with call.store.transaction():
        for session in call.store.find("checkout.session", overdue, oldest_first=True):
            _expire(call, session)


def index(call: Call, values: Values) -> Object:
    """`GET /v1/checkout/sessions`."""
    filters = member_equals(values, "customer", "payment_intent", "status", "subscription")
    return page(call, "checkout.session", values, "/v1/checkout/sessions", filters)


register(
    Resource(
        "checkout.session",
        "checkout.session",
        {
            "customer": Reference("customer"),
            "invoice": Reference("invoice"),
            "line_items": Included(checkout_items.embedded_list, {"data": Embedded("item")}),
            "payment_intent": Reference("payment_intent"),
            "setup_intent": Reference("setup_intent"),
            "subscription": Reference("subscription"),
        },
    )
)
_ONE = "/v1/checkout/sessions/{session}"
ENDPOINTS = (
    Endpoint("POST", "/v1/checkout/sessions", CREATE, create, "checkout.session"),
    Endpoint("GET", "/v1/checkout/sessions", LIST, index, "checkout.session", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "checkout.session"),
    Endpoint("POST", _ONE, UPDATE, update, "checkout.session"),
    Endpoint("POST", _ONE + "/expire", {}, expire, "checkout.session"),
)
