"""Payment methods: cards, and bank accounts for SEPA debits."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from portal.sandbox import cards, debits, events, ids
from portal.sandbox.addresses import ADDRESS, address, blank_address
from portal.sandbox.call import Call
from portal.sandbox.cards import Card, Refusal
from portal.sandbox.endpoints import Endpoint, Values, member_equals, page
from portal.sandbox.errors import CardError, invalid, missing_parameter
from portal.sandbox.instruments import TYPES, Instrument, instrument_of, method_details
from portal.sandbox.parameters import (
    PAGING,
    Choice,
    Email,
    Hash,
    Integer,
    Metadata,
    Text,
    merge_metadata,
)
from portal.sandbox.registry import Reference, Resource, fetch, register, render
from portal.sandbox.store import Object, equals

_BILLING_DETAILS = Hash(
    fields={
        "address": Hash(fields=ADDRESS, unsettable=True),
        "email": Email(unsettable=True),
        "name": Text(unsettable=True),
        "phone": Text(unsettable=True),
    }
)
_ALLOW_REDISPLAY = Choice(options=("always", "limited", "unspecified"))
CREATE = {
    "type": Choice(options=TYPES, required=True),
    "card": Hash(
        fields={
            "number": Text(max_length=19, pattern="[0-9]+"),
            "exp_month": Integer(minimum=1, maximum=12),
            "exp_year": Integer(minimum=2000, maximum=2099),
            "cvc": Text(max_length=4, pattern="[0-9]{3,4}"),
            "token": Text(),
        },
    ),
    "sepa_debit": Hash(fields={"iban": Text(required=True, max_length=50)}),
    "billing_details": _BILLING_DETAILS,
    "metadata": Metadata(),
    "allow_redisplay": _ALLOW_REDISPLAY,
}
UPDATE = {
    "billing_details": _BILLING_DETAILS,
    "card": Hash(fields={"exp_month": Integer(minimum=1, maximum=12), "exp_year": Integer(minimum=2000, maximum=2099)}),
    "metadata": Metadata(),
    "allow_redisplay": _ALLOW_REDISPLAY,
}
LIST = PAGING | {"customer": Text(), "type": Choice(options=TYPES), "allow_redisplay": _ALLOW_REDISPLAY}
ATTACH = {"customer": Text(required=True)}


def build(call: Call, instrument: Instrument, exp_month: int, exp_year: int, billing: Values | None = None) -> Object:
    """Return a new payment method that is not stored yet; the number itself is never kept."""
    details: dict[str, Any] = dict.fromkeys(("email", "name", "phone", "tax_id"))
    details |= billing or {}
    details["address"] = address(details.get("address")) or blank_address()
    return {
        "id": ids.new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": details,
        "created": call.now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        # Which row of the tables of test cards and accounts this is; the number is not kept.
        "_test_card": instrument.fingerprint,
    } | method_details(instrument, exp_month, exp_year)


def asks_for(payment_method: Object) -> bool:
    """Say whether the bank behind a card wants to know who is paying before it says anything else."""
    challenge = instrument_of(payment_method).challenge
    return challenge == "always" or (challenge == "once" and payment_method["customer"] is None)


def refuse(why: Refusal, extra: Object | None = None) -> CardError:
    """Return the 402 for a refusal."""
    return CardError(why.message, code=why.code, decline_code=why.decline_code, extra=extra or {})


def next_year(call: Call) -> int:
    """Return the year in which the stock test cards expire."""
    return datetime.fromtimestamp(call.now(), UTC).year + 1


def find_or_make(call: Call, payment_method_id: str, param: str | None) -> Object:
    """Return a stored payment method, or a new one for a stock id such as `pm_card_visa`."""
    stock = cards.BY_PAYMENT_METHOD.get(payment_method_id)
    if stock is None:
        return fetch(call, "payment_method", payment_method_id, param)
    return call.store.insert("payment_method", build(call, stock, 12, next_year(call)))


def make_of_token(call: Call, token: str, param: str) -> Object:
    """Return a new card of a stock token such as `tok_visa`, under an id as those have that are given as a `source`."""
    card = cards.BY_TOKEN.get(token)
    if card is None:
        raise invalid(f"No such token: '{token}'", param, code="resource_missing")
    made = build(call, card, 12, next_year(call)) | {"id": ids.new_id("card")}
    return call.store.insert("payment_method", made)


def require_card(payment_method: Object, param: str) -> None:
    """Refuse a bank account for what is paid again and again: debits are emulated for single payments only."""
    if payment_method["type"] != "card":
        raise invalid("The sandbox takes SEPA debits for what is bought once; name a card.", param)


def require_of_customer(call: Call, payment_method_id: str, customer_id: str, param: str) -> Object:
    """Return a card that is attached to this customer, or raise 400."""
    payment_method = fetch(call, "payment_method", payment_method_id, param)
    require_card(payment_method, param)
    if payment_method["customer"] != customer_id:
        raise invalid(
            f"The payment method {payment_method_id} is not attached to the customer {customer_id}; attach it first.",
            param,
        )
    return payment_method


def is_of_customer(call: Call, payment_method_id: str, customer_id: str) -> bool:
    """Say whether a payment method is attached to this customer."""
    payment_method = call.store.get("payment_method", payment_method_id)
    return payment_method is not None and payment_method["customer"] == customer_id


def default_id_of(customer: Object) -> str | None:
    """Return what a customer's invoices are paid with: the default payment method, else the card given as a `source`."""
    method, source = _defaults(customer)
    return method or source


def default_of(call: Call, customer: Object, chosen: str | None) -> Object:
    """Return the payment method `chosen`, else the customer's default, or raise 400 when there is none."""
    payment_method_id = chosen or default_id_of(customer)
    if payment_method_id is None:
        raise invalid(
            "The customer has no default payment method; attach one and make it the default.", code="resource_missing"
        )
    return fetch(call, "payment_method", payment_method_id)


def attach_to(call: Call, payment_method: Object, customer: Object) -> Object:
    """Attach a payment method to a customer and tell of it; raises 402 when the bank refuses to have it saved."""
    if payment_method["customer"] == customer["id"]:
        return payment_method
    if payment_method["customer"] is not None:
        raise invalid("The payment method is attached to another customer; detach it first.", "payment_method")
    if payment_method.get("_detached"):
        raise invalid("The payment method was detached from a customer and cannot be used again.", "payment_method")
    ask_bank_to_save(payment_method)
    payment_method["customer"] = customer["id"]
    call.store.save(payment_method)
    events.emit(call, "payment_method.attached", payment_method)
    return payment_method


def ask_bank_to_save(payment_method: Object) -> None:
    """Raise the 402 with which a bank refuses to have its card saved."""
    refusal = instrument_of(payment_method).on_setup
    if refusal is not None:
        raise refuse(refusal)


def create(call: Call, values: Values) -> Object:
    """`POST /v1/payment_methods`, from a test number, a stock token or a test IBAN."""
    for name in TYPES:
        if (name in values) != (name == values["type"]):
            raise missing_parameter(name) if name == values["type"] else invalid(f"The type is not {name}.", name)
    make = _card_method if values["type"] == "card" else _account_method
    payment_method = make(call, values)
    payment_method["metadata"] = merge_metadata({}, values.get("metadata", {}))
    payment_method["allow_redisplay"] = values.get("allow_redisplay", "unspecified")
    return render(call, call.store.insert("payment_method", payment_method))


def _card_method(call: Call, values: Values) -> Object:
    sent = values["card"]
    if "token" in sent:
        card = cards.BY_TOKEN.get(sent["token"])
        if card is None:
            raise invalid(f"No such token: '{sent['token']}'", "card[token]", "resource_missing")
        month, year = 12, next_year(call)
    else:
        card, month, year = _from_number(sent)
    return build(call, card, month, year, values.get("billing_details"))


def _account_method(call: Call, values: Values) -> Object:
    account = debits.find_account(values["sepa_debit"]["iban"])
    if isinstance(account, str):
        raise invalid(account, "sepa_debit[iban]", "account_number_invalid")
    billing = values.get("billing_details", {})
    for name in ("email", "name"):  # The mandate for the debit needs both.
        if not billing.get(name):
            raise missing_parameter(f"billing_details[{name}]")
    return build(call, account, 12, next_year(call), billing)


def _from_number(sent: Values) -> tuple[Card, int, int]:
    for name in ("number", "exp_month", "exp_year"):
        if name not in sent:
            raise invalid(f"Missing required param: card[{name}].", f"card[{name}]", "parameter_missing")
    card = cards.find_card(sent["number"])
    if isinstance(card, Refusal):
        raise refuse(card)
    return card, sent["exp_month"], sent["exp_year"]


def retrieve(call: Call, _: Values, payment_method_id: str) -> Object:
    """`GET /v1/payment_methods/{payment_method}`."""
    return render(call, fetch(call, "payment_method", payment_method_id))


def update(call: Call, values: Values, payment_method_id: str) -> Object:
    """`POST /v1/payment_methods/{payment_method}`; only an attached one can be changed."""
    payment_method = fetch(call, "payment_method", payment_method_id)
    if payment_method["customer"] is None:
        raise invalid("Only a payment method that is attached to a customer can be updated.", "payment_method")
    before = render(call, deepcopy(payment_method))
    billing = values.get("billing_details", {})
    if "address" in billing:
        billing["address"] = address(billing["address"]) or blank_address()
    payment_method["billing_details"].update(billing)
    if "card" in values:
        require_card(payment_method, "card")
        payment_method["card"].update(values["card"])
    if "metadata" in values:
        payment_method["metadata"] = merge_metadata(payment_method["metadata"], values["metadata"])
    if "allow_redisplay" in values:
        payment_method["allow_redisplay"] = values["allow_redisplay"]
    call.store.save(payment_method)
    events.emit_update(call, "payment_method.updated", before, payment_method)
    return render(call, payment_method)


def attach(call: Call, values: Values, payment_method_id: str) -> Object:
    """`POST /v1/payment_methods/{payment_method}/attach`."""
    customer = fetch(call, "customer", values["customer"], "customer")
    payment_method = find_or_make(call, payment_method_id, None)
    return render(call, attach_to(call, payment_method, customer))


def detach(call: Call, _: Values, payment_method_id: str) -> Object:
    """`POST /v1/payment_methods/{payment_method}/detach`; it is no longer anybody's default and never comes back."""
    payment_method = fetch(call, "payment_method", payment_method_id)
    customer_id = payment_method["customer"]
    if customer_id is None:
        raise invalid("The payment method is not attached to a customer.", "payment_method")
    before = render(call, deepcopy(payment_method))
    call.store.save(payment_method | {"customer": None, "_detached": True})
    payment_method["customer"] = None
    events.emit(call, "payment_method.detached", payment_method, {"customer": before["customer"]})
    _forget_as_default(call, payment_method_id, customer_id)
    return render(call, payment_method)


def _defaults(customer: Object) -> tuple[str | None, str | None]:
    return customer["invoice_settings"]["default_payment_method"], customer["default_source"]


def _forget_as_default(call: Call, payment_method_id: str, customer_id: str) -> None:
    customer = call.store.get("customer", customer_id)
    if customer is not None and payment_method_id in _defaults(customer):
        before = render(call, deepcopy(customer))
        settings = customer["invoice_settings"]
        for holder, name in ((settings, "default_payment_method"), (customer, "default_source")):
            holder[name] = None if holder[name] == payment_method_id else holder[name]
        call.store.save(customer)
        events.emit_update(call, "customer.updated", before, customer)
    for subscription in call.store.find("subscription", [equals("customer", customer_id)]):
        if subscription["default_payment_method"] == payment_method_id:
            before = render(call, deepcopy(subscription))
            call.store.save(subscription | {"default_payment_method": None})
            events.emit_update(
                call, "customer.subscription.updated", before, subscription | {"default_payment_method": None}
            )


def index(call: Call, values: Values) -> Object:
    """`GET /v1/payment_methods`; Stripe lists those of one customer only."""
    if "customer" not in values:
        return page(call, "payment_method", values, "/v1/payment_methods", [equals("customer", "")])
    fetch(call, "customer", values["customer"], "customer")
    filters = member_equals(values, "customer", "type", "allow_redisplay")
    return page(call, "payment_method", values, "/v1/payment_methods", filters)


def index_of_customer(call: Call, values: Values, customer_id: str) -> Object:
    """`GET /v1/customers/{customer}/payment_methods`."""
    fetch(call, "customer", customer_id)
    filters = [equals("customer", customer_id), *member_equals(values, "type", "allow_redisplay")]
    return page(call, "payment_method", values, f"/v1/customers/{customer_id}/payment_methods", filters)


def retrieve_of_customer(call: Call, _: Values, customer_id: str, payment_method_id: str) -> Object:
    """`GET /v1/customers/{customer}/payment_methods/{payment_method}`."""
    fetch(call, "customer", customer_id)
    payment_method = fetch(call, "payment_method", payment_method_id)
    if payment_method["customer"] != customer_id:
        return fetch(call, "payment_method", f"{payment_method_id} of {customer_id}")
    return render(call, payment_method)


register(Resource("payment_method", "PaymentMethod", {"customer": Reference("customer")}, param="payment_method"))
_ONE = "/v1/payment_methods/{payment_method}"
_OF_CUSTOMER = "/v1/customers/{customer}/payment_methods"
_LIST_OF_CUSTOMER = {name: param for name, param in LIST.items() if name != "customer"}
ENDPOINTS = (
    Endpoint("POST", "/v1/payment_methods", CREATE, create, "payment_method"),
    Endpoint("GET", "/v1/payment_methods", LIST, index, "payment_method", lists=True),
    Endpoint("GET", _ONE, {}, retrieve, "payment_method"),
    Endpoint("POST", _ONE, UPDATE, update, "payment_method"),
    Endpoint("POST", _ONE + "/attach", ATTACH, attach, "payment_method"),
    Endpoint("POST", _ONE + "/detach", {}, detach, "payment_method"),
    Endpoint("GET", _OF_CUSTOMER, _LIST_OF_CUSTOMER, index_of_customer, "payment_method", lists=True),
    Endpoint("GET", _OF_CUSTOMER + "/{payment_method}", {}, retrieve_of_customer, "payment_method"),
)
