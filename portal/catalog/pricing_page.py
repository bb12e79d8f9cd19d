"""The view model of the public pricing page: a pure reading of the catalog for one viewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from urllib.parse import quote

from babel.numbers import get_currency_name

from portal.catalog.compare_table import CompareBlock, addon_price_words, compare_blocks
from portal.catalog.definition import MONTHS_A_YEAR, Catalog, Interval, Plan
from portal.core.money import LOCALE, amount_text

ONLY_BUYERS = "Only an owner, an admin or a billing contact of the team can buy."
ONE_PLAN = "The team has a subscription, and one is all it can have."
BY_CANCELING = "Cancel the plan on the overview; the team is on this one when it ends."
CHECKOUT_OPENS, PREVIEW_COMES = "Opening the checkout …", "Working it out …"
NOT_ON_SALE = "This price is not on sale at the moment."
NO_TEAM = "You are in no team that could buy it."
TRIAL_USED = "Your trial has been used; the first payment is today."
CLOSED_NOTE = "Nothing can be bought here at the moment."


@dataclass(frozen=True)
class Viewer:
    """Who looks. `plan_key` is what the team is on (the free plan without a subscription), `interval` how it pays.
    With `trial_used`, the team or its buyer has had a trial, and no plan brings another.

    `checkout_url` takes the form that begins a checkout; it is None for who is signed out or in no team. `change_url` takes
    the same form for a team that is subscribed, and shows what the change would bring; it is None where a plan cannot be
    changed by the team itself. With `closed`, nothing can be bought and no plan is said to be theirs.
    """

    signed_in: bool = False
    plan_key: str | None = None
    interval: str | None = None
    subscribed: bool = False
    may_buy: bool = False
    checkout_url: str | None = None
    change_url: str | None = None
    closed: bool = False
    trial_used: bool = False

    def trial_days_of(self, plan: Plan) -> int:
        return 0 if self.subscribed or self.trial_used else plan.trial_days


@dataclass(frozen=True)
class Choice:
    """What the address asks for: how to pay, and the plan that was remembered through sign-up, if any."""

    interval: Interval = "month"
    plan_key: str | None = None


@dataclass(frozen=True)
class Action:
    """The button of a plan: a form (`post`), a link (`get`), or disabled with the reason. `note` says more beside it."""

    label: str
    form_action: str
    method: str
    primary: bool = False
    reason: str | None = None
    busy: str = CHECKOUT_OPENS
    note: str | None = None

    @property
    def disabled(self) -> bool:
        return self.reason is not None


@dataclass(frozen=True)
class PlanCard:
    """A plan as the page shows it. Amounts in the minor unit; an action of None means there is nothing to do."""

    key: str
    name: str
    pitch: str
    is_current: bool
    is_custom: bool
    monthly_cents: int | None
    yearly_cents: int | None
    currency: str
    seat_monthly_cents: int | None
    saving_cents: int | None
    trial_days: int
    bullets: list[str]
    action: Action | None
    action_year: Action | None


@dataclass(frozen=True)
class BundleCard:
    credits: int
    cents: int
    currency: str
    per_credit_text: str
    less_text: str | None
    limit_text: str | None


@dataclass(frozen=True)
class AddonCard:
    """Something sold beside a plan; `each` says that there can be several of it."""

    name: str
    description: str
    price_text: str
    plans_text: str
    each: bool


@dataclass(frozen=True)
class PricingPage:
    interval: Interval
    plans: list[PlanCard]
    compare: list[CompareBlock]
    addons: list[AddonCard]
    bundles: list[BundleCard]
    bundles_text: str
    intervals_saving_text: str | None
    notes: list[str]
    quote_url: str | None


OnSale = frozenset[tuple[str, str, int]]
SignUpUrl = Callable[[str, str], str]


def build(catalog: Catalog, viewer: Viewer, choice: Choice, on_sale: OnSale, sign_up_url: SignUpUrl) -> PricingPage:
    """The page for one viewer.

    `on_sale` are the (plan key, interval, amount) that can be bought: what the file says but the database or Stripe do
    not is shown, and its button says that it cannot be bought. `sign_up_url` remembers a plan key and an interval.
    """
    actions = _Actions(catalog, viewer, choice, on_sale, sign_up_url)
    yearly = any(plan.yearly_cents is not None for plan in catalog.plans)
    return PricingPage(
        interval=choice.interval if yearly else "month",
        plans=[_plan_card(plan, catalog, viewer, actions) for plan in catalog.plans],
        compare=compare_blocks(catalog),
        addons=_addon_cards(catalog),
        bundles=_bundle_cards(catalog),
        bundles_text=" ".join(filter(None, (bundles_text(catalog), catalog.portal.refund_text))),
        intervals_saving_text=saving_text(catalog.plans),
        notes=[
            *([CLOSED_NOTE] if viewer.closed else []),
            _currency_note(catalog.currency),
            *catalog.portal.price_notes,
        ],
        quote_url=_quote_url(catalog),
    )


def _plan_card(plan: Plan, catalog: Catalog, viewer: Viewer, actions: _Actions) -> PlanCard:
    return PlanCard(
        key=plan.key,
        name=plan.name,
        pitch=plan.pitch,
        is_current=viewer.plan_key == plan.key,
        is_custom=plan.kind == "custom",
        monthly_cents=plan.monthly_cents,
        yearly_cents=plan.yearly_cents,
        currency=catalog.currency,
        seat_monthly_cents=plan.seat_monthly_cents,
        saving_cents=plan.saving_cents,
        trial_days=viewer.trial_days_of(plan),
        bullets=_bullets(plan, catalog),
        action=actions.of(plan, "month"),
        action_year=actions.of(plan, "year"),
    )


def _bullets(plan: Plan, catalog: Catalog) -> list[str]:
    """The plan's figures, then what the file adds to them."""
    figures = []
    if plan.credits_monthly:
        figures.append(f"{plan.credits_monthly:,} credits a month")
    if plan.seats_included:
        figures.append(f"{plan.seats_included:,} seat" + ("" if plan.seats_included == 1 else "s"))
    names = {meter.key: meter.name for meter in catalog.meters}
    figures += [f"{value.included:,} {names[key]} a month" for key, value in plan.meters.items() if value.included]
    return figures + list(plan.bullets)


@dataclass(frozen=True)
class _Actions:
    """Works out the buttons: what they say, where they lead, and why one cannot be pressed."""

    catalog: Catalog
    viewer: Viewer
    choice: Choice
    on_sale: OnSale
    sign_up_url: SignUpUrl

    def of(self, plan: Plan, interval: Interval) -> Action | None:
        cents = plan.cents(interval)
        if self.viewer.closed or plan.kind == "custom" or cents is None or self._is_held(plan, interval):
            return None
        label, primary = self._label(plan, interval), plan.key == self._primary_key()
        if not self.viewer.signed_in:
            return Action(label, self.sign_up_url(plan.key, interval), "get", primary)
        reason = self._reason(plan, interval, cents)
        url = (self.viewer.change_url if self.viewer.subscribed else self.viewer.checkout_url) or ""
        busy = PREVIEW_COMES if self.viewer.subscribed else CHECKOUT_OPENS
        note = TRIAL_USED if plan.trial_days and self.viewer.trial_used and reason is None else None
        return Action(label, url, "post", primary and reason is None, reason, busy, note)

    def _is_held(self, plan: Plan, interval: Interval) -> bool:
        """Whether the viewer's team has exactly this already; a free plan has no interval."""
        return self.viewer.plan_key == plan.key and (plan.kind == "free" or self.viewer.interval in (interval, None))

    def _label(self, plan: Plan, interval: Interval) -> str:
        held = self.catalog.plan(self.viewer.plan_key or "") if self.viewer.subscribed else None
        if held is not None and held.key == plan.key:
            return f"Switch to {'yearly' if interval == 'year' else 'monthly'}"
        if held is not None:
            return f"{'Upgrade' if plan.position > held.position else 'Move'} to {plan.name}"
        if self.viewer.trial_days_of(plan):
            return f"Start {plan.trial_days} days free"
        if not self.viewer.signed_in:
            return f"Start with {plan.name}"
        return f"{'Move' if plan.kind == 'free' else 'Subscribe'} to {plan.name}"

    def _primary_key(self) -> str | None:
        """The one plan whose button stands out: the one that was chosen before signing up, else the recommended one."""
        chosen = self.catalog.plan(self.choice.plan_key or "")
        if chosen is not None and chosen.kind == "paid":
            return chosen.key
        return next((plan.key for plan in self.catalog.plans if plan.recommended), None)

    def _reason(self, plan: Plan, interval: Interval, cents: int) -> str | None:
        """Why a signed-in person cannot press the button, most personal reason first."""
        if self.viewer.checkout_url is None:
            return NO_TEAM
        if not self.viewer.may_buy:
            return ONLY_BUYERS
        if self.viewer.subscribed and plan.kind == "free":
            return BY_CANCELING
        if plan.kind == "free" or (self.viewer.subscribed and self.viewer.change_url is None):
            return ONE_PLAN
        return None if (plan.key, interval, cents) in self.on_sale else NOT_ON_SALE


def saving_text(plans: tuple[Plan, ...]) -> str | None:
    """`2 months free` when every plan with both prices saves that much a year, else `save up to 20 %`, rounded down."""
    both = [plan for plan in plans if plan.monthly_cents and plan.yearly_cents]
    savings = [(plan.saving_cents or 0, plan.monthly_cents or 1) for plan in both]
    months = {divmod(saving, monthly) for saving, monthly in savings}
    if len(months) == 1:
        whole, rest = months.pop()
        if whole and not rest:
            return f"{whole} month{'' if whole == 1 else 's'} free"
    percent = max((100 * saving // (monthly * MONTHS_A_YEAR) for saving, monthly in savings), default=0)
    return f"save up to {percent}\u00a0%" if percent else None


def _addon_cards(catalog: Catalog) -> list[AddonCard]:
    names = {plan.key: plan.name for plan in catalog.plans}
    return [
        AddonCard(
            name=addon.name,
            description=addon.description,
            price_text=addon_price_words(addon, catalog.currency),
            plans_text=f"With {listed([names[key] for key in addon.plans])}",
            each=addon.quantity_max > 1,
        )
        for addon in catalog.addons
    ]


def listed(names: list[str]) -> str:
    """`Starter`, `Starter and Pro`, `Starter, Pro and Business`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _bundle_cards(catalog: Catalog) -> list[BundleCard]:
    dearest = max((Decimal(bundle.price_cents) / bundle.credits for bundle in catalog.bundles), default=Decimal(0))
    return [
        BundleCard(
            credits=bundle.credits,
            cents=bundle.price_cents,
            currency=catalog.currency,
            per_credit_text=per_credit_text(bundle.price_cents, bundle.credits, catalog.currency),
            less_text=less_text(Decimal(bundle.price_cents) / bundle.credits, dearest),
            limit_text=f"at most {bundle.limit_per_month} a month" if bundle.limit_per_month else None,
        )
        for bundle in catalog.bundles
    ]


def per_credit_text(cents: int, credits_count: int, currency: str) -> str:
    """`1.80 ¢ a credit`; in a currency without cents of that name, the price of 1,000 credits."""
    if currency == "usd":
        each = (Decimal(cents) / credits_count).quantize(Decimal("0.01"), ROUND_HALF_UP)
        return f"{each}\u00a0¢ a credit"
    thousand = (Decimal(cents) * 1000 / credits_count).quantize(Decimal(1), ROUND_HALF_UP)
    return f"{amount_text(int(thousand), currency)} per 1,000"


def less_text(each: Decimal, dearest: Decimal) -> str | None:
    percent = int(100 * (1 - each / dearest))
    return f"{percent}\u00a0% less" if percent else None


def bundles_text(catalog: Catalog) -> str:
    """When the credits of a bundle end, and that those of the plan go first where that is always so."""
    ends = {bundle.expires_after_months for bundle in catalog.bundles}
    last = catalog.spend_order == "kind" or ends == {None}
    spent = "Bundles are spent after plan credits and " if last else "Bundles "
    if ends == {None}:
        return spent + "do not expire."
    if len(ends) == 1:
        return spent + f"stay valid for {_months_text(ends.pop() or 0)}."
    return spent + "stay valid as long as each one says."


def _months_text(months: int) -> str:
    return "1 month" if months == 1 else f"{months} months"


def _currency_note(currency: str) -> str:
    return f"Prices are in {get_currency_name(currency.upper(), count=2, locale=LOCALE)}."


def _quote_url(catalog: Catalog) -> str | None:
    email = catalog.portal.quote_email
    return f"mailto:{email}?subject={quote(f'A quote from {catalog.portal.name}')}" if email else None
