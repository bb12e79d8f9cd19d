"""The view models of the pages on which a plan, its seats or its add-ons are changed: what differs, the receipt, what happens when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from portal.accounts.seats import members_of
from portal.billing.addon_preview import addon_has, addon_rows, addon_title, addons_after, addons_row, ending_steps
from portal.billing.addons import addon_items
from portal.billing.card_words import Card, card_of
from portal.billing.change_models import ChangePreview
from portal.billing.change_status import wish_fields
from portal.billing.metered_words import shown_words
from portal.billing.models import Subscription
from portal.billing.payment_methods import charged_payment_method
from portal.billing.recurring_price import EVERY
from portal.billing.seats import Seats, seats_of
from portal.billing.subscriptions import live_subscription
from portal.catalog.compare_table import LABELS, Cell, compare_blocks
from portal.catalog.current import catalog
from portal.catalog.definition import INTERVALS
from portal.catalog.definition import Plan as PlanDefinition
from portal.catalog.models import Plan
from portal.catalog.queries import plan_by_key, price_for
from portal.core import clock
from portal.core.money import money_words

YES, NO = "Yes", "No"
# The seats are told as they are for this team, and who has a plan begins no trial.
TOLD_OTHERWISE = (LABELS["@seats"], LABELS["@trial"])


@dataclass(frozen=True)
class Choice:
    """A plan that can be chosen, with the intervals in which it is sold."""

    key: str
    name: str
    intervals: list[str]


@dataclass(frozen=True)
class OptionsForm:
    """What the form says at first. `seats` is None where the plan is to say how many."""

    choices: list[Choice]
    plan_key: str
    interval: str
    seats: int | None
    in_use: int
    promotion_code: str
    takes_codes: bool


@dataclass(frozen=True)
class DiffRow:
    label: str
    before: str
    after: str


@dataclass(frozen=True)
class PreviewPage:
    """`shown` are the sums as they were saved; `steps` say what happens when somebody agrees."""

    preview: ChangePreview
    title: str
    before_name: str
    after_name: str
    rows: list[DiffRow]
    shown: dict[str, Any]
    next_at: datetime
    every: str
    expired: bool
    card: Card | None
    steps: list[tuple[str, str]]
    button: str
    again: dict[str, str]


def choices() -> list[Choice]:
    found = []
    for plan in catalog().plans:
        sold = [one for one in INTERVALS if (price := price_for(plan.key, one)) and price.stripe_price_id]
        if plan.kind == "paid" and sold:
            found.append(Choice(plan.key, plan.name, list(sold)))
    return found


def options_form(team_id: str, preview: ChangePreview | None = None) -> OptionsForm:
    """The form as the team's plan fills it in, or the wish of a preview."""
    subscription = live_subscription(team_id)
    key = preview.plan_key if preview else (subscription.plan_key if subscription else None) or ""
    interval = preview.interval if preview else (subscription.interval if subscription else None) or "month"
    plan = plan_by_key(key)
    return OptionsForm(
        choices=choices(),
        plan_key=key,
        interval=interval,
        seats=preview.seats if preview and plan and preview.seats != plan.seats_included else None,
        in_use=members_of(team_id),
        promotion_code=(preview.promotion_code if preview else None) or "",
        takes_codes=catalog().checkout.promotion_codes,
    )


def preview_page(team_id: str, preview: ChangePreview) -> PreviewPage:
    subscription, seats = live_subscription(team_id), seats_of(team_id)
    before = plan_by_key((subscription.plan_key if subscription else None) or "")
    after = plan_by_key(preview.plan_key)
    assert after is not None, "a preview is of a plan that there is"
    next_at = datetime.fromtimestamp(preview.shown["next_at"], UTC)
    card = card_of(charged_payment_method(team_id))
    return PreviewPage(
        preview=preview,
        title=_title(preview, before, after),
        before_name=f"{before.name}, now" if before else "Now",
        after_name=_after_name(preview, before, after),
        rows=_rows(preview, subscription, seats, before, after),
        shown=shown_words(preview.shown),
        next_at=next_at,
        every=EVERY[preview.interval],
        expired=preview.expires_at <= clock.now(),
        card=card,
        steps=_steps(preview, subscription, before, after, card),
        button=_button(preview),
        again=wish_fields(preview),
    )


def _after_name(preview: ChangePreview, before: Plan | None, after: Plan) -> str:
    if preview.kind in ("seats", "addon"):
        return "Afterwards"
    same = before is not None and before.key == after.key
    return f"{after.name}, {'yearly' if preview.interval == 'year' else 'monthly'}" if same else after.name


def _title(preview: ChangePreview, before: Plan | None, after: Plan) -> str:
    if preview.kind == "seats":
        return f"Change to {_seats_words(preview.seats)}"
    if preview.kind == "addon":
        return addon_title(preview)
    if before is not None and before.key == after.key:
        return f"Pay {after.name} {'yearly' if preview.interval == 'year' else 'monthly'}"
    return f"Change from {before.name} to {after.name}" if before else f"Change to {after.name}"


def _seats_words(number: int | None) -> str:
    return f"{number:,} seat{'' if number == 1 else 's'}" if number is not None else "any number of seats"


def _button(preview: ChangePreview) -> str:
    noun = _noun(preview)
    if preview.amount_due:
        return f"Pay {money_words(preview.amount_due, preview.currency)} and change {noun}"
    return "Plan this change" if preview.timing == "period_end" else f"Change {noun}"


def _noun(preview: ChangePreview) -> str:
    return {"seats": "seats", "addon": "add-ons"}.get(preview.kind, "plan")


def _rows(
    preview: ChangePreview, subscription: Subscription | None, seats: Seats, before: Plan | None, after: Plan
) -> list[DiffRow]:
    """What differs: the price and the seats as they are for this team, the rest as the table of plans says it."""
    extra = max((preview.seats or 0) - (after.seats_included or 0), 0)
    rows = [
        DiffRow("Price", _price_words(subscription, seats.extra), _new_price_words(preview, extra)),
        DiffRow("Seats", _seats_split(seats.included, seats.extra), _seats_split(after.seats_included, extra)),
        DiffRow("Add-ons", *addons_row(preview, subscription)),
    ]
    if preview.kind == "addon":
        rows += [DiffRow(*row) for row in addon_rows(preview)]
    if preview.kind == "plan" and before is not None and before.key != after.key:
        rows += _compared(before.key, after.key)
    return [row for row in rows if row.before != row.after]


def _price_words(subscription: Subscription | None, extra: int) -> str:
    if subscription is None or subscription.unit_amount is None or subscription.interval is None:
        return ""
    seat = price_for(subscription.plan_key or "", subscription.interval, "seat") if extra else None
    amount = subscription.unit_amount + (seat.unit_amount_cents * extra if seat else 0)
    amount += sum(
        price.unit_amount_cents * number
        for price, number in addon_items(subscription)
        if price.interval == subscription.interval
    )
    return f"{money_words(amount, subscription.currency)} {EVERY[subscription.interval]}"


def _new_price_words(preview: ChangePreview, extra: int) -> str:
    plan = price_for(preview.plan_key, preview.interval)
    seat = price_for(preview.plan_key, preview.interval, "seat") if extra else None
    amount = (plan.unit_amount_cents if plan else 0) + (seat.unit_amount_cents * extra if seat else 0)
    amount += sum(
        price.unit_amount_cents * number
        for price, number in addons_after(preview)
        if price.interval == preview.interval
    )
    return f"{money_words(amount, preview.currency)} {EVERY[preview.interval]}"


def _seats_split(included: int | None, extra: int) -> str:
    if included is None:
        return "Any number"
    return f"{included:,} + {extra:,} extra" if extra else f"{included:,}"


def _compared(before: str, after: str) -> list[DiffRow]:
    plans: list[PlanDefinition] = list(catalog().plans)
    keys = [plan.key for plan in plans]
    if before not in keys or after not in keys:
        return []
    rows = [row for block in compare_blocks(catalog()) for row in block.rows]
    left, right = keys.index(before), keys.index(after)
    kept = [row for row in rows if row.label not in TOLD_OTHERWISE]
    return [DiffRow(row.label, _cell(row.cells[left]), _cell(row.cells[right])) for row in kept]


def _cell(cell: Cell) -> str:
    if cell is True:
        return YES
    return NO if cell is None or cell is False else str(cell)


def _steps(
    preview: ChangePreview, subscription: Subscription | None, before: Plan | None, after: Plan, card: Card | None
) -> list[tuple[str, str]]:
    """What happens when somebody agrees, as pairs of when and what. `{next}` is the day of the next invoice."""
    amount = money_words(preview.amount_due, preview.currency)
    source = f"the {card.brand_label} ending in {card.last4}" if card else "the card of the team"
    steps: list[tuple[str, str]] = []
    if preview.amount_due:
        name = before.name if before else "your plan"
        steps.append(
            ("At once", f"{source} is charged {amount}. If the bank declines, you stay on {name} and owe nothing.")
        )
    elif preview.timing == "period_end":
        steps.append(("At once", "nothing is charged, and everything stays as it is. You can undo it until then."))
    else:
        steps.append(("At once", "nothing is charged."))
    if preview.kind != "plan":
        return steps + _waiting_steps(preview)
    steps += _plan_steps(preview, after) + ending_steps(preview, after)
    return steps + _credit_steps(preview, subscription, before, after)


def _waiting_steps(preview: ChangePreview) -> list[tuple[str, str]]:
    """Of seats and add-ons: when they are there, and what waits for the next invoice."""
    waits = sum(line["amount"] for line in preview.shown["lines"]) if not preview.shown["at_once"] else 0
    what = _seats_words(preview.seats) if preview.kind == "seats" else addon_has(preview)
    steps = [("Within a minute", f"the team has {what}.")]
    if waits:
        verb = "is added to" if waits > 0 else "is taken off"
        steps.append(("With the next invoice", f"{money_words(abs(waits), preview.currency)} {verb} what is due then."))
    if preview.params["then"]:
        steps.append(("The planned change", f"of plan stays as it is, with the {_noun(preview)} that you choose here."))
    return steps


def _plan_steps(preview: ChangePreview, after: Plan) -> list[tuple[str, str]]:
    if preview.timing == "period_end":
        return [("When the period ends", f"seats and limits of {after.name} apply, and its price is charged.")]
    steps = [("Within a minute", f"seats and limits of {after.name} apply.")]
    if preview.params["release"]:
        steps.append(("The planned change", "of plan is dropped."))
    return steps


def _added_at_once(subscription: Subscription | None, more: int) -> str:
    """What an upgrade adds for the rest of the month, by the catalog's policy; nothing where that gives nothing."""
    yearly = subscription is not None and subscription.interval == "year"
    until = "next month of the year begins" if yearly else "next period begins"
    return {
        "difference": f"of the {more:,} more a month, as large a part is added at once as is left until the {until}.",
        "full": f"the {more:,} more a month are added at once. They last until the {until}.",
        "none": "",
    }[catalog().upgrade_grant]


def _credit_steps(
    preview: ChangePreview, subscription: Subscription | None, before: Plan | None, after: Plan
) -> list[tuple[str, str]]:
    """What the ledger does: it grants what a period was paid for, when that begins."""
    old, new = (before.credits_monthly if before else None) or 0, after.credits_monthly or 0
    if not old and not new:
        return []
    if preview.shown["at_once"] and subscription is not None and subscription.interval != preview.interval:
        return [
            (
                "Credits",
                f"{new:,} are added at once and each month of the year. What is left of this month's stays until it ends.",
            )
        ]
    difference = f" ({abs(new - old):,} {'more' if new > old else 'fewer'} a month)" if new != old else ""
    if new > old and preview.shown["at_once"] and preview.basis["status"] != "trialing":
        added = _added_at_once(subscription, new - old)
        if added:
            return [("Credits", f"{added} From then on {new:,} are added each month.")]
    until = "the trial ends" if preview.basis["status"] == "trialing" else "the next period begins"
    return [("Credits", f"stay as they are until {until}. From then on {new:,} are added each month{difference}.")]
