"""Auto-purchase waits for a person once money of the team's went back, or may, whatever it had been paid for.

What was spent of it is missing then, and a rule that went on would charge the card for it at once; and whoever disputes a
payment does not want to be charged again.
"""

from __future__ import annotations

from portal.billing.models import Payment
from portal.credits import purchase_news, purchase_rules
from portal.credits.claims import Claim, claims_of
from portal.credits.storage import lock_account

# A claim by its id at Stripe, and how it stands: `refunded`, `disputed`, or `lost`.
Standing = tuple[str, str]


def standings(claims: list[Claim]) -> set[Standing]:
    """How everything stands that was asked back."""
    found = set()
    for claim in claims:
        if claim.kind == "dispute" and (claim.open or claim.counts):
            found.add((claim.row.stripe_id, "disputed" if claim.open else "lost"))
        elif claim.kind == "refund" and claim.counts:
            found.add((claim.row.stripe_id, "refunded"))
    return found


def stop_if_undone(payments: list[Payment], before: set[Standing]) -> None:
    """Stop the rule of the team that made these payments if more has come back of them, or may, than `before`.

    Both stop it though no credits were bought with it, or none of them are left; a dispute does once more when it is lost.
    """
    new = {how for _stripe_id, how in standings(claims_of(payments)) - before}
    if new:
        stop_after_undoing(payments[0].team_id, "refunded" if new == {"refunded"} else "disputed")


def stop_after_undoing(team_id: str, reason: str) -> None:
    """Buy nothing more until a person says so, because a payment was undone: `refunded` or `disputed`.

    A rule that was stopped for its card waits for a person from now on, and not for another card.
    """
    lock_account(team_id)
    rule = purchase_rules.rule_of(team_id)
    if rule is None or not rule.enabled or purchase_rules.waits_for_person(rule):
        return
    purchase_rules.stop(team_id, reason)
    purchase_news.tell_of_stop(rule, reason)
