"""What leaving a plan, staying, pausing or going on will do and bill: kept like the preview of a change, as a contract.

Most of it moves no money, and is agreed to in the moment it is made. Ending at once with the rest given back does, and so
does going on after the period that was paid for. Both are asked for so that they come to the same sums whenever within
the ten minutes they are done: the plan ends at an instant that is named, and a new period costs what a period costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from portal.accounts.models import Team
from portal.billing.change_models import ChangePreview, PendingChange
from portal.billing.change_preview import VALID_FOR, open_change, unchanged
from portal.billing.change_quote import Shown, receipt
from portal.billing.change_refused import ChangeRefused
from portal.billing.change_terms import basis_of, is_metered, period_of, planned
from portal.billing.gateway import Gateway, NotFound
from portal.billing.leave_rules import Standing, refuse
from portal.billing.mirror import Json, moment, ref
from portal.billing.models import Subscription
from portal.billing.payment_methods import charged_payment_method
from portal.billing.subscriptions import live_subscription
from portal.catalog.current import catalog
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import end_read, unit_of_work

# Tells Stripe of all that a team has used by now, and says whether that has come.
ReportUse = Callable[[Gateway, str], bool]

COMMENT_LENGTH_MAX = 500
# In these states of the plan its last invoice has what was used beyond what is included.
BILLED_AT_THE_END = ("active", "past_due")
# What two receipts of the same moment are added up by.
SUMS = ("lines", "subtotal", "discount", "tax", "total", "from_balance", "amount_due")
# How far our clock and Stripe's, and asking and doing, may lie apart.
CLOCKS_APART = timedelta(minutes=5)


@dataclass(frozen=True)
class LeaveWish:
    """What somebody asks for: `act` is one of `LEAVE_KINDS`. The reason goes to Stripe, and is anybody's own to give."""

    act: str
    feedback: str | None = None
    comment: str | None = None


def standing_of(subscription: Subscription | None) -> Standing:
    """A subscription as our mirror has it; None is no plan."""
    status = subscription.status if subscription else ""
    ending = subscription is not None and subscription.cancel_at is not None
    return Standing(status, ending, catalog().cancel_now, catalog().pause)


def standing_at_stripe(live: Json) -> Standing:
    return Standing(live["status"], is_ending(live), catalog().cancel_now, catalog().pause)


def is_ending(live: Json) -> bool:
    """Flexible billing sets `cancel_at`, the older way only the flag."""
    return live.get("cancel_at") is not None or bool(live.get("cancel_at_period_end"))


def make(gateway: Gateway, team: Team, user_id: str, wish: LeaveWish, report_use: ReportUse) -> str:
    """Work out what an act would do and keep it; returns the preview's id.

    What `report_use` tells Stripe of is in what ending the plan at once would bill. Raises `ChangeRefused` when it cannot be
    done, and `GatewayError`. Nothing is charged or changed.
    """
    subscription = leavable(team.id, wish.act)
    if wish.act == "unpause" and charged_payment_method(team.id) is None:
        raise ChangeRefused("no_card")
    stripe_id, plan_key, interval = subscription.stripe_id, subscription.plan_key, subscription.interval
    end_read()
    live = gateway.subscription(stripe_id)
    refuse(wish.act, standing_at_stripe(live))
    made_at = clock.now()
    params = _params(live, wish, made_at)
    _let_go(gateway, live, params)
    if params.get("invoice_now"):
        report_use(gateway, team.id)
    shown = quote(gateway, live, params)
    with unit_of_work() as session:
        preview = ChangePreview(
            id=new_id("prev"),
            team_id=team.id,
            user_id=user_id,
            subscription_stripe_id=stripe_id,
            kind=wish.act,
            timing="period_end" if wish.act == "cancel" else "now",
            plan_key=plan_key or "",
            interval=interval or "month",
            params=params,
            basis=basis_of(live),
            shown=shown,
            amount_due=shown["amount_due"],
            currency=live["currency"],
            proration_date=made_at,
            created_at=made_at,
            expires_at=made_at + VALID_FOR,
        )
        session.add(preview)
    return preview.id


def leavable(team_id: str, act: str) -> Subscription:
    """The team's subscription, if the act is possible now as far as we know. Raises `ChangeRefused`."""
    subscription = live_subscription(team_id)
    if subscription is None:
        raise ChangeRefused("no_plan")
    if open_change(team_id) is not None:
        raise ChangeRefused("open")
    refuse(act, standing_of(subscription))
    return subscription


def _params(live: Json, wish: LeaveWish, made_at: datetime) -> dict[str, Any]:
    """What Stripe will be asked for. `quoted` is how its money is previewed; None moves none."""
    details = {name: text for name, text in (("feedback", wish.feedback), ("comment", wish.comment)) if text}
    params: dict[str, Any] = {"quoted": None}
    match wish.act:
        case "cancel":
            return params | {"details": details}
        case "cancel_now":
            return params | {"details": details} | _ending_now(live, made_at)
        case "unpause":
            return params | _going_on(live, made_at)
        case _:
            return params


def _ending_now(live: Json, made_at: datetime) -> dict[str, Any]:
    """Given back is the time after the preview expires. The plan ends before that, as soon as somebody agrees.

    While a renewal is owed nothing is given back, and what was used since is billed all the same.
    """
    counted = any(is_metered(item) for item in live["items"]["data"])
    if live["status"] != "active" and not (counted and live["status"] in BILLED_AT_THE_END):
        return {"give_back": None, "invoice_now": False}
    ends_at = int((made_at + VALID_FOR).timestamp())
    if live["status"] == "active" and catalog().cancel_now == "prorate" and ends_at < period_of(live)[1]:
        give_back = {"cancel_at": ends_at, "proration_behavior": "always_invoice"}
        return {"quoted": give_back, "give_back": give_back, "invoice_now": counted}
    return {"quoted": {"cancel_now": True, "proration_behavior": "none"}, "give_back": None, "invoice_now": True}


def _going_on(live: Json, made_at: datetime) -> dict[str, Any]:
    """Within what was paid for the old period goes on; after it a new one begins, and is paid for."""
    paid_until = period_of(live)[1]
    if (made_at + VALID_FOR).timestamp() < paid_until and _was_paused_here(live):
        resume = {"billing_cycle_anchor": {"type": "unchanged"}, "proration_behavior": "none"}
        return {"resume": resume, "until": paid_until}
    return {"resume": {"billing_cycle_anchor": {"type": "now"}}, "until": None, "quoted": {"resume_at": "now"}}


def _was_paused_here(live: Json) -> bool:
    """Whether our page paused it, which gives nothing back. Elsewhere the rest of the period may have been given back."""
    paused_at = moment(((live.get("status_details") or {}).get("paused") or {}).get("transitioned_at"))
    if paused_at is None:
        return False
    ours = (
        select(PendingChange.id)
        .join(ChangePreview, ChangePreview.id == PendingChange.preview_id)
        .where(
            ChangePreview.subscription_stripe_id == live["id"],
            ChangePreview.kind == "pause",
            PendingChange.first_sent_at.between(paused_at - CLOCKS_APART, paused_at + CLOCKS_APART),
        )
    )
    return db.session.execute(ours.limit(1)).scalar() is not None


def _let_go(gateway: Gateway, live: Json, params: dict[str, Any]) -> None:
    """A subscription that follows a schedule cannot be told when to end. One that brings nothing more is let go of."""
    if params.get("give_back") and live.get("schedule"):
        if planned(live) is not None:
            raise ChangeRefused("planned_first")
        end_read()
        schedule_id = str(ref(live["schedule"]))
        gateway.release_schedule(schedule_id, f"release-{schedule_id}")
        live["schedule"] = None


def quote(gateway: Gateway, live: Json, params: Json) -> Shown:
    """What an act bills, as Stripe works it out. Raises `GatewayError`."""
    end = period_of(live)[1]
    end_read()
    if params["quoted"] is None:
        return unchanged(end)
    asked = {"subscription": live["id"], "subscription_details": params["quoted"]}
    try:
        invoice = gateway.preview_invoice(asked)
    except NotFound:  # there is nothing to bill
        return unchanged(end)
    ends = [line["period"]["end"] for line in invoice["lines"]["data"]]
    afterwards = {"next_at": max(ends, default=end), "next_total": None, "recurring_total": None, "recurring_tax": 0}
    return _with_usage(gateway, live, params, receipt(invoice)) | afterwards


def _with_usage(gateway: Gateway, live: Json, params: Json, shown: Shown) -> Shown:
    """Where the rest is given back, what was used is billed by an invoice of its own, when the plan ends right after that."""
    if not (params.get("give_back") and params["invoice_now"]):
        return shown
    ending = {"cancel_now": True, "proration_behavior": "none"}
    try:
        used = receipt(gateway.preview_invoice({"subscription": live["id"], "subscription_details": ending}))
    except NotFound:  # nothing was used beyond what is included
        return shown
    covered = min(max(-shown["total"], 0), used["amount_due"])  # what is given back pays for it first
    used |= {"from_balance": used["from_balance"] + covered, "amount_due": used["amount_due"] - covered}
    return shown | {name: shown[name] + used[name] for name in SUMS}


def next_period_ends(preview: ChangePreview) -> datetime:
    return datetime.fromtimestamp(preview.shown["next_at"], UTC)
