"""What a change would bill, as Stripe works it out: the sums that are shown, and that must hold when it is made.

https://docs.stripe.com/billing/subscriptions/prorations#preview-proration: the same `proration_date` in the preview and
in the change makes both come to the same sums.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from portal.billing.gateway import Gateway
from portal.billing.mirror import Json, ref

Shown = dict[str, Any]


def quote(gateway: Gateway, subscription: Json, params: Json, period_end: int) -> Shown:
    """Ask Stripe what a change would bill. Raises `GatewayError`."""
    update, then = params["update"], params["then"]
    after = _recurring(gateway, subscription, {"items": then["changes"]}, then["discounts"]) if then else None
    metered = params.get("metered", [])
    afterwards = _Afterwards(subscription, params.get("rarer", []))
    if update is None:
        assert after is not None, "a change is made now or then"
        return _nothing_now(after) | afterwards.told(after, period_end, afterwards.due(after, period_end))
    invoice = gateway.preview_invoice(_asked(subscription, update, update.get("discounts")))
    of_period = [line for line in invoice["lines"]["data"] if not is_proration(line) and _price_of(line) not in metered]
    if after is None and of_period:
        after = _recurring(gateway, subscription, update, update.get("discounts"))
        waiting = invoice["total"] - sum(_net(line) for line in _usage(invoice, metered))
    else:
        # The next invoice is of what is planned, which the change is to reach as well; or what comes first is a month's use
        # beside a plan that is paid by the year.
        after = after or _recurring(gateway, subscription, update, update.get("discounts"))
        prorations = sum(line["amount"] for line in invoice["lines"]["data"] if is_proration(line))
        waiting = afterwards.due(after, period_end) + prorations
    if not _is_due_now(update, of_period, period_end):
        return _nothing_now(invoice) | afterwards.told(after, period_end, waiting)
    whole = [line for line in after["lines"]["data"] if _price_of(line) not in metered]
    next_at = period_end if then else min(line["period"]["end"] for line in whole)
    return receipt(invoice) | afterwards.told(after, next_at, afterwards.due(after, next_at))


@dataclass(frozen=True)
class _Afterwards:
    """What comes after a change. Of an invoice of whole periods, `rarer` are the prices of add-ons that are paid less often
    than their plan, so that they are not due each time.
    """

    subscription: Json
    rarer: list[str]

    def due(self, recurring: Json, next_at: int) -> int:
        """What the periods cost that begin at `next_at`."""
        ends = {item["id"]: item["current_period_end"] for item in self.subscription["items"]["data"]}
        later = [line for line in self._rarer(recurring) if ends.get(_item_of(line), line["period"]["end"]) > next_at]
        return int(recurring["total"]) - sum(map(_net, later))

    def told(self, recurring: Json, next_at: int, next_total: int) -> Shown:
        rarer = self._rarer(recurring)
        return {
            "next_at": next_at,
            "next_total": next_total,
            "recurring_total": recurring["total"] - sum(map(_net, rarer)),
            "recurring_tax": sum(one["amount"] for one in recurring.get("total_taxes") or []),
            "yearly": [{"description": line.get("description") or "", "amount": _net(line)} for line in rarer],
        }

    def _rarer(self, recurring: Json) -> list[Json]:
        return [line for line in recurring["lines"]["data"] if _price_of(line) in self.rarer]


def _net(line: Json) -> int:
    """What a line adds to the total: less its discounts, with the taxes that come on top."""
    taxes = sum(tax["amount"] for tax in line.get("taxes") or [] if tax.get("tax_behavior") == "exclusive")
    return int(line["amount"] - sum(one["amount"] for one in line.get("discount_amounts") or []) + taxes)


def _price_of(line: Json) -> str | None:
    return ref(((line.get("pricing") or {}).get("price_details") or {}).get("price"))


def _item_of(line: Json) -> str:
    return str(_parent_of(line).get("subscription_item"))


def _recurring(gateway: Gateway, subscription: Json, update: Json, discounts: list[Json] | None) -> Json:
    """An invoice of a whole period, and of nothing else."""
    asked = _asked(subscription, {"items": update["items"], "proration_behavior": "none"}, discounts)
    return gateway.preview_invoice(asked | {"preview_mode": "recurring"})


def _asked(subscription: Json, update: Json, discounts: list[Json] | None) -> Json:
    asked: Json = {"subscription": subscription["id"], "subscription_details": _details(update)}
    return asked | ({"discounts": discounts} if discounts else {})


def _details(update: Json) -> Json:
    return {name: update[name] for name in ("items", "proration_behavior", "proration_date") if name in update}


def _is_due_now(update: Json, of_period: list[Json], period_end: int) -> bool:
    """Whether it is billed at once. What is billed with the next period has a line for that, which begins then."""
    waits = update.get("proration_behavior") == "create_prorations"
    return not waits and all(line["period"]["start"] < period_end for line in of_period)


def _usage(invoice: Json, metered: list[str]) -> list[Json]:
    """What was used so far: it is on the next invoice, whose sum nobody knows yet."""
    return [line for line in invoice["lines"]["data"] if not is_proration(line) and _price_of(line) in metered]


def is_proration(line: Json) -> bool:
    return bool(_parent_of(line).get("proration"))


def _parent_of(line: Json) -> Json:
    parent: Json = line.get("parent") or {}
    return parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}


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
    return {
        "description": line.get("description") or "",
        "amount": line["amount"],
        "price": _price_of(line),
        "quantity": line.get("quantity"),
    }


def holds(shown: Shown, now: Shown) -> bool:
    """Whether a change still bills what was shown for it: every line of it, and what is due."""
    as_shown = all(shown[name] == now[name] for name in ("at_once", "amount_due", "total"))
    return as_shown and _amounts(shown) == _amounts(now)


def holds_but_for_use(shown: Shown, now: Shown, counted: Collection[str]) -> bool:
    """As `holds`, while use goes on: the lines of the prices that are `counted` may come to more by now, and nothing else."""
    no_less = all(shown[name] <= now[name] for name in ("amount_due", "total"))
    return no_less and _amounts(shown, counted) == _amounts(now, counted)


def _amounts(shown: Shown, counted: Collection[str] = ()) -> list[int]:
    return sorted(line["amount"] for line in shown["lines"] if line["price"] not in counted)
