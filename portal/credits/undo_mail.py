"""News of what was undone, each once: a payment is disputed, stands, or went back, and credits were taken with a refund."""

from __future__ import annotations

from collections.abc import Callable

from portal.billing.billing_mail import team_zone, tell
from portal.billing.dispute_models import Dispute
from portal.billing.models import Payment
from portal.core.addresses import own_address
from portal.core.database import send
from portal.core.money import money_words
from portal.core.statements import Statement
from portal.credits.claims import Claim, claims_of
from portal.credits.lot_family import ENDED_FROZEN
from portal.credits.queries import balance
from portal.credits.undo_words import payment_words
from portal.notifications import messages
from portal.notifications.messages import Message

# What the entries of one claim came to: those that took credits back, those that froze or thawed, and whether any
# thawed; and what was given back of what had ended while it was frozen.
CAME_TO = Statement(
    "select cast(coalesce(-sum(amount) filter (where kind = 'reversed'), 0) as bigint) as taken,"
    " cast(coalesce(-sum(amount) filter (where kind in ('frozen', 'thawed')), 0) as bigint) as frozen,"
    " coalesce(bool_or(kind = 'thawed'), false) as thawed,"
    " (select cast(coalesce(sum(amount), 0) as bigint) from credit_grants"
    "   where team_id = :team_id and starts_with(cause_key, :returned)) as returned"
    " from credit_entries where team_id = :team_id and grant_id is not null and starts_with(cause_key, :claim)"
)


def tell_of_undone(payments: list[Payment], claims: set[str]) -> None:
    """Tell the team what became of these payments, in the current unit and after the credits were settled.

    `claims` are the refunds and disputes to be told of, by their ids at Stripe: older ones were told of in their time.
    """
    for payment in payments:
        for claim in claims_of([payment]):
            if claim.row.stripe_id in claims:
                _tell(payment, claim)


def _tell(payment: Payment, claim: Claim) -> None:
    returned = f"{ENDED_FROZEN}{claim.row.stripe_id}:"
    came_to = send(CAME_TO, team_id=payment.team_id, claim=f"{claim.key}:", returned=returned)[0]
    common = {
        "amount": money_words(claim.row.amount, claim.row.currency),
        "payment": payment_words(payment, team_zone(payment.team_id)),
        "link": own_address("credits.credits", team_id=payment.team_id),
    }
    taken, debt = int(came_to.taken), balance(payment.team_id).debt

    def tell_once(fact: str, message: Callable[[str], Message]) -> None:
        tell(payment.team_id, f"{fact}:{claim.row.stripe_id}", message)

    if isinstance(claim.row, Dispute):
        if claim.open:
            frozen = came_to.frozen
            tell_once("dispute_opened", lambda to: messages.dispute_opened(to, credits_frozen=frozen, **common))
        elif claim.counts:
            tell_once("dispute_lost", lambda to: messages.dispute_lost(to, credits_taken=taken, debt=debt, **common))
        elif claim.row.status == "won":
            thawed, back = came_to.thawed, came_to.returned
            tell_once(
                "dispute_won", lambda to: messages.dispute_won(to, thawed=thawed, credits_returned=back, **common)
            )
    elif claim.counts and taken:
        tell_once(
            "credits_taken_back", lambda to: messages.credits_taken_back(to, credits_taken=taken, debt=debt, **common)
        )
