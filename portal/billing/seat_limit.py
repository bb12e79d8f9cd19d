"""How many people a team may have: the seats its plan includes, and those it pays for beside them."""

from __future__ import annotations

from portal.billing.entitlements import effective
from portal.billing.seats import seats_of

# Where no plan is in force, and the product has no free one: room for whoever made the team.
SEATS_WITHOUT_A_PLAN = 1


def seat_limit(team_id: str) -> int | None:
    """The seats the team has now; None is any number. As Stripe's mirror says, which may be a moment behind."""
    rights = effective(team_id)
    if rights.plan is None and rights.seats_subscription_id is None:
        return SEATS_WITHOUT_A_PLAN
    return seats_of(team_id).total
