"""Bringing coupons and promotion codes to Stripe, which alone keeps them.

What a coupon takes off can never be changed there. So its id is made from what it says: other terms are another coupon,
and who has the old one keeps it. A promotion code is switched off and made anew when its terms change, and one that is
used up or over stays so: making it again would let everybody use it once more. All is worked out before anything is
done, so that what a run would do can be told without doing it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from portal.catalog.definition import Catalog, Coupon, PromotionCode
from portal.core import clock
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work

Json = dict[str, Any]
SOURCE = {"source": "turnpike"}


class CouponGateway(Protocol):
    """What is asked of Stripe here."""

    def coupons(self) -> list[Json]: ...

    def create_coupon(self, params: Json, idempotency_key: str) -> Json: ...

    def rename_coupon(self, coupon_id: str, name: str, idempotency_key: str) -> Json: ...

    def promotion_codes(self) -> list[Json]: ...

    def create_promotion_code(self, params: Json, idempotency_key: str) -> Json: ...

    def switch_promotion_code(self, promotion_code_id: str, *, active: bool, idempotency_key: str) -> Json: ...


@dataclass(frozen=True)
class Step:
    """One change at Stripe: what it is in words, and how to make it."""

    words: str
    run: Callable[[CouponGateway], object]


@dataclass
class CouponPlan:
    """The steps in their order, what cannot be done and why, and what is at Stripe only for those who have it."""

    steps: list[Step] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def sync_coupons(gateway: CouponGateway, catalog: Catalog) -> CouponPlan:
    """Do what has to be done, after the products that coupons may be for; returns what that was. Raises `GatewayError`,
    and running it again goes on from there.
    """
    plan = plan_coupons(gateway, catalog)
    for step in plan.steps:
        step.run(gateway)
    return plan


def plan_coupons(gateway: CouponGateway, catalog: Catalog) -> CouponPlan:
    """What has to happen at Stripe so that it has the coupons and codes of the file. Only reads."""
    with unit_of_work():
        now = clock.now()
    plan = CouponPlan()
    wanted = {coupon_id(coupon, catalog): coupon for coupon in catalog.coupons}
    _plan_coupons(plan, gateway.coupons(), wanted, catalog)
    ids = {coupon.key: wanted_id for wanted_id, coupon in wanted.items()}
    _plan_codes(plan, gateway.promotion_codes(), ids, catalog, now)
    return plan


def coupon_id(coupon: Coupon, catalog: Catalog) -> str:
    """A coupon's id at Stripe: its key, and a digest of what can never be changed in it."""
    terms = json.dumps(_coupon_terms(coupon, catalog), sort_keys=True)
    return f"turnpike_{coupon.key}_{hashlib.sha256(terms.encode()).hexdigest()[:10]}"


def _coupon_terms(coupon: Coupon, catalog: Catalog) -> Json:
    terms: Json = {"duration": coupon.duration}
    if coupon.percent_off is not None:
        terms["percent_off"] = coupon.percent_off
    else:
        terms |= {"amount_off": coupon.amount_off_cents, "currency": catalog.currency}
    if coupon.duration_months is not None:
        terms["duration_in_months"] = coupon.duration_months
    if coupon.applies_to:
        terms["applies_to"] = {"products": sorted(f"turnpike_{name.replace(':', '_')}" for name in coupon.applies_to)}
    return terms


def _plan_coupons(plan: CouponPlan, found: list[Json], wanted: dict[str, Coupon], catalog: Catalog) -> None:
    known = {coupon["id"]: coupon for coupon in found}
    for wanted_id, coupon in wanted.items():
        if wanted_id not in known:
            metadata = {"coupon": coupon.key, **SOURCE}
            params = {"id": wanted_id, "name": coupon.name, "metadata": metadata, **_coupon_terms(coupon, catalog)}
            plan.steps.append(Step(f"make coupon {coupon.key} ({wanted_id})", _create_coupon(params)))
        elif known[wanted_id]["name"] != coupon.name:
            plan.steps.append(Step(f"rename coupon {coupon.key} to {coupon.name}", _rename(wanted_id, coupon.name)))
    plan.left += [f"coupon {one['id']}" for one in found if _ours(one) and one["id"] not in wanted]


def _plan_codes(plan: CouponPlan, found: list[Json], coupons: dict[str, str], catalog: Catalog, now: datetime) -> None:
    by_code: dict[str, list[Json]] = {}
    for known in found:
        by_code.setdefault(known["code"].upper(), []).append(known)
    wanted = {promotion.code.upper() for promotion in catalog.promotion_codes}
    gone = [one for code, same in by_code.items() if code not in wanted for one in same]
    plan.steps += [_switch(one, active=False) for one in gone if one["active"] and _ours(one)]
    for promotion in catalog.promotion_codes:
        same = by_code.get(promotion.code.upper(), [])
        params = _promotion_params(promotion, coupons[promotion.coupon], catalog.currency)
        if any(one["active"] and not _ours(one) for one in same):
            plan.problems.append(
                f"promotion code {promotion.code}: Stripe has one that was not made here; switch it off"
            )
        else:
            plan.steps += _steps_of_code([one for one in same if _ours(one)], params, now, plan.problems)


def _steps_of_code(ours: list[Json], params: Json, now: datetime, problems: list[str]) -> Iterator[Step]:
    """Switch off those of other terms, then have one of these terms: the active one, an old one, or a new one."""
    yield from (_switch(one, active=False) for one in ours if one["active"] and _terms_of(one) != _terms(params))
    fitting = [one for one in ours if _terms_of(one) == _terms(params)]
    if any(one["active"] or _is_over(one, now) for one in fitting):
        return
    if fitting:
        yield _switch(fitting[0], active=True)
    elif params.get("expires_at", now.timestamp() + 1) <= now.timestamp():
        problems.append(f"promotion code {params['code']}: it would end before it begins; change expires_at")
    else:
        yield Step(f"make promotion code {params['code']}", _create_code(params, len(ours)))


def _promotion_params(promotion: PromotionCode, stripe_coupon_id: str, currency: str) -> Json:
    params: Json = {
        "code": promotion.code,
        "promotion": {"type": "coupon", "coupon": stripe_coupon_id},
        "metadata": dict(SOURCE),
        "restrictions": {"first_time_transaction": promotion.first_time_only},
    }
    if promotion.minimum_cents is not None:
        minimum = {"minimum_amount": promotion.minimum_cents, "minimum_amount_currency": currency}
        params["restrictions"] |= minimum
    if promotion.max_redemptions is not None:
        params["max_redemptions"] = promotion.max_redemptions
    if promotion.expires_at is not None:
        params["expires_at"] = int(promotion.expires_at.timestamp())
    return params


def _terms(params: Json) -> tuple[object, ...]:
    """What can never be changed in a promotion code, of the parameters that would make it."""
    limits = params["restrictions"]
    return (
        params["promotion"]["coupon"],
        params.get("max_redemptions"),
        params.get("expires_at"),
        limits["first_time_transaction"],
        limits.get("minimum_amount"),
        limits.get("minimum_amount_currency"),
    )


def _terms_of(promotion: Json) -> tuple[object, ...]:
    """The same of one at Stripe, where the coupon may be there whole."""
    coupon = promotion["promotion"]["coupon"]
    return _terms(promotion | {"promotion": {"coupon": coupon["id"] if isinstance(coupon, dict) else coupon}})


def _is_over(promotion: Json, now: datetime) -> bool:
    used_up = promotion["max_redemptions"] is not None and promotion["times_redeemed"] >= promotion["max_redemptions"]
    ends = promotion["expires_at"]
    return used_up or (ends is not None and ends <= now.timestamp())


def _ours(found: Json) -> bool:
    return (found.get("metadata") or {}).get("source") == SOURCE["source"]


def _create_coupon(params: Json) -> Callable[[CouponGateway], object]:
    """The key is this run's own: a coupon that was deleted since an earlier one is made again. Its id keeps it single."""
    key = f"coupon-{params['id']}-{new_id('run')}"
    return lambda gateway: gateway.create_coupon(params, key)


def _rename(stripe_coupon_id: str, name: str) -> Callable[[CouponGateway], object]:
    """The key is this run's own: a coupon may be called today what it was called before."""
    key = f"coupon-{stripe_coupon_id}-name-{new_id('run')}"
    return lambda gateway: gateway.rename_coupon(stripe_coupon_id, name, key)


def _create_code(params: Json, made_before: int) -> Callable[[CouponGateway], object]:
    """How many there were before is a part of the key: the same code made again later is another call."""
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:10]
    return lambda gateway: gateway.create_promotion_code(params, f"code-{params['code']}-{digest}-{made_before}")


def _switch(promotion: Json, *, active: bool) -> Step:
    """The key is this run's own: what was answered to an earlier one says nothing of the code now."""
    key = f"code-{promotion['id']}-{'on' if active else 'off'}-{new_id('run')}"
    words = f"switch {'on' if active else 'off'} promotion code {promotion['code']} ({promotion['id']})"
    return Step(
        words,
        lambda gateway: gateway.switch_promotion_code(promotion["id"], active=active, idempotency_key=key),
    )
