"""Why a change of plan or seats is not possible, in words for the person who wanted it, and the way out."""

from __future__ import annotations

from http import HTTPStatus

import structlog
from flask import url_for

from portal.billing.change_models import LEAVE_KINDS
from portal.billing.change_preview import open_change
from portal.billing.change_refused import ChangeRefused
from portal.billing.gateway import GatewayError, InFlight, RateLimited, Unavailable
from portal.billing.refusals import OVERVIEW, Refusal

log = structlog.get_logger(__name__)

NOTHING = "Nothing was charged and nothing has changed."

WORDS = {
    "no_plan": ("The team has no plan that could be changed", f"Choose one first. {NOTHING}"),
    "custom": (
        "This plan is changed by agreement",
        f"Its price is not one of the list, so it cannot be worked out here. {NOTHING} Write to us, and we change it for you.",
    ),
    "past_due": (
        "An invoice has to be paid first",
        f"The plan can be changed as soon as the open invoice is paid. {NOTHING}",
    ),
    "paused": ("The plan is paused", f"Resume it first, then change it. {NOTHING}"),
    "ending": ("The plan is about to end", f"It was canceled. Resume it first, then change it. {NOTHING}"),
    "ending_already": (
        "The plan is canceled already",
        f"It ends by itself, as the overview says. {NOTHING}",
    ),
    "not_ending": ("The plan is not about to end", f"There is nothing to take back. {NOTHING}"),
    "only_now": (
        "This plan can only end at once",
        f"It does not run at the moment, so there is no end of a period to wait for. {NOTHING}",
    ),
    "only_at_the_end": (
        "This plan ends with its period",
        f"It cannot be ended before. Cancel it for the end of the period; nothing more is charged then. {NOTHING}",
    ),
    "planned_first": (
        "A change of plan is planned",
        f"Undo it on the overview first, or cancel for the end of the period: that drops it by itself. {NOTHING}",
    ),
    "no_pause": ("Plans cannot be paused here", f"You can cancel at any time and come back later. {NOTHING}"),
    "trial": (
        "A trial cannot be paused",
        f"Nothing is charged while it lasts, and it can be canceled until it ends. {NOTHING}",
    ),
    "paused_already": ("The plan is paused already", f"Let it go on whenever you like. {NOTHING}"),
    "not_paused": ("The plan is not paused", f"There is nothing to let go on. {NOTHING}"),
    "no_card": (
        "There is no card that could pay for the plan",
        f"Add one under Billing details on the overview, then let the plan go on. {NOTHING}",
    ),
    "open": ("A change is on its way already", "One change at a time: wait until it is done, or give it up. This one did nothing."),
    "changed": (
        "Somebody has changed the plan or its seats meanwhile",
        f"What was shown does not hold any more. {NOTHING} Look at a new preview.",
    ),
    "expired": (
        "The preview has expired",
        f"It held for ten minutes, since the time left in the period goes on. {NOTHING} Look at a new preview.",
    ),
    "members_came": (
        "The team has more members by now",
        "There are {members} members, and the preview was for {seats} seats. " + NOTHING,
    ),
    "nothing": ("Nothing would change", f"The team has exactly this already. {NOTHING}"),
    "planned": (
        "The team is on this plan already",
        f"A change away from it is planned. Undo that on the overview, and the plan stays. {NOTHING}",
    ),
    "nothing_planned": ("No change is planned any more", "It was taken back already, or it has begun."),
    "not_sold": ("This plan is not on sale", f"Choose another one. {NOTHING}"),
    "too_many_members": (
        "The team has more members than {plan} would have seats",
        "There are {members} members, and it would be {seats} seats. Remove members or choose more seats. " + NOTHING,
    ),
    "no_seats": (
        "{plan} has no further seats",
        "It includes {seats}, and more are not sold with it. A larger plan has more. " + NOTHING,
    ),
    "seats_max": (
        "{plan} has {seats} seats at most",
        "A larger plan has more. " + NOTHING,
    ),
    "planned_seats": (
        "The plan that is to come has fewer seats",
        "{plan} has {seats} at most. Undo the planned change first, or choose fewer seats. " + NOTHING,
    ),
    "planned_code": (
        "The promotion code of the planned change has ended",
        f"What the planned change will cost cannot be worked out any more. Undo it on the overview first. {NOTHING}",
    ),
    "no_addon": ("This add-on is not sold with your plan", f"{NOTHING} Another plan may have it."),
    "addon_most": ("{addon}: {most} at most", NOTHING),
    "planned_addon": (
        "The plan that is to come does not have this add-on",
        f"{{plan}} is sold without it. Undo the planned change first. {NOTHING}",
    ),
    "addon_paid_longer": (
        "An add-on is paid for beyond that day",
        "{plan} is sold without {addon}. Remove that first: what is left of it is credited on the next invoice. " + NOTHING,
    ),
    "too_many_codes": (
        "Too many promotion codes were tried that do not work",
        f"{NOTHING} Go on without a code, or try again in an hour.",
    ),
    "code_unknown": ("There is no such promotion code", f"{NOTHING} Check the spelling, or go on without a code."),
    "code_ended": (
        "This promotion code has ended",
        f"It has expired or was used as often as it may be. {NOTHING} Go on without it, or try another one.",
    ),
    "code_not_applicable": (
        "This promotion code does not fit this change",
        f"It may be meant for something else or for new customers. {NOTHING} Go on without it.",
    ),
}  # fmt: skip
# What is wrong with the wish itself; everything else is how things stand.
UNPROCESSABLE = (
    "too_many_members", "no_seats", "seats_max", "planned_seats", "no_addon", "addon_most",
    "planned_addon", "planned_code", "addon_paid_longer", "code_unknown", "code_ended", "code_not_applicable", "not_sold",
)  # fmt: skip


# What is to be seen, or done first, on the overview.
AS_THINGS_STAND = ("custom", "past_due", "paused", "ending", "nothing", "planned", "planned_code", "nothing_planned")


def change_refusal(refused: ChangeRefused, team_id: str, kind: str) -> tuple[Refusal, int]:
    """What to say, and with which status. `kind` (plan, seats, or one of `LEAVE_KINDS`) says where the person came from."""
    title, text = WORDS[refused.reason]
    status = HTTPStatus.CONFLICT
    if refused.reason in UNPROCESSABLE:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    elif refused.reason == "too_many_codes":
        status = HTTPStatus.TOO_MANY_REQUESTS
    label, address = _way_out(refused.reason, team_id, kind)
    return Refusal(title.format(**refused.facts), text.format(**refused.facts), label, address), status


def _way_out(reason: str, team_id: str, kind: str) -> tuple[str, str]:
    if reason == "addon_paid_longer":
        return back_to("addon", team_id)
    if reason == "open" and (change := open_change(team_id)) is not None:
        return "See the change", url_for("billing.plan_change", team_id=team_id, change_id=change.id)
    if reason == "no_plan":
        return "Choose a plan", url_for("catalog.pricing", team=team_id)
    if reason in ("only_now", "only_at_the_end"):
        return "Back to canceling", url_for("billing.cancel_page", team_id=team_id)
    if reason in AS_THINGS_STAND or kind in LEAVE_KINDS:
        return OVERVIEW, url_for("billing.overview", team_id=team_id)
    return back_to(kind, team_id)


def back_to(kind: str, team_id: str) -> tuple[str, str]:
    if kind in LEAVE_KINDS:
        return OVERVIEW, url_for("billing.overview", team_id=team_id)
    if kind == "addon":
        return "Back to the add-ons", url_for("billing.addons", team_id=team_id)
    if kind == "seats":
        return "Back to the seats", url_for("billing.seats", team_id=team_id)
    return "Back to the plans", url_for("billing.change_plan", team_id=team_id)


def change_trouble(error: GatewayError, team_id: str, kind: str) -> Refusal:
    """Stripe did not say what the change would bring."""
    label, address = back_to(kind, team_id)
    if isinstance(error, Unavailable | RateLimited | InFlight):
        title = "Stripe cannot be reached right now"
        return Refusal(title, f"The preview could not be made. {NOTHING} Try again in a minute.", label, address)
    log.error("preview_refused_by_stripe", code=error.code)
    text = f"Something about this change is not set up right on our side; we have been told. {NOTHING}"
    return Refusal("Stripe did not work this change out", text, label, address, "bad")
