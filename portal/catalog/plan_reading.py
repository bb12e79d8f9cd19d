"""Reading one plan of the catalog, with the checks that need nothing but the plan itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from portal.catalog.definition import ACCESS, MONTHS_A_YEAR, FeatureValue, Included, Plan, StateRights
from portal.catalog.toml_reading import Table, described, text_fault, whole_fault

PRICE_CENTS_MAX = 99_999_999  # Stripe's own limit
CREDITS_MAX = 1_000_000_000
SEATS_MAX = 100_000
TRIAL_DAYS_MAX = 730  # Stripe's own limit
COUNT_MAX = 1_000_000_000_000
LOOKUP_KEYS = ("month", "year", "seat_month", "seat_year")
NEVER_FREE = ("access",)
SEATS_LEFT, CREDITS_LEFT = ("kept", "lost"), ("usable", "frozen")
SEAT_BILLINGS: tuple[Literal["now", "next_invoice"], ...] = ("now", "next_invoice")
ONLY_PAID = ("trial_days", "seat_monthly_cents", "seat_yearly_cents", "seats_max", "seat_billing", "lookup_keys")

Kind = Literal["free", "paid", "custom"]


def read_plan(table: Table, position: int, access: dict[str, StateRights]) -> Plan:
    """A plan from its table; `access` is what holds for every plan that says nothing of it. Mistakes are noted in the table; the plan is then not to be used."""
    custom = table.flag("custom", default=False)
    monthly, yearly = _cents(table, "monthly_cents"), _cents(table, "yearly_cents")
    kind: Kind = "custom" if custom else "paid" if monthly or yearly or not table.clean else "free"
    seat_monthly, seat_yearly = _cents(table, "seat_monthly_cents", 1), _cents(table, "seat_yearly_cents", 1)
    if seat_yearly is None and seat_monthly is not None and yearly:
        seat_yearly = seat_monthly * MONTHS_A_YEAR
    plan = Plan(
        key=table.key,
        name=table.text("name", length_max=60),
        kind=kind,
        pitch=table.text("pitch"),
        position=position,
        monthly_cents=monthly,
        yearly_cents=yearly,
        seat_monthly_cents=seat_monthly,
        seat_yearly_cents=seat_yearly,
        seats_included=table.whole("seats_included", least=1, most=SEATS_MAX),
        seats_max=table.whole("seats_max", least=1, most=SEATS_MAX),
        seat_billing=table.choice("seat_billing", SEAT_BILLINGS) if table.has("seat_billing") else "now",
        credits_monthly=table.whole("credits_monthly", least=0, most=CREDITS_MAX),
        trial_days=table.whole("trial_days", least=0, most=TRIAL_DAYS_MAX) or 0,
        recommended=table.flag("recommended", default=False),
        bullets=table.texts("bullets"),
        features=read_features(table.table("features")),
        meters=_read_meters(table.table("meters"), kind),
        compare=_read_words(table.table("compare")),
        lookup_keys=_read_lookup_keys(table.table("lookup_keys")),
        access={} if kind == "free" else read_access(table.table("access"), access),
    )
    if table.clean:
        _check_prices(table, plan)
    table.close()
    return plan


def _cents(table: Table, key: str, least: int = 0) -> int | None:
    return table.whole(key, least=least, most=PRICE_CENTS_MAX)


def _check_prices(table: Table, plan: Plan) -> None:
    """The prices must make one of the three kinds, and nothing that only a paid plan can have stands elsewhere."""
    monthly, yearly = plan.monthly_cents, plan.yearly_cents
    if plan.kind == "custom":
        for key in ("monthly_cents", "yearly_cents"):
            if table.has(key):
                table.problem(key, "a custom plan is sold by a quote and has no price here")
    elif monthly is None and yearly is None:
        table.problem("monthly_cents", "is missing: a plan has a price a month or a year, or custom = true")
    elif plan.kind == "paid" and 0 in (monthly, yearly):
        table.problem("monthly_cents" if monthly == 0 else "yearly_cents", "is 0 while the other price is not")
    elif monthly and yearly and yearly < monthly:
        table.problem("yearly_cents", f"a year ({yearly}) costs less than a month ({monthly})")
    if plan.kind == "paid":
        _check_seats(table, plan)
        return
    for key in (*ONLY_PAID, *(NEVER_FREE if plan.kind == "free" else ())):
        if table.has(key):
            table.problem(key, f"has no meaning for a {plan.kind} plan: there is no price that it could go with")


def _check_seats(table: Table, plan: Plan) -> None:
    for seat, price in (("seat_monthly_cents", plan.monthly_cents), ("seat_yearly_cents", plan.yearly_cents)):
        if table.has(seat) and price is None:
            alone = seat == "seat_monthly_cents" and plan.yearly_cents is not None
            hint = "; a plan that is paid yearly has seat_yearly_cents" if alone else ""
            table.problem(seat, f"the plan has no price for this interval{hint}")
    if (plan.seat_monthly_cents or plan.seat_yearly_cents) and plan.seats_included is None:
        table.problem(
            "seats_included", "is missing: further seats are sold, so it must say how many there are at first"
        )
    sold = plan.seat_monthly_cents or plan.seat_yearly_cents
    for key in ("seats_max", "seat_billing"):
        if table.has(key) and not sold:
            table.problem(key, "has no meaning where no further seats are sold")
    if plan.seats_max is not None and plan.seats_included is not None and plan.seats_max < plan.seats_included:
        table.problem("seats_max", f"is less than the {plan.seats_included} seats that are included")
    if plan.seat_monthly_cents is None and plan.seat_yearly_cents and plan.monthly_cents is not None:
        table.problem(
            "seat_monthly_cents", "is missing: seats are sold with the yearly price but not with the monthly one"
        )


def read_features(table: Table) -> dict[str, FeatureValue]:
    """What a plan or an add-on gives, by feature; whether the kinds fit is checked once all features are known."""
    return {key: value for key in table.names() if (value := _read_value(table, key)) is not None}


def _read_value(table: Table, key: str) -> FeatureValue | None:
    value: Any = table.raw(key)
    if isinstance(value, dict):
        inner = table.table(key)
        limit = inner.whole("limit", least=0, most=COUNT_MAX, required=True)
        text = inner.text("text", length_max=60)
        inner.close()
        return FeatureValue(enabled=bool(limit), limit=limit, text=text) if inner.clean else None
    if isinstance(value, bool):
        return FeatureValue(enabled=value)
    if isinstance(value, str):
        reason = text_fault(value, 60)
        if reason:
            table.problem(key, reason)
            return None
        return FeatureValue(enabled=True, text=value)
    reason = whole_fault(value, 0, COUNT_MAX)
    if reason:
        table.problem(key, f'must be true, false, a whole number, "unlimited" or a text, not {described(value)}')
        return None
    return FeatureValue(enabled=bool(value), limit=value)


def read_access(table: Table, otherwise: dict[str, StateRights]) -> dict[str, StateRights]:
    """What is left of a plan, by the state of its subscription; `otherwise` holds for what the table does not name."""
    found = {status: _read_state(table, status, rights) for status, rights in otherwise.items()}
    table.close()
    return found


def _read_state(table: Table, status: str, otherwise: StateRights) -> StateRights:
    """A word for the access alone, or a table that also says what becomes of seats and credits."""
    value: Any = table.raw(status)
    if value is None:
        return otherwise
    if not isinstance(value, dict):
        return replace(otherwise, access=table.choice(status, ACCESS, otherwise.access))
    inner = table.table(status)
    seats = inner.choice("seats", SEATS_LEFT, "kept" if otherwise.seats_kept else "lost")
    held = inner.choice("credits", CREDITS_LEFT, "frozen" if otherwise.credits_frozen else "usable")
    access = inner.choice("access", ACCESS, otherwise.access)
    inner.close()
    return StateRights(access, seats_kept=seats == "kept", credits_frozen=held == "frozen")


def _read_meters(table: Table, kind: Kind) -> dict[str, Included]:
    found = {}
    for key in table.names():
        inner = table.table(key)
        included = inner.whole("included", least=0, most=COUNT_MAX, required=True) or 0
        overage = inner.whole("overage_per_1000_cents", least=1, most=PRICE_CENTS_MAX)
        if overage is not None and kind != "paid":
            inner.problem("overage_per_1000_cents", f"a {kind} plan has no subscription that could pay for more")
        inner.close()
        found[key] = Included(included, overage)
    return found


def _read_words(table: Table) -> dict[str, str]:
    return {key: table.text(key, length_max=60) for key in table.names()}


def _read_lookup_keys(table: Table) -> dict[str, str]:
    found = {key: text for key in LOOKUP_KEYS if (text := table.optional_text(key, length_max=200))}
    table.close()
    return found
