"""The tiers of a metered price: each has a price of its own for the units that fall into it. Amounts are decimals."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from portal.sandbox.endpoints import Values
from portal.sandbox.errors import invalid
from portal.sandbox.parameters import AMOUNT_MAX, Array, Hash, Integer, Param, Text
from portal.sandbox.store import Object

TIERS_MAX = 100
INFINITE = "inf"
_DECIMAL = Text(pattern=r"[0-9]{1,8}(\.[0-9]{1,12})?")


@dataclass(frozen=True, kw_only=True)
class UpTo(Param):
    """The last unit of a tier, or `inf`."""

    def convert(self, value: Any, name: str) -> int | str:
        """Return the number or the word."""
        return INFINITE if value == INFINITE else int(Integer(minimum=1).convert(value, name))


TIERS = Array(
    max_items=TIERS_MAX,
    item=Hash(
        fields={
            "flat_amount": Integer(minimum=0, maximum=AMOUNT_MAX),
            "flat_amount_decimal": _DECIMAL,
            "unit_amount": Integer(minimum=0, maximum=AMOUNT_MAX),
            "unit_amount_decimal": _DECIMAL,
            "up_to": UpTo(required=True),
        }
    ),
)


def are_asked_for(values: Values) -> bool:
    """Say whether a price is to have tiers; raises the 400 that says what is wrong with them."""
    if values.get("billing_scheme") != "tiered":
        if "tiers" in values or "tiers_mode" in values:
            raise invalid("Only a price with billing_scheme=tiered has tiers.", "tiers")
        return False
    if not values.get("tiers") or "tiers_mode" not in values:
        raise invalid("A tiered price needs tiers and tiers_mode.", "tiers", "parameter_missing")
    if "unit_amount" in values or "unit_amount_decimal" in values:
        raise invalid("The tiers say what a unit costs.", "unit_amount")
    if values.get("recurring", {}).get("usage_type") != "metered":
        raise invalid("Tiers of what is not metered are not emulated here.", "billing_scheme")
    for number, tier in enumerate(values["tiers"]):
        _check(tier, f"tiers[{number}]")
    ends = [tier["up_to"] for tier in values["tiers"]]
    bounded = [end for end in ends if end != INFINITE]
    if ends[-1] != INFINITE or len(bounded) != len(ends) - 1 or sorted(set(bounded)) != bounded:
        raise invalid("Each tier must end above the one before, and the last one at inf.", "tiers")
    return True


def _check(tier: Values, param: str) -> None:
    for name in ("flat_amount", "unit_amount"):
        if name in tier and f"{name}_decimal" in tier:
            raise invalid(f"Send {name} or {name}_decimal, not both.", f"{param}[{name}]")
    if not {"flat_amount", "flat_amount_decimal", "unit_amount", "unit_amount_decimal"} & set(tier):
        raise invalid("A tier needs an amount.", f"{param}[unit_amount]", "parameter_missing")


def build(sent: list[Values]) -> list[Object]:
    """Return the tiers as a price keeps them."""
    return [_tier(values) for values in sent]


def _tier(values: Values) -> Object:
    tier: Object = {"up_to": None if values["up_to"] == INFINITE else values["up_to"]}
    for name in ("flat_amount", "unit_amount"):
        text = values.get(f"{name}_decimal", str(values[name]) if name in values else None)
        amount = None if text is None else Decimal(text)
        whole = amount is not None and amount == amount.to_integral_value()
        tier[name] = int(amount) if amount is not None and whole else None
        tier[f"{name}_decimal"] = None if amount is None else f"{amount.normalize():f}"
    return tier


def of(price: Object) -> list[Object] | None:
    """Return the tiers of a price; None when it has none."""
    return price.get("_tiers") or None


@dataclass(frozen=True)
class Part:
    """What of a usage falls into a tier: `number` counts from 1, `amount` is in the smallest unit."""

    number: int
    units: Decimal
    unit_amount_decimal: str
    amount: int


def graduated(tiers: list[Object], usage: Decimal) -> list[Part]:
    """Return what falls into which tier, each rounded by itself; the first is told even when nothing was used."""
    parts: list[Part] = []
    begin = Decimal(0)
    for number, tier in enumerate(tiers, 1):
        end = usage if tier["up_to"] is None else min(usage, Decimal(tier["up_to"]))
        units = max(end - begin, Decimal(0))
        if not units and parts:
            break
        unit, flat = (Decimal(tier[f"{name}_decimal"] or 0) for name in ("unit_amount", "flat_amount"))
        amount = (units * unit + (flat if units else 0)).quantize(Decimal(1), ROUND_HALF_UP)
        parts.append(Part(number, units, f"{unit.normalize():f}", int(amount)))
        begin = end
    return parts
