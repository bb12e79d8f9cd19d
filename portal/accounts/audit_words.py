"""The audit trail in plain words."""

from __future__ import annotations

from typing import Any

from portal.core.money import money_words

WORDS = {
    "user.signed_in": "Signed in",
    "user.sign_in_failed": "Failed try to sign in",
    "user.signed_out": "Signed out",
    "user.password_changed": "Changed the password",
    "user.password_reset": "Set a new password by a mailed link",
    "user.email_change_asked": "Asked for another e-mail address",
    "user.email_changed": "Changed the e-mail address",
    "user.two_factor_on": "Turned codes at sign-in on",
    "user.two_factor_off": "Turned codes at sign-in off",
    "user.recovery_codes_made": "Made new recovery codes",
    "user.session_ended": "Ended a session",
    "user.sessions_ended": "Signed out everywhere else",
    "user.notifications_changed": "Changed what to be told of",
    "user.unsubscribed": "Stopped mails of a kind by the link in one",
    "team.created": "Created the team",
    "team.name_changed": "Renamed the team",
    "team.billing_email_changed": "Changed the billing e-mail",
    "team.time_zone_changed": "Changed the team's time zone",
    "team.handed_over": "Handed the team over",
    "member.invited": "Invited somebody",
    "member.joined": "Joined by an invitation",
    "member.role_changed": "Changed a member's role",
    "member.removed": "Removed a member",
    "member.left": "Left the team",
    "invitation.sent_again": "Sent an invitation again",
    "invitation.revoked": "Revoked an invitation",
    "api_key.created": "Created an API key",
    "api_key.revoked": "Revoked an API key",
    "metering.bypassed": "Let uses pass uncounted",
    "checkout.started": "Went to a checkout",
    "plan_change.agreed": "Agreed to a change of plan",
    "plan_change.planned": "Planned a change of plan",
    "plan_change.undone": "Took a planned change of plan back",
    "plan_change.failed": "A change of plan failed",
    "plan.changed": "Changed the plan",
    "plan_cancel.agreed": "Canceled the plan for the end of its period",
    "plan_cancel.failed": "Canceling the plan failed",
    "plan_cancel_now.agreed": "Agreed to end the plan at once",
    "plan_cancel_now.failed": "Ending the plan at once failed",
    "plan_resume.agreed": "Asked to keep the plan",
    "plan_resume.failed": "Keeping the plan failed",
    "plan_pause.agreed": "Asked to pause the plan",
    "plan_pause.failed": "Pausing the plan failed",
    "plan_unpause.agreed": "Asked to let the plan go on",
    "plan_unpause.failed": "Letting the plan go on failed",
    "plan.canceled": "The plan is canceled for the end of its period",
    "plan.ended": "Ended the plan",
    "plan.resumed": "Kept the plan",
    "plan.paused": "Paused the plan",
    "plan.unpaused": "Let the plan go on",
    "seats_change.agreed": "Agreed to another number of seats",
    "seats_change.failed": "A change of seats failed",
    "seats.changed": "Changed the number of seats",
    "addons_change.agreed": "Agreed to a change of add-ons",
    "addons_change.failed": "A change of add-ons failed",
    "addons.changed": "Changed the add-ons",
    "change.withdrawn": "Gave up a change that waited for the bank",
    "invoice.payment_asked": "Asked for an invoice to be charged",
    "invoice.paid_now": "Paid an invoice",
    "invoice.payment_failed": "Charging an invoice failed",
    "auto_purchase.turned_on": "Turned auto-purchase on",
    "auto_purchase.changed": "Changed auto-purchase",
    "auto_purchase.turned_off": "Turned auto-purchase off",
    "auto_purchase.armed_again": "Auto-purchase was turned on again",
    "auto_purchase.stopped": "Auto-purchase was stopped",
    "auto_purchase.made": "Credits were bought automatically",
    "auto_purchase.failed": "An automatic purchase failed",
    "auto_purchase.paused": "Auto-purchase was paused by the seller",
    "auto_purchase.resumed": "A pause of auto-purchase was ended",
    "auto_purchase.forgiven": "The seller let auto-purchase go on",
    "auto_purchase.forced": "The seller began an automatic purchase",
    "billing_details.changed": "Changed the billing details",
    "billing_email.asked": "Asked for another billing e-mail",
    "tax_id.added": "Added a tax id",
    "tax_id.removed": "Removed a tax id",
    "portal.opened": "Went to the customer portal",
    "entitlement.overridden": "Made an exception to what the plan gives",
    "entitlement.override_revoked": "Ended an exception to what the plan gives",
    "budget.set": "Set a budget",
    "budget.removed": "Removed a budget",
    "export.asked": "Asked for an export",
    "alarm.resolved": "Closed an alarm",
    "alarm.retried": "Had tried again what an alarm was about",
}


def action_words(action: str) -> str:
    """The words of an action; one that has none yet is read out: `payment.refunded` becomes `Payment refunded`."""
    return WORDS.get(action) or action.replace(".", " ").replace("_", " ").capitalize()


def detail_words(detail: dict[str, Any]) -> str:
    """`before → after` where there is both, an amount with its currency, and the rest as `name: value`."""
    rest = dict(detail)
    parts = []
    if {"amount_cents", "currency"} <= set(rest):
        parts.append(money_words(rest.pop("amount_cents"), rest.pop("currency")))
    if {"before", "after"} <= set(rest):
        parts.append(f"{rest.pop('before')} → {rest.pop('after')}")
    parts += [f"{name.replace('_', ' ')}: {_value(value)}" for name, value in rest.items() if value is not None]
    return ", ".join(parts)


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
