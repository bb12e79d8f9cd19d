"""Canceling a plan in the customer portal, with the reason, and taking that back."""

from flask import Response

from portal.sandbox import portal_changes
from portal.sandbox.hosted.pages import plain_page
from portal.sandbox.hosted.portal_plans import plan_of
from portal.sandbox.hosted.portal_visit import Visit
from portal.sandbox.resources import subscription_cancellation, subscription_updates
from portal.sandbox.store import Object

COMMENT_LENGTH_MAX = 500
REASONS = {
    "too_expensive": "It costs too much",
    "missing_features": "It lacks something I need",
    "switched_service": "I use another service now",
    "unused": "I do not use it enough",
    "customer_service": "The support was not good enough",
    "too_complex": "It is too hard to use",
    "low_quality": "The quality was not good enough",
    "other": "Another reason",
}


def cancel(visit: Visit, subscription_id: str) -> Response:
    """Ask why, then end the plan: at the end of what is paid for, or at once where the configuration says so."""
    subscription = visit.own(subscription_id)
    if subscription is None or subscription["cancel_at"] is not None:
        return _nothing_to_cancel(visit)
    offer = visit.configuration["features"]["subscription_cancel"]
    reasons = {name: REASONS[name] for name in offer["cancellation_reason"]["options"]}
    asked = reasons if offer["cancellation_reason"]["enabled"] else {}
    if not visit.posted:
        plan = plan_of(visit, subscription)
        return visit.show("portal_cancel.html", plan=plan, reasons=asked, offer=offer)
    details = _reason(visit, asked)
    if offer["mode"] == "immediately":
        values = {"cancellation_details": details, "prorate": offer["proration_behavior"] == "create_prorations"}
        subscription_cancellation.cancel(visit.call, values, subscription_id)
        return visit.done("subscription_cancel", "canceled")
    if subscription["schedule"] is not None:
        # What was to come next comes no more, and a schedule would not let the end be set.
        portal_changes.take_back(visit.call, subscription)
    # In flexible billing Stripe's portal names the instant and leaves cancel_at_period_end alone.
    ending = {"cancel_at": "max_period_end", "cancellation_details": details}
    subscription_updates.update(visit.call, ending, subscription_id)
    return visit.done("subscription_cancel", "ending")


def _nothing_to_cancel(visit: Visit) -> Response:
    text = "This plan has ended or is set to end already. There is nothing left to cancel."
    link = (visit.way_back, "Go back") if visit.way_back else None
    return plain_page(visit.sandbox, 409, "Nothing to cancel", text, link)


def _reason(visit: Visit, asked: dict[str, str]) -> Object:
    feedback = visit.form.get("feedback", "")
    comment = visit.form.get("comment", "").replace("\x00", "").strip()[:COMMENT_LENGTH_MAX]
    details: Object = {"feedback": feedback if feedback in asked else None}
    return details | {"comment": comment or None}


def keep(visit: Visit, subscription_id: str) -> Response:
    """Take a cancellation back, with the reason that was given for it."""
    subscription = visit.own(subscription_id)
    if subscription is None:
        return plain_page(
            visit.sandbox,
            409,
            "This plan has ended",
            "It can no longer be kept. Choose a plan again to go on.",
            (visit.link(), "Go back"),
        )
    forgotten = {"comment": None, "feedback": None}
    subscription_updates.update(visit.call, {"cancel_at": None, "cancellation_details": forgotten}, subscription_id)
    return visit.to(f"{visit.link()}?note=kept")
