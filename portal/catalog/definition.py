"""A catalog as its TOML file states it: frozen, checked, and free of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Interval = Literal["month", "year"]
INTERVALS: tuple[Interval, ...] = ("month", "year")
YEAR: Interval = "year"
RECURRING: tuple[Literal["plan", "seat"], ...] = ("plan", "seat")
MONTHS_A_YEAR = 12
UNLIMITED = "unlimited"

# On which days after the first failed try a mail says so.
DUNNING_DAYS = (0, 3, 5, 7)

# What is left of a plan in a state of its subscription: all of it, reading only, or nothing.
Access = Literal["full", "read_only", "none"]
ACCESS: tuple[Access, ...] = ("full", "read_only", "none")


@dataclass(frozen=True)
class StateRights:
    """What a state of the subscription leaves of its plan.

    `seats_kept`: the seats that were paid for stay, also where nothing else does. `credits_frozen`: no credit of the team
    can be spent, whatever it comes from; each still ends on its own day.
    """

    access: Access
    seats_kept: bool
    credits_frozen: bool


# Unless the catalog says otherwise: in force while it is tried, paid, or while Stripe tries to collect. Where it may go on
# again, seats wait for that and so do credits; a plan that is over leaves what was bought beside it.
ACCESS_DEFAULT: dict[str, StateRights] = {
    "trialing": StateRights("full", seats_kept=True, credits_frozen=False),
    "active": StateRights("full", seats_kept=True, credits_frozen=False),
    "past_due": StateRights("full", seats_kept=True, credits_frozen=False),
    "unpaid": StateRights("none", seats_kept=True, credits_frozen=True),
    "paused": StateRights("none", seats_kept=True, credits_frozen=True),
    "canceled": StateRights("none", seats_kept=False, credits_frozen=False),
}

# Whether a plan may be ended before its period is over, and whether the rest of what was paid is given back then.
CancelNow = Literal["no", "no_refund", "prorate"]
UpgradeGrant = Literal["difference", "full", "none"]
UPGRADE_GRANTS: tuple[UpgradeGrant, ...] = ("difference", "full", "none")
CANCEL_NOW: tuple[CancelNow, ...] = ("no", "no_refund", "prorate")


@dataclass(frozen=True)
class Portal:
    """The seller as customers see them. `accent` is `#rrggbb`; the addresses may be absent.

    `refund_text` says in a sentence what happens to a bundle that is given back, `refund_url` leads to all of it.
    """

    name: str
    accent: str
    support_url: str | None = None
    terms_url: str | None = None
    privacy_url: str | None = None
    refund_url: str | None = None
    refund_text: str | None = None
    quote_email: str | None = None
    price_notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Meter:
    """Something the product counts. In mode `credits` each use takes `cost_credits`; in mode `metered` it is None.

    Of routes in the same process: `charge_failed` counts calls that ended with an error too, and `when_unavailable` says
    whether a call is refused or allowed while the database cannot be asked before it.
    """

    key: str
    name: str
    mode: Literal["credits", "metered"]
    cost_credits: int | None
    charge_failed: bool = False
    when_unavailable: Literal["refuse", "allow"] = "refuse"


@dataclass(frozen=True)
class Feature:
    """A right that a plan may give: a switch, a limit counted in `unit`, or a text that is only shown."""

    key: str
    name: str
    kind: Literal["switch", "limit", "text"]
    unit: str | None = None


@dataclass(frozen=True)
class FeatureValue:
    """What a plan gives of a feature. An enabled limit of None is no limit at all; `text` is how it is shown."""

    enabled: bool
    limit: int | None = None
    text: str | None = None


@dataclass(frozen=True)
class Included:
    """Units of a metered meter a month; without an overage price there is no more to be had."""

    included: int
    overage_per_1000_cents: int | None = None


@dataclass(frozen=True)
class PriceDefinition:
    """A price that Stripe has to know. `interval` is None for what is bought once. Amounts are in the minor unit.

    The price of a plan's meter is for what is used beyond `included` units a month, and its amount is that of 1,000 units.
    """

    purpose: Literal["plan", "seat", "bundle", "addon", "metered"]
    owner_key: str
    interval: Interval | None
    unit_amount_cents: int
    currency: str
    lookup_key: str
    meter_key: str | None = None
    included: int | None = None


@dataclass(frozen=True)
class Plan:
    """`kind` follows from the prices. `credits_monthly` is None in a product without credits, `seats_included` is
    None for any number. Amounts are in the minor unit of the catalog's currency. `seats_max` are the seats that can be had
    at most, and `seat_billing` says when a further one is paid for.
    """

    key: str
    name: str
    kind: Literal["free", "paid", "custom"]
    pitch: str
    position: int
    monthly_cents: int | None
    yearly_cents: int | None
    seat_monthly_cents: int | None
    seat_yearly_cents: int | None
    seats_included: int | None
    seats_max: int | None
    seat_billing: Literal["now", "next_invoice"]
    credits_monthly: int | None
    trial_days: int
    recommended: bool
    bullets: tuple[str, ...]
    features: dict[str, FeatureValue]
    meters: dict[str, Included]
    compare: dict[str, str]
    lookup_keys: dict[str, str]
    access: dict[str, StateRights]

    def cents(self, interval: Interval) -> int | None:
        return self.monthly_cents if interval == "month" else self.yearly_cents

    def seat_cents(self, interval: Interval) -> int | None:
        return self.seat_monthly_cents if interval == "month" else self.seat_yearly_cents

    @property
    def saving_cents(self) -> int | None:
        """What a year costs less than twelve months; None when the plan has not both prices, or nothing is saved."""
        if not self.monthly_cents or self.yearly_cents is None:
            return None
        return max(self.monthly_cents * MONTHS_A_YEAR - self.yearly_cents, 0) or None

    def prices(self, currency: str) -> list[PriceDefinition]:
        """The prices of a paid plan, its further seats and its meters; none for free and custom plans."""
        if self.kind != "paid":
            return []
        return [
            PriceDefinition(purpose, self.key, interval, cents, currency, self.lookup_key(purpose, interval))
            for interval in INTERVALS
            for purpose in RECURRING
            if (cents := self.cents(interval) if purpose == "plan" else self.seat_cents(interval)) is not None
        ] + self._metered_prices(currency)

    def _metered_prices(self, currency: str) -> list[PriceDefinition]:
        """What a plan includes is counted by the month, also where the plan is paid by the year: one price serves both."""
        return [
            PriceDefinition(
                "metered",
                self.key,
                "month",
                terms.overage_per_1000_cents,
                currency,
                f"turnpike_metered_{self.key}_{meter_key}",
                meter_key=meter_key,
                included=terms.included,
            )
            for meter_key, terms in self.meters.items()
            if terms.overage_per_1000_cents is not None
        ]

    def lookup_key(self, purpose: str, interval: Interval) -> str:
        """What Stripe knows the price by: stated in the file, or made from the plan's key."""
        stated = self.lookup_keys.get(interval if purpose == "plan" else f"seat_{interval}")
        return stated or f"turnpike_{purpose}_{self.key}_{interval}"


@dataclass(frozen=True)
class Bundle:
    """Credits sold by themselves; `expires_after_months` of None is never.

    A team may buy it `limit_per_month` times in a calendar month (UTC), and no auto-purchase does; None is as often as it
    likes.
    """

    key: str
    name: str
    position: int
    credits: int
    price_cents: int
    expires_after_months: int | None
    limit_per_month: int | None
    lookup_key: str

    def price(self, currency: str) -> PriceDefinition:
        return PriceDefinition("bundle", self.key, None, self.price_cents, currency, self.lookup_key)


@dataclass(frozen=True)
class Addon:
    """Something sold beside a plan: with one of `plans`, up to `quantity_max` of it. Amounts are in the minor unit.

    `features` are what each one adds: a switch is on with it, a limit grows by its number (None: no limit at all).
    """

    key: str
    name: str
    description: str
    position: int
    plans: tuple[str, ...]
    monthly_cents: int | None
    yearly_cents: int | None
    quantity_max: int
    features: dict[str, FeatureValue]
    lookup_keys: dict[str, str]

    def cents(self, interval: Interval) -> int | None:
        return self.monthly_cents if interval == "month" else self.yearly_cents

    def interval_beside(self, plan_interval: Interval) -> Interval | None:
        """How it is paid beside a plan: as the plan is, else by the year. None where it has no price for that.

        Stripe bills items of several intervals in one subscription
        (https://docs.stripe.com/billing/subscriptions/mixed-interval); a plan's own period stays the shortest, since what
        happens to the plan happens when that ends.
        """
        return next((one for one in (plan_interval, YEAR) if self.cents(one) is not None), None)

    def prices(self, currency: str) -> list[PriceDefinition]:
        return [
            PriceDefinition("addon", self.key, interval, cents, currency, self.lookup_key(interval))
            for interval in INTERVALS
            if (cents := self.cents(interval)) is not None
        ]

    def lookup_key(self, interval: Interval) -> str:
        return self.lookup_keys.get(interval) or f"turnpike_addon_{self.key}_{interval}"


@dataclass(frozen=True)
class CheckoutOptions:
    """What Stripe's checkout page asks for: a promotion code, a tax id, taxes worked out, consent to the terms."""

    promotion_codes: bool = False
    tax_ids: bool = False
    automatic_tax: bool = False
    require_terms: bool = False


@dataclass(frozen=True)
class Coupon:
    """A discount: `percent_off`, or `amount_off_cents` in the catalog's currency.

    `applies_to` are products as `plan:pro` or `bundle:credits_500`; empty is everything.
    """

    key: str
    name: str
    percent_off: int | None
    amount_off_cents: int | None
    duration: Literal["once", "forever", "repeating"]
    duration_months: int | None
    applies_to: tuple[str, ...]


@dataclass(frozen=True)
class PromotionCode:
    """A word that customers enter to get a coupon's discount, and for whom, how often and until when it works."""

    code: str
    coupon: str
    max_redemptions: int | None
    expires_at: datetime | None
    first_time_only: bool
    minimum_cents: int | None


@dataclass(frozen=True)
class CompareGroup:
    """A block of the comparing table; a row is a feature's key or a figure such as `@credits`."""

    title: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Catalog:
    """Everything one file says. `source` is the file's name, for messages."""

    source: str
    portal: Portal
    currency: str
    spend_order: Literal["expiry", "kind"]
    trial_grant: Literal["full", "none"]
    zero_invoice_grant: bool
    checkout: CheckoutOptions
    plans: tuple[Plan, ...]
    bundles: tuple[Bundle, ...]
    features: tuple[Feature, ...]
    meters: tuple[Meter, ...]
    compare: tuple[CompareGroup, ...]
    dunning_days: tuple[int, ...] = DUNNING_DAYS
    cancel_now: CancelNow = "no_refund"
    upgrade_grant: UpgradeGrant = "difference"
    pause: bool = True
    addons: tuple[Addon, ...] = ()
    coupons: tuple[Coupon, ...] = ()
    promotion_codes: tuple[PromotionCode, ...] = ()
    # The limit, in days, that says for how long a team's single uses are kept; their totals always are.
    usage_history_feature: str | None = None

    def plan(self, key: str) -> Plan | None:
        return next((plan for plan in self.plans if plan.key == key), None)

    def meter(self, key: str) -> Meter | None:
        return next((meter for meter in self.meters if meter.key == key), None)

    def addon(self, key: str) -> Addon | None:
        return next((addon for addon in self.addons if addon.key == key), None)

    def addons_of(self, plan_key: str) -> list[Addon]:
        return [addon for addon in self.addons if plan_key in addon.plans]

    def prices(self) -> list[PriceDefinition]:
        """All prices that Stripe has to know, plans first."""
        plans = [price for plan in self.plans for price in plan.prices(self.currency)]
        addons = [price for addon in self.addons for price in addon.prices(self.currency)]
        return plans + addons + [bundle.price(self.currency) for bundle in self.bundles]
