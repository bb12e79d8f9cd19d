"""Pausing a plan in the customer portal, for a time or until it is resumed, and letting it go on."""

from typing import Any

from flask import Response

from portal.sandbox import pausing
from portal.sandbox.hosted.pages import plain_page
from portal.sandbox.hosted.portal_bill import bill_of, is_as_shown, lacks_card
from portal.sandbox.hosted.portal_plans import may_pause, plan_of
from portal.sandbox.hosted.portal_visit import Visit
from portal.sandbox.periods import add_interval
from portal.sandbox.previewing import preview
from portal.sandbox.registry import fetch
from portal.sandbox.resources import invoice_items, subscription_pausing
from portal.sandbox.store import Object
from portal.sandbox.wording import date, every

_FLOW = "subscription_pause"


def pause(visit: Visit, subscription_id: str) -> Response:
    """Ask for how long where that is to be chosen, then pause the plan at once."""
    subscription = visit.own(subscription_id)
    if subscription is None or not may_pause(subscription):
        return _refused(visit, "This plan cannot be paused", "It is not running, is set to end, or is to change.")
    lengths = _lengths(visit)
    if not visit.posted:
        return _form(visit, subscription, lengths)
    if lengths and visit.entered("length") not in {one["id"] for one in lengths}:
        return _form(visit, subscription, lengths, "Choose for how long. Your plan was not paused.")
    until = next((one["until"] for one in lengths if one["id"] == visit.entered("length")), None)
    subscription_pausing.pause(visit.call, {}, subscription_id)
    visit.call.store.save(fetch(visit.call, "subscription", subscription_id) | {"_resumes_at": until})
    return visit.done(_FLOW, "paused")


def _refused(visit: Visit, heading: str, text: str) -> Response:
    return plain_page(visit.sandbox, 409, heading, text, (visit.way_back, "Go back") if visit.way_back else None)


def _lengths(visit: Visit) -> list[dict[str, Any]]:
    """Return for how long a plan can be paused; nothing when it is paused until it is resumed."""
    duration = visit.configuration["features"]["subscription_pause"]["duration"]
    if duration["type"] == "indefinite":
        return []
    found = []
    for option in duration["interval_options"]:
        until = add_interval(visit.call.now(), option["interval"], option["interval_count"])
        words = every(option) if option["interval_count"] > 1 else f"1 {option['interval']}"
        found.append(
            {"id": f"{option['interval_count']}-{option['interval']}", "words": f"{words}, until {date(until)}"}
            | {"until": until}
        )
    return found


def _form(visit: Visit, subscription: Object, lengths: list[dict[str, Any]], error: str | None = None) -> Response:
    return visit.show(
        "portal_pause.html",
        422 if error else 200,
        plan=plan_of(visit, subscription),
        lengths=lengths,
        credit=_credit(visit, subscription),
        currency=subscription["currency"],
        error=error,
    )


def _credit(visit: Visit, subscription: Object) -> int:
    """Return what a pause gives back, in the smallest unit: it is carried out, looked at, and taken back."""
    if subscription["status"] == "trialing":
        return 0
    with visit.call.store.rehearsal():
        before = _waiting(visit, subscription)
        pausing.credit(visit.call, subscription, whole=False)
        return before - _waiting(visit, subscription)


def _waiting(visit: Visit, subscription: Object) -> int:
    waiting = invoice_items.pending(visit.call, subscription["customer"], subscription["id"], subscription["currency"])
    return sum(int(one["amount"]) for one in waiting)


def resume(visit: Visit, subscription_id: str) -> Response:
    """Show what is due when a paused plan goes on, then let it: a new period begins at once."""
    subscription = visit.own(subscription_id)
    if subscription is None or subscription["status"] != "paused":
        return _refused(visit, "This plan is not paused", "There is nothing to resume.")
    asked = {"subscription": subscription_id, "subscription_details": {"resume_at": "now"}}
    bill = bill_of(preview(visit.call, asked), at_once=True)
    may_pay, notice = not lacks_card(visit, subscription, bill), None
    if not may_pay:
        notice = ("There is no card to pay with.", "Your plan is still paused. Add a card first.")
    elif visit.posted and not is_as_shown(visit, bill):
        notice = ("What is due has changed in the meantime.", "Your plan is still paused. Look at it again.")
    if not visit.posted or notice:
        plan, status = plan_of(visit, subscription), 409 if visit.posted else 200
        return visit.show("portal_resume.html", status, plan=plan, bill=bill, notice=notice, may_pay=may_pay)
    subscription_pausing.resume(visit.call, {}, subscription_id)
    paid = fetch(visit.call, "subscription", subscription_id)["status"] != "past_due"
    return visit.to(f"{visit.link()}?note={'resumed' if paid else 'resumed_unpaid'}")
