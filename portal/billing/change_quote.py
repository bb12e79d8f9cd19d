"""What a change would bill, as Stripe works it out: the sums that are shown, and that must hold when it is made.

https://docs.stripe.com/billing/subscriptions/prorations#preview-proration: the same `proration_date` in the preview and
in the change makes both come to the same sums.
"""

from __future__ import annotations

from typing import Any

from portal.billing.gateway import Gateway
from portal.billing.mirror import Json, ref

Shown = dict[str, Any]


def quote(gateway: Gateway, subscription: Json, params: Json, period_end: int) -> Shown:
    """Ask Stripe what a change would bill. Raises `GatewayError`."""
    update, then = params["update"], params["then"]
    after = _recurring(gateway, subscription, {"items": then["changes"]}, then["discounts"]) if then else None
    if update is None:
        assert after is not None, "a change is made now or then"
        return _nothing_now(after) | _afterwards(after, period_end, after["total"])
    invoice = gateway.preview_invoice(_asked(subscription, update, update.get("discounts")))
    if after is None:
        after = _recurring(gateway, subscription, update, update.get("discounts"))
        waiting = invoice["total"]
    else:  # the next invoice is of what is planned, which the change is to reach as well
        waiting = after["total"] + sum(line["amount"] for line in invoice["lines"]["data"] if is_proration(line))
    if not _is_due_now(invoice, period_end):
        return _nothing_now(invoice) | _afterwards(after, period_end, waiting)
    next_at = period_end if then else min(line["period"]["end"] for line in after["lines"]["data"])
    return receipt(invoice) | _afterwards(after, next_at, after["total"])


def _recurring(gateway: Gateway, subscription: Json, update: Json, discounts: list[Json] | None) -> Json:
    """An invoice of a whole period, and of nothing else."""
    asked = _asked(subscription, {"items": update["items"], "proration_behavior": "none"}, discounts)
    return gateway.preview_invoice(asked | {"preview_mode": "recurring"})


def _asked(subscription: Json, update: Json, discounts: list[Json] | None) -> Json:
    asked: Json = {"subscription": subscription["id"], "subscription_details": _details(update)}
    return asked | ({"discounts": discounts} if discounts else {})


def _details(update: Json) -> Json:
    return {name: update[name] for name in ("items", "proration_behavior", "proration_date") if name in update}


def _is_due_now(invoice: Json, period_end: int) -> bool:
    """Whether it is billed at once. What is billed with the next period has a line for that, which begins then."""
    whole = [line for line in invoice["lines"]["data"] if not is_proration(line)]
    return all(line["period"]["start"] < period_end for line in whole)


def is_proration(line: Json) -> bool:
    parent = line.get("parent") or {}
    item = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    return bool(item.get("proration"))


def receipt(invoice: Json) -> Shown:
    """The sums of an invoice that is due at once."""
    return {
        "at_once": True,
        "lines": [_line(line) for line in invoice["lines"]["data"]],
        "subtotal": invoice["subtotal"],
        "discount": sum(one["amount"] for one in invoice.get("total_discount_amounts") or []),
        "tax": sum(one["amount"] for one in invoice.get("total_taxes") or []),
        "total": invoice["total"],
        # A customer's balance is negative where we owe them something.
        "from_balance": max(invoice["total"], 0) - invoice["amount_due"],
        "amount_due": invoice["amount_due"],
    }


def _nothing_now(invoice: Json) -> Shown:
    """Nothing is due; of the next invoice, what the change itself adds to it or takes off it."""
    return {
        "at_once": False,
        "lines": [_line(line) for line in invoice["lines"]["data"] if is_proration(line)],
        "subtotal": 0,
        "discount": 0,
        "tax": 0,
        "total": 0,
        "from_balance": 0,
        "amount_due": 0,
    }


def _line(line: Json) -> Json:
    price = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
    return {"description": line.get("description") or "", "amount": line["amount"], "price": ref(price)}


def _afterwards(recurring: Json, next_at: int, next_total: int) -> Shown:
    return {
        "next_at": next_at,
        "next_total": next_total,
        "recurring_total": recurring["total"],
        "recurring_tax": sum(one["amount"] for one in recurring.get("total_taxes") or []),
    }


def holds(shown: Shown, now: Shown) -> bool:
    """Whether a change still bills what was shown for it: every line of it, and what is due."""
    return all(shown[name] == now[name] for name in ("at_once", "amount_due", "total")) and sorted(
        line["amount"] for line in shown["lines"]
    ) == sorted(line["amount"] for line in now["lines"])
