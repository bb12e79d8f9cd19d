"""A dispute in words for the people who paid: what the bank says, and what it means for them."""

from __future__ import annotations

from portal.billing.dispute_models import Dispute
from portal.core.money import money_words

# A label, how serious it looks, and one sentence. `{amount}` is what is disputed.
_WORDS = {
    "asked": ("Bank asks", "warn", "The bank asks about {amount} of it. Nothing is taken back, and no credits are frozen."),
    "open": ("Disputed", "bad", "{amount} of it is disputed at the bank. What is left of its credits is frozen until the bank decides."),
    "won": ("Paid", "ok", "{amount} of it was disputed. The bank has decided that the payment stands."),
    "lost": ("Dispute lost", "bad", "{amount} of it was disputed and went back. So did the credits that it had bought."),
}  # fmt: skip


def state_of(dispute: Dispute) -> str:
    """`asked`, `open`, `won` or `lost`, for those who need not know the bank's own words."""
    if dispute.open:
        return "open"
    if dispute.lost:
        return "lost"
    return "asked" if dispute.status in ("warning_needs_response", "warning_under_review") else "won"


def dispute_words(dispute: Dispute) -> tuple[str, str, str]:
    """Label, tone and sentence."""
    label, tone, sentence = _WORDS[state_of(dispute)]
    return label, tone, sentence.format(amount=money_words(dispute.amount, dispute.currency))
