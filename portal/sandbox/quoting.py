"""What a quote offers, and how that comes about when it is accepted."""

from portal.sandbox import currencies, discounting, subscribing, tax_settings
from portal.sandbox.billing_lines import OrderLine, coupon_of, discounted, once
from portal.sandbox.call import Call
from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import merge_metadata
from portal.sandbox.registry import fetch
from portal.sandbox.resources import checkout_items, invoices, payment_methods, prices
from portal.sandbox.resources.discounts import For
from portal.sandbox.store import Object, equals


def set_members(call: Call, quote: Object, values: Values) -> None:
    """Set what was sent of a quote's own members: whom it is for, until when it stands, how it is taxed."""
    if "customer" in values:
        customer = fetch(call, "customer", values["customer"], "customer")
        quote |= {"customer": customer["id"], "test_clock": customer["test_clock"]}
    if "expires_at" in values:
        if values["expires_at"] <= call.now():
            raise invalid("expires_at must lie in the future.", "expires_at")
        quote["expires_at"] = values["expires_at"]
    if "automatic_tax" in values:
        quote["automatic_tax"] = {"enabled": values["automatic_tax"]["enabled"]}
    if "default_tax_rates" in values:
        quote["default_tax_rates"] = tax_settings.named(call, values["default_tax_rates"], "default_tax_rates")
    if "metadata" in values:
        quote["metadata"] = merge_metadata(quote["metadata"], values["metadata"])
    sent = dict(values.get("subscription_data", {}))
    sent.pop("billing_mode", None)
    data = quote["subscription_data"]
    if "metadata" in sent:
        sent["metadata"] = merge_metadata(data["metadata"], sent["metadata"])
    data |= sent


def set_lines(call: Call, quote: Object, sent: list[Values]) -> None:
    """Give a quote these lines and no others; one that is named by its id stays, with what is new about it.

    What recurs comes first, as on the invoice.
    """
    known = {item["id"]: item for item in checkout_items.of_session(call, quote["id"])}
    lines = [_line(call, known, values, f"line_items[{place}]") for place, values in enumerate(sent)]
    _check_prices([price for price, _, _ in lines])
    for item_id in known:
        call.store.delete(item_id)
    for price, quantity, rates in sorted(lines, key=lambda line: line[0]["recurring"] is None):
        product = fetch(call, "product", price["product"], with_deleted=True)
        prices.require_licensed(price, "line_items")
        amount = price["unit_amount"] * quantity
        call.store.insert("item", checkout_items.build(quote["id"], price, product, quantity, amount, rates))
    quote["currency"] = lines[0][0]["currency"] if lines else None


def _line(call: Call, known: dict[str, Object], values: Values, param: str) -> tuple[Object, int, list[str]]:
    old: Object = {}
    if "id" in values:
        old = known.get(values["id"], {})
        if not old:
            raise invalid(f"The quote has no line item {values['id']}.", f"{param}[id]", "resource_missing")
    price_id = values.get("price", old.get("price"))
    if price_id is None:
        raise invalid("A new line item needs a price.", f"{param}[price]", "parameter_missing")
    price = fetch(call, "price", price_id, f"{param}[price]")
    if not price["active"]:
        raise invalid(f"The price {price_id} is inactive.", f"{param}[price]")
    rates: list[str] = old.get("_tax_rates", [])
    if "tax_rates" in values:
        rates = tax_settings.named(call, values["tax_rates"], f"{param}[tax_rates]")
    return price, ({"quantity": 1} | old | values)["quantity"], rates


def _check_prices(prices: list[Object]) -> None:
    if len({price["currency"] for price in prices}) > 1:
        raise invalid("All prices of a quote must have the same currency.", "line_items")
    rhythms = {(one["interval"], one["interval_count"]) for one in (price["recurring"] for price in prices) if one}
    if len(rhythms) > 1:
        raise invalid("All recurring prices of a quote must have the same interval.", "line_items")
    recurring = [price["id"] for price in prices if price["recurring"]]
    if len(set(recurring)) < len(recurring):
        raise invalid("A quote cannot have two lines with the same recurring price; raise the quantity.", "line_items")


def purchase(call: Call, quote: Object) -> discounting.Purchase:
    """Return what the lines of a quote come to before anything is taken off."""
    amount = sum(item["amount_subtotal"] for item in checkout_items.of_session(call, quote["id"]))
    return discounting.Purchase(quote["customer"], quote["currency"], amount)


def require_complete(call: Call, quote: Object) -> None:
    """Refuse to offer nothing, or something to nobody."""
    if quote["customer"] is None:
        raise invalid("A quote needs a customer before it is finalized.", "customer", "parameter_missing")
    if not checkout_items.of_session(call, quote["id"]):
        raise invalid("A quote needs line items before it is finalized.", "line_items", "parameter_missing")
    currencies.require(call, quote["customer"], quote["currency"], "line_items")
    if quote["automatic_tax"]["enabled"]:
        tax_settings.require_location(fetch(call, "customer", quote["customer"]))


def number(call: Call, quote: Object) -> str:
    """Return the next number of the customer's quotes."""
    prefix = fetch(call, "customer", quote["customer"])["invoice_prefix"]
    before = [one for one in call.store.find("quote", [equals("customer", quote["customer"])]) if one["number"]]
    return f"QT-{prefix}-{len(before) + 1:04d}-1"


def carry_out(call: Call, quote: Object) -> Object:
    """Make what was offered; returns the members of the quote that lead to it.

    Something that recurs is a subscription, paid with the customer's default card. What is bought once alone is the
    draft of an invoice, for whoever has quoted it to finalize.
    """
    customer = fetch(call, "customer", quote["customer"])
    items = checkout_items.of_session(call, quote["id"])
    lines = [
        OrderLine(fetch(call, "price", item["price"]), item["quantity"], item["amount_discount"], item["_tax_rates"])
        for item in items
    ]
    if any(line.price["recurring"] for line in lines):
        return _subscribe(call, quote, customer, lines)
    sources = [once(call, line, None) for line in lines]
    discount = _redeem(call, quote)
    if discount is not None:
        sources = [discounted(source, line.off, discount) for source, line in zip(sources, lines, strict=True)]
    terms = tax_settings.terms_of(quote)
    invoice = invoices.draft(
        call, customer, None, "quote_accept", sources, quote["currency"], terms, quote_id=quote["id"]
    )
    return {"invoice": invoice["id"]}


def _subscribe(call: Call, quote: Object, customer: Object, lines: list[OrderLine]) -> Object:
    data = quote["subscription_data"]
    days = data["trial_period_days"]
    due = quote["computed"]["upfront"]["amount_total"]
    order = subscribing.Order(
        customer=customer,
        lines=lines,
        payment_method=payment_methods.default_of(call, customer, None) if due else None,
        trial_end=call.now() + days * 86400 if days else None,
        values={
            "automatic_tax": {"enabled": quote["automatic_tax"]["enabled"]},
            "default_tax_rates": quote["default_tax_rates"],
            "description": data["description"],
            "discounts": _named(call, quote),
            "metadata": data["metadata"],
        },
    )
    subscription, _ = subscribing.begin(call, order)
    return {"subscription": subscription["id"]}


def _named(call: Call, quote: Object) -> list[dict[str, str]]:
    """Return the quote's discounts by what they were made from, so that their use is counted once."""
    named = []
    for discount in (fetch(call, "discount", one) for one in quote["discounts"]):
        code = discount["promotion_code"]
        named.append({"promotion_code": code} if code else {"coupon": discount["source"]["coupon"]})
    return named


def _redeem(call: Call, quote: Object) -> Object | None:
    if not quote["discounts"]:
        return None
    discount = fetch(call, "discount", quote["discounts"][0])
    code = discount["promotion_code"]
    name, chosen = ("promotion_code", code) if code else ("coupon", coupon_of(call, discount)["id"])
    coupon, promotion = discounting.usable(call, name, chosen, purchase(call, quote), "discounts")
    return discounting.count_use(call, coupon, promotion, For(quote["customer"], None))
