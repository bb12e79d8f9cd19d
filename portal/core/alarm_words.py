"""What each kind of alarm means, in one line. What to do about it stands in docs/operations.md, one row a kind."""

from __future__ import annotations

MEANINGS = {
    "card_testing": "A team has begun and left, or had declined, more checkouts than anybody needs.",
    "charge_differs": "A change of plan or seats was charged otherwise than its preview said.",
    "dead_event": "An event of Stripe's could not be applied.",
    "dead_mail": "A mail could not be sent.",
    "given_up_event": "An event of Stripe's waited a day for something that did not come.",
    "ledger_drift": "The proof of the credit ledger found something wrong.",
    "missed_events": "Events of Stripe's never came and were fetched from its list.",
    "more_members_than_seats": "A team has more members than its subscription has seats.",
    "payment_failures": "Many more payments fail than usual.",
    "proof_missing": "The ledger was not proved for two days.",
    "second_subscription": "A team has paid for two subscriptions.",
    "second_trial": "Somebody who has had a trial is in another one.",
    "stuck_change": "A change of plan or seats could not be carried out for a long time.",
    "stuck_payment": "An invoice that somebody asked to be charged could not be charged for a long time.",
    "refused_address": "Stripe did not take a team's billing e-mail.",
    "task_failing": "A scheduled task ended with an error.",
    "task_overdue": "A scheduled task does not run.",
    "unknown_plan": "A team has subscribed to something that the catalog does not know.",
    "usage_months_missing": "There is no table for the uses of the month to come.",
    "webhook_lag": "Events of Stripe's wait for more than five minutes.",
}


def meaning_of(kind: str) -> str:
    return MEANINGS.get(kind, "See docs/operations.md.")
