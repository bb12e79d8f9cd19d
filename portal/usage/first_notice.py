"""The one thing about credits and use that a page says above everything else: never two of them, and by cheap reads."""

from __future__ import annotations

from dataclasses import dataclass

from portal.credits import purchase_rules, purchase_standing
from portal.credits.purchase_words import stop_words
from portal.credits.queries import Summary
from portal.credits.thresholds import state_of
from portal.usage.thresholds import fullest

# Less than this is told in the inbox and by mail alone.
INCLUDED_PERCENT = 90


@dataclass(frozen=True)
class Notice:
    """`of` is where the way out is: `auto_purchase`, `credits` or `usage`."""

    of: str
    tone: str
    title: str
    text: str


def first_notice(team_id: str, credits: Summary) -> Notice | None:  # noqa: A002  the domain's word
    """What was to buy credits and has stopped goes first, then credits that run out, then what the plan includes."""
    return _of_auto_purchase(team_id) or _of_credits(team_id, credits) or _of_included(team_id)


def _of_auto_purchase(team_id: str) -> Notice | None:
    """None where the team may not have it any more: it would hide for good what can be mended."""
    rule = purchase_rules.rule_of(team_id)
    if rule is None or purchase_standing.state_of(rule) != "stopped" or not purchase_rules.is_offered(team_id):
        return None
    return Notice("auto_purchase", "bad", "Auto-purchase has stopped", " ".join(stop_words(str(rule.reason))))


def _of_credits(team_id: str, credits: Summary) -> Notice | None:  # noqa: A002  the domain's word
    state = state_of(team_id, credits)
    return Notice("credits", *state) if state else None


def _of_included(team_id: str) -> Notice | None:
    found = fullest(team_id, INCLUDED_PERCENT)
    if found is None:
        return None
    title = f"{found.meter}: {found.quantity:,} of {found.included:,} included are used"
    if found.more_allowed:
        text = "More than is included is charged on top, with the next invoice."
        return Notice("usage", "info" if found.quantity < found.included else "warn", title, text)
    if found.quantity < found.included:
        return Notice("usage", "warn", title, "More than is included is refused until the next month of the plan.")
    return Notice("usage", "bad", title, "More of it is refused until the next month of the plan.")
