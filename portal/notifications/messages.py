"""The mails we send: one function a message, each with a folder of templates of its own name."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import current_app, has_request_context, render_template

from portal.notifications.kinds import has_inbox_words

BILLING_ADDRESS = "it is a billing address of the team"


class Recipient(str):
    """An address, and the page on which its reader can stop mails of this kind. A plain address has no such page."""

    __slots__ = ("unsubscribe",)

    def __new__(cls, address: str, unsubscribe: str | None = None) -> Recipient:
        made = super().__new__(cls, address)
        made.unsubscribe = unsubscribe
        return made

    unsubscribe: str | None


@dataclass(frozen=True)
class Message:
    """`words` and `link` are what the inbox shows below the subject, where the message stands there too."""

    name: str
    recipient: str
    subject: str
    text: str
    html: str
    unsubscribe: str | None = None
    words: str = ""
    link: str = ""


def confirm_email(recipient: str, link: str) -> Message:
    return _render(
        "confirm_email", recipient, link=link, expires_in_words="2 days", why="you signed up with this address"
    )


def welcome(recipient: str, *, person: str, team_link: str, link: str) -> Message:
    """Once, when the address is confirmed. `team_link` is empty for whoever came by an invitation."""
    return _render(
        "welcome",
        recipient,
        person=person,
        team_link=team_link,
        link=link,
        why="you confirmed this address for an account",
    )


def reset_password(recipient: str, link: str) -> Message:
    return _render(
        "reset_password",
        recipient,
        link=link,
        expires_in_words="60 minutes",
        why="a new password was asked for with this address",
    )


def password_reset_notice(recipient: str, link: str) -> Message:
    return _render("password_reset_notice", recipient, link=link, why="the password of your account was changed")


def already_registered(recipient: str, link: str) -> Message:
    return _render("already_registered", recipient, link=link, why="somebody signed up with this address")


def confirm_new_email(recipient: str, link: str) -> Message:
    return _render(
        "confirm_new_email",
        recipient,
        link=link,
        expires_in_words="60 minutes",
        why="an account is to use this address",
    )


def new_email_taken(recipient: str, link: str) -> Message:
    return _render("new_email_taken", recipient, link=link, why="another account was to use this address")


def email_change_asked_notice(recipient: str, new_email: str, link: str) -> Message:
    """To the old address, before anything has changed. `link` leads to a new password, which stops the move."""
    return _render(
        "email_change_asked_notice",
        recipient,
        new_email=new_email,
        link=link,
        why="somebody who was signed in asked for another address",
    )


def email_changed_notice(recipient: str, new_email: str, link: str) -> Message:
    """To the old address and to the new one."""
    return _render(
        "email_changed_notice", recipient, new_email=new_email, link=link, why="the address of your account was changed"
    )


def two_factor_notice(recipient: str, state: str, link: str) -> Message:
    """`state`: on, off, or codes (new recovery codes were made)."""
    return _render(
        "two_factor_notice", recipient, state=state, link=link, why="the sign-in to your account was changed"
    )


def invitation(recipient: str, *, team_name: str, inviter: str, role: str, ends: str, link: str) -> Message:
    """The same whether the address has an account or not."""
    values = {"team_name": team_name, "inviter": inviter, "role": role, "ends": ends, "link": link}
    return _render("invitation", recipient, why="somebody in the team gave this address", **values)


def trial_will_end(recipient: str, *, plan_name: str, ends: str, price: str, ending: bool, link: str) -> Message:
    values = {"plan_name": plan_name, "ends": ends, "price": price, "ending": ending, "link": link}
    return _render("trial_will_end", recipient, why=BILLING_ADDRESS, **values)


def payment_action_required(recipient: str, *, amount: str, number: str, link: str) -> Message:
    values = {"amount": amount, "number": number, "link": link}
    return _render("payment_action_required", recipient, why=BILLING_ADDRESS, **values)


def payment_failed(
    recipient: str, *, amount: str, plan_name: str, next_try: str, first: bool, last: bool, link: str
) -> Message:
    """`first` and `last` of the mails about one invoice; `next_try` is empty when Stripe tries no more."""
    values = {
        "amount": amount,
        "plan_name": plan_name,
        "next_try": next_try,
        "first": first,
        "last": last,
        "link": link,
    }
    return _render("payment_failed", recipient, why=BILLING_ADDRESS, **values)


def payment_recovered(recipient: str, *, amount: str, number: str, link: str) -> Message:
    values = {"amount": amount, "number": number, "link": link}
    return _render("payment_recovered", recipient, why=BILLING_ADDRESS, **values)


def invoice_paid(recipient: str, *, amount: str, number: str, description: str, day: str, link: str) -> Message:
    values = {"amount": amount, "number": number, "description": description, "day": day, "link": link}
    return _render("invoice_paid", recipient, why="it is a billing address of the team", **values)


def dispute_opened(recipient: str, *, amount: str, payment: str, credits_frozen: int, link: str) -> Message:
    """`payment` is the payment in words, here and below; the amount is that of the dispute or the refund."""
    values = {"amount": amount, "payment": payment, "credits_frozen": credits_frozen, "link": link}
    return _render("dispute_opened", recipient, why=BILLING_ADDRESS, **values)


def dispute_won(
    recipient: str, *, amount: str, payment: str, thawed: bool, credits_returned: int, link: str
) -> Message:
    """`thawed`: some of its credits were frozen; `credits_returned` had ended while they were, and are given once more."""
    values = {
        "amount": amount,
        "payment": payment,
        "thawed": thawed,
        "credits_returned": credits_returned,
        "link": link,
    }
    return _render("dispute_won", recipient, why=BILLING_ADDRESS, **values)


def dispute_lost(recipient: str, *, amount: str, payment: str, credits_taken: int, debt: int, link: str) -> Message:
    """`debt` is what the team owes now, of this or of anything else."""
    values = {"amount": amount, "payment": payment, "credits_taken": credits_taken, "debt": debt, "link": link}
    return _render("dispute_lost", recipient, why=BILLING_ADDRESS, **values)


def credits_taken_back(
    recipient: str, *, amount: str, payment: str, credits_taken: int, debt: int, link: str
) -> Message:
    values = {"amount": amount, "payment": payment, "credits_taken": credits_taken, "debt": debt, "link": link}
    return _render("credits_taken_back", recipient, why=BILLING_ADDRESS, **values)


def confirm_billing_email(recipient: str, *, team_name: str, link: str) -> Message:
    values = {"team_name": team_name, "link": link, "expires_in_words": "2 days"}
    return _render("confirm_billing_email", recipient, why="a team's invoices are to be sent here", **values)


def billing_email_changed(recipient: str, *, team_name: str, new_email: str, link: str) -> Message:
    """To the old address."""
    values = {"team_name": team_name, "new_email": new_email, "link": link}
    return _render("billing_email_changed", recipient, why="it was a billing address of the team until now", **values)


def payment_given_up(recipient: str, *, amount: str, plan_name: str, ended: bool, link: str) -> Message:
    """`ended`: the plan is over; else it waits for the open invoice to be paid."""
    values = {"amount": amount, "plan_name": plan_name, "ended": ended, "link": link}
    return _render("payment_given_up", recipient, why=BILLING_ADDRESS, **values)


def card_expiring(recipient: str, *, card: str, ends: str, link: str) -> Message:
    values = {"card": card, "ends": ends, "link": link}
    return _render("card_expiring", recipient, why=BILLING_ADDRESS, **values)


def plan_changed(recipient: str, *, plan_name: str, every: str, charged: str, from_when: str, link: str) -> Message:
    """`from_when` is empty for a change that applies already, and then `charged` says what it cost."""
    values = {"plan_name": plan_name, "every": every, "charged": charged, "from_when": from_when, "link": link}
    return _render("plan_changed", recipient, why=BILLING_ADDRESS, **values)


def seats_changed(recipient: str, *, seats: int | None, plan_name: str, charged: str, link: str) -> Message:
    values = {"seats": seats, "plan_name": plan_name, "charged": charged, "link": link}
    return _render("seats_changed", recipient, why=BILLING_ADDRESS, **values)


def plan_canceled(
    recipient: str, *, plan_name: str, day: str, ended: bool, outcome: list[tuple[str, str]], link: str
) -> Message:
    """`ended`: it is over; else it is to end on `day`. `outcome` says what becomes of what, as pairs."""
    values = {"plan_name": plan_name, "day": day, "ended": ended, "outcome": outcome, "link": link}
    return _render("plan_canceled", recipient, why=BILLING_ADDRESS, **values)


def plan_resumed(recipient: str, *, plan_name: str, paused: bool, link: str) -> Message:
    """`paused`: it goes on after a pause; else it was canceled and stays after all."""
    return _render("plan_resumed", recipient, why=BILLING_ADDRESS, plan_name=plan_name, paused=paused, link=link)


def plan_paused(recipient: str, *, plan_name: str, outcome: list[tuple[str, str]], link: str) -> Message:
    return _render("plan_paused", recipient, why=BILLING_ADDRESS, plan_name=plan_name, outcome=outcome, link=link)


def addons_changed(recipient: str, *, addon: str, quantity: int, plan_name: str, charged: str, link: str) -> Message:
    """`quantity` is how many the team has now; 0 is none any more."""
    values = {"addon": addon, "quantity": quantity, "plan_name": plan_name, "charged": charged, "link": link}
    return _render("addons_changed", recipient, why="it is a billing address of the team", **values)


def auto_purchase_on(recipient: str, *, terms: list[str], card: str, changed: bool, link: str) -> Message:
    """`terms` say when it buys, for how much and how often at most; `changed`: it was on before, by other terms."""
    values = {"terms": terms, "card": card, "changed": changed, "link": link}
    return _render("auto_purchase_on", recipient, why=BILLING_ADDRESS, **values)


def auto_purchase_made(
    recipient: str, *, amount: str, granted: int, card: str, day: str, receipt: str, link: str
) -> Message:
    """`receipt` is Stripe's page of it, empty when there is none."""
    values = {"amount": amount, "granted": granted, "card": card, "day": day, "receipt": receipt, "link": link}
    return _render("auto_purchase_made", recipient, why=BILLING_ADDRESS, **values)


def auto_purchase_confirm(recipient: str, *, amount: str, granted: int, link: str) -> Message:
    values = {"amount": amount, "granted": granted, "link": link}
    return _render("auto_purchase_confirm", recipient, why=BILLING_ADDRESS, **values)


def auto_purchase_stopped(recipient: str, *, amount: str, happened: str, way_out: str, link: str) -> Message:
    """`amount` is what was to be charged, empty when nothing was tried."""
    values = {"amount": amount, "happened": happened, "way_out": way_out, "link": link}
    return _render("auto_purchase_stopped", recipient, why=BILLING_ADDRESS, **values)


def auto_purchase_capped(recipient: str, *, limit: str, until: str, link: str) -> Message:
    """`limit` is day or month."""
    values = {"limit": limit, "until": until, "link": link}
    return _render("auto_purchase_capped", recipient, why=BILLING_ADDRESS, **values)


@dataclass(frozen=True)
class AlarmLine:
    kind: str
    subject: str
    raised_at: datetime
    meaning: str


def alarms(recipient: str, lines: list[AlarmLine]) -> Message:
    return _render("alarms", recipient, alarms=lines, why="ALARM_MAIL names this address")


def credits_threshold(
    recipient: str, *, percent: int, used: str, granted: str, available: str, next_at: str, link: str
) -> Message:
    """75, 90 or 100 % of the plan's credits of a month are used; once each. `next_at` is empty where none come."""
    return _render(
        "credits_threshold",
        recipient,
        percent=percent,
        used=used,
        granted=granted,
        available=available,
        next_at=next_at,
        link=link,
        why=BILLING_ADDRESS,
    )


def credits_low(recipient: str, *, available: str, next_at: str, link: str) -> Message:
    """Hardly anything is left in all; once until credits are added again."""
    return _render("credits_low", recipient, available=available, next_at=next_at, link=link, why=BILLING_ADDRESS)


def credits_expiring(recipient: str, *, amount: str, source: str, ends: str, link: str) -> Message:
    """A bundle or a gift ends within days and is not used up; once each."""
    return _render(
        "credits_expiring", recipient, amount=amount, source=source, ends=ends, link=link, why=BILLING_ADDRESS
    )


def included_threshold(
    recipient: str, *, percent: int, meter: str, used: str, included: str, more_allowed: bool, link: str
) -> Message:
    """75, 90 or 100 % of what a plan includes of a meter are used in a month; once each."""
    return _render(
        "included_threshold",
        recipient,
        percent=percent,
        meter=meter,
        used=used,
        included=included,
        more_allowed=more_allowed,
        link=link,
        why=BILLING_ADDRESS,
    )


def budget_threshold(
    recipient: str,
    *,
    percent: int | None,
    subject_name: str,
    used: str,
    budget: str,
    units: str,
    stops: bool,
    stopped_early: bool,
    link: str,
) -> Message:
    """75, 90 or 100 % of the budget of an API key or a member are used in a month; once each. `stopped_early`, once as well: less
    than all of it is, whatever the `percent`, but the budget has refused what would go beyond it.
    """
    return _render(
        "budget_threshold",
        recipient,
        percent=percent,
        subject_name=subject_name,
        used=used,
        budget=budget,
        units=units,
        stops=stops,
        stopped_early=stopped_early,
        link=link,
        why=BILLING_ADDRESS,
    )


def _render(name: str, recipient: str, **values: object) -> Message:
    """The worker has no request, and what every page is given (the seller's name above all) is given in one."""
    with nullcontext() if has_request_context() else current_app.test_request_context():
        return _filled(name, {"recipient": recipient, **values})


def _filled(name: str, context: dict[str, Any]) -> Message:
    recipient = context["recipient"]
    way_out = recipient.unsubscribe if isinstance(recipient, Recipient) else None
    context["unsubscribe"] = way_out
    text = render_template(f"email/{name}/body.txt", **context)
    return Message(
        name=name,
        recipient=recipient,
        subject=_in_one_line(f"email/{name}/subject.txt", context),
        text=f"{text.rstrip()}\nStop mails of this kind: {way_out}\n" if way_out else text,
        html=render_template(f"email/{name}/body.html", **context),
        unsubscribe=way_out,
        words=_in_one_line(f"email/{name}/inbox.txt", context) if has_inbox_words(name) else "",
        link=context.get("link", ""),
    )


def _in_one_line(template: str, context: dict[str, Any]) -> str:
    return " ".join(render_template(template, **context).split())
