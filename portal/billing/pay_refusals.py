"""Why an invoice is not charged, in words for the person who asked for it, and the way out."""

from __future__ import annotations

from http import HTTPStatus

from flask import url_for

from portal.billing.pay_now import PayRefused
from portal.billing.refusals import Refusal

WORDS = {
    "paid": ("This invoice is paid already", "Nothing more was charged."),
    "closed": ("This invoice is not open", "There is nothing to pay on it. Nothing was charged."),
    "too_many": (
        "Too many payments were refused in the last hour",
        "We stop here to keep cards safe. Nothing was charged. Try again in an hour, or pay on the invoice's page at Stripe.",
    ),
}


def pay_refusal(refused: PayRefused, team_id: str, invoice_id: str) -> tuple[Refusal, int]:
    title, text = WORDS[refused.reason]
    status = HTTPStatus.TOO_MANY_REQUESTS if refused.reason == "too_many" else HTTPStatus.CONFLICT
    back = url_for("billing.invoice", team_id=team_id, invoice_id=invoice_id)
    return Refusal(title, text, "Back to the invoice", back), status
