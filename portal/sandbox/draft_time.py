"""How long the invoice of metered usage stays a draft after its period, so that late usage still comes onto it.

At Stripe that is about an hour. Here it is no time at all unless a test asks for it: nobody has to move the clock twice.
https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period
"""

from portal.sandbox import collecting, standing, usage_billing
from portal.sandbox.billing_lines import coupon_of
from portal.sandbox.call import Call
from portal.sandbox.discounting import shares
from portal.sandbox.registry import fetch
from portal.sandbox.resources import invoice_lines, invoices, prices
from portal.sandbox.store import Object, equals
from portal.sandbox.tax_settings import terms_of

SECONDS_MAX = 72 * 3600
_STATE = "draft_seconds"


def seconds(call: Call) -> int:
    """Return for how long drafts wait."""
    return int(call.store.read_state(_STATE, "0"))


def change(call: Call, wanted: int) -> None:
    """Let drafts that are made from now on wait for so long."""
    call.store.write_state(_STATE, str(wanted))


def waits(call: Call, invoice: Object) -> bool:
    """Leave the draft of a subscription that counts usage for its time; says whether it was left."""
    if not seconds(call):
        return False
    call.store.save(invoice | {"automatically_finalizes_at": call.now() + seconds(call)})
    invoice["automatically_finalizes_at"] = call.now() + seconds(call)
    return True


def waiting(call: Call, subscription_id: str) -> list[Object]:
    """Return the drafts of a subscription that wait for their time, the oldest first."""
    of_it = equals("parent.subscription_details.subscription", subscription_id)
    drafts = call.store.find("invoice", [of_it, equals("status", "draft")], oldest_first=True)
    return [one for one in drafts if one["automatically_finalizes_at"] is not None]


def finish(call: Call, subscription: Object, invoice: Object) -> None:
    """Count the usage anew, finalize the draft and take the money for it."""
    _count_again(call, subscription, invoice)
    invoice["automatically_finalizes_at"] = None
    if subscription["status"] == "unpaid":
        invoice["auto_advance"] = False
        call.store.save(invoice)
        return  # What is due is written down and not asked for.
    collecting.finalize(call, invoice, description="Subscription update")
    if standing.collect(call, invoice, standing.card_of(call, subscription)) is None:
        standing.after_payment(call, invoice)
    else:
        standing.after_refusal(call, invoice)


def _count_again(call: Call, subscription: Object, invoice: Object) -> None:
    before = invoice_lines.of_invoice(call, invoice["id"])
    counted = [line for line in before if _is_counted(call, line)]
    periods = {
        (
            line["parent"]["subscription_item_details"]["subscription_item"],
            line["pricing"]["price_details"]["price"],
            line["period"]["start"],
            line["period"]["end"],
        ): None
        for line in counted
    }
    fresh = [
        source
        for item_id, price_id, start, end in periods
        for source in usage_billing.of_period(call, subscription, item_id, fetch(call, "price", price_id), (start, end))
    ]
    if [one.amount for one in fresh] == [line["amount"] for line in counted]:
        return
    for line in counted:
        call.store.delete(line["id"])
    for source in fresh:
        call.store.insert("line_item", invoice_lines.build(invoice["id"], source))
    _sum_up(call, invoice)


def _is_counted(call: Call, line: Object) -> bool:
    details = line["parent"]["subscription_item_details"]
    if details is None or details["invoice_item"] is not None or line["pricing"] is None:
        return False
    return prices.is_metered(fetch(call, "price", line["pricing"]["price_details"]["price"]))


def _sum_up(call: Call, invoice: Object) -> None:
    lines = invoice_lines.of_invoice(call, invoice["id"])
    invoice["subtotal"] = sum(line["amount"] for line in lines)
    if invoice["discounts"]:
        _take_off(call, invoice, lines)
    invoices.tax_again(call, invoice, terms_of(invoice))
    call.store.save(invoice)


def _take_off(call: Call, invoice: Object, lines: list[Object]) -> None:
    discount = fetch(call, "discount", invoice["discounts"][0])
    open_to = [line for line in lines if line["discountable"]]
    named = [line["pricing"]["price_details"]["price"] if line["pricing"] else None for line in open_to]
    sold = [fetch(call, "price", price_id) if price_id else None for price_id in named]
    amounts = [line["amount"] for line in open_to]
    parts = shares(coupon_of(call, discount), list(zip(sold, amounts, strict=True)))
    for line, off in zip(open_to, parts, strict=True):
        line["discount_amounts"] = [{"amount": off, "discount": discount["id"]}]
        line["pretax_credit_amounts"] = invoice_lines.pretax_credits(off, discount["id"])
        call.store.save(line)
    invoice["total_discount_amounts"] = [{"amount": sum(parts), "discount": discount["id"]}]
    invoice["total_pretax_credit_amounts"] = invoice_lines.pretax_credits(sum(parts), discount["id"])
