"""Checkout Sessions, whose page is the sandbox's own: something is bought or subscribed to, or a card is saved."""

from functools import partial

from portal.sandbox import checkout_setup, checkout_taxes, currencies, discounting, events, tax_settings
from portal.sandbox.addresses import ADDRESS, SHIPPING
from portal.sandbox.agenda import Due
from portal.sandbox.beginning import check_trial_end
from portal.sandbox.call import Call
from portal.sandbox.checkout_opening import open_session, trial_end_of
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import invalid, missing_parameter
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
from portal.sandbox.resources import checkout_items, payment_intents, prices
from portal.sandbox.resources.subscriptions import TRIAL_SETTINGS
from portal.sandbox.store import Condition, Object, equals
from portal.sandbox.tax_settings import AUTOMATIC_TAX, TAX_RATES, TaxTerms

# So that a trial never ends before the session that begins it.
TRIAL_SECONDS_MIN = 48 * 3600
QUANTITY_MAX = 999_999
_MESSAGE = Hash(fields={"message": Text(max_length=1200, required=True)})
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
    "consent_collection": Hash(
        fields={
            "payment_method_reuse_agreement": Hash(
                fields={"position": Choice(options=("auto", "hidden"), required=True)}
            ),
            "promotions": Choice(options=("auto", "none")),
            "terms_of_service": Choice(options=("none", "required")),
        }
    ),
    "currency": Text(pattern="[A-Za-z]{3}"),
    "customer": Text(),
    "customer_creation": Choice(options=("always", "if_required")),
    "customer_email": Email(),
    "custom_text": Hash(fields=dict.fromkeys(("submit", "terms_of_service_acceptance"), _MESSAGE)),
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
        item=Hash(
            fields={
                "price": Text(required=True),
                "quantity": Integer(minimum=1, maximum=QUANTITY_MAX),
                "tax_rates": TAX_RATES,
            }
        ),
    ),
    "locale": Choice(options=("auto", "en")),
    "metadata": Metadata(),
    "mode": Choice(options=("payment", "setup", "subscription"), required=True),
    "payment_intent_data": _PAYMENT_INTENT_DATA,
    "payment_method_collection": Choice(options=("always", "if_required")),
    "payment_method_types": Array(),
    "setup_intent_data": Hash(fields={"description": Text(max_length=1000), "metadata": Metadata()}),
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
    "payment": ("invoice_creation", "payment_intent_data"),
    "setup": ("setup_intent_data",),
    "subscription": ("payment_method_collection", "subscription_data"),
}


def create(call: Call, values: Values) -> Object:
    """`POST /v1/checkout/sessions`."""
    _check_mode(values)
    customer = _customer(call, values)
    if values["mode"] == "setup":
        return render(call, checkout_setup.open_setup(call, values, customer))
    lines = [_line(call, values, number) for number in range(len(values["line_items"]))]
    _check_prices(values["mode"], [price for price, _ in lines])
    if values["mode"] == "subscription" and customer is not None:
        currencies.require(call, customer["id"], lines[0][0]["currency"], "line_items")
    trial_end = trial_end_of(call, values.get("subscription_data", {}))
    fixed = values.get("subscription_data", {}).get("trial_end")
    if fixed is not None and fixed < call.now() + TRIAL_SECONDS_MIN:
        raise invalid("The trial must end at least 48 hours from now.", "subscription_data[trial_end]")
    if fixed is not None:
        check_trial_end(call, fixed, "subscription_data[trial_end]")
    session = open_session(call, values, customer, lines[0][0]["currency"])
    rates = _tax_rates(call, values)
    total = 0
    for (price, quantity), own in zip(lines, rates, strict=True):
        free = trial_end is not None and price["type"] == "recurring"
        amount = 0 if free else prices.cost(price, quantity)
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
    if "customer_creation" in values and values["mode"] == "subscription":
        raise invalid("A subscription always has a customer.", "customer_creation")
    if values["mode"] != "setup" and not values.get("line_items"):
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
    if prices.is_metered(price):
        if "quantity" in sent:
            raise invalid("A metered price takes no quantity; its meter counts.", f"line_items[{number}][quantity]")
        return price, 0
    if "quantity" not in sent:
        raise missing_parameter(f"line_items[{number}][quantity]")
    return price, sent["quantity"]


def _check_prices(mode: str, sold: list[Object]) -> None:
    recurring = [price["recurring"] for price in sold if price["recurring"]]
    if mode == "payment" and recurring:
        raise invalid("Recurring prices can be bought only in subscription mode.", "line_items")
    if mode == "subscription" and not recurring:
        raise invalid("Subscription mode needs at least one recurring price.", "line_items")
    ordered = [one for one in recurring if one["usage_type"] == "licensed"]
    if mode == "subscription" and not ordered:
        raise invalid("A session of nothing but metered prices is not emulated here.", "line_items")
    if len({(one["interval"], one["interval_count"]) for one in ordered}) > 1:
        raise invalid("All recurring prices of a session must have the same interval.", "line_items")
    if len({price["currency"] for price in sold}) > 1:
        raise invalid("All prices of a session must have the same currency.", "line_items")


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


def due(call: Call) -> list[Due]:
    """Find the open sessions whose time has come; they expire."""
    overdue = [equals("status", "open"), Condition("json_extract(body, '$.expires_at') <= ?", (call.now(),))]
    return [
        Due(session["expires_at"], "expire", session["id"], partial(_expire, session=session))
        for session in call.store.find("checkout.session", overdue, oldest_first=True)
    ]


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
