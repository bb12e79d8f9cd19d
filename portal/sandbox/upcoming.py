"""What is due next by the sandbox's own clock, or by a test clock: what will be found when that gets there."""

from dataclasses import dataclass

from portal.sandbox.call import Call
from portal.sandbox.subscription_life import INCOMPLETE_SECONDS, TRIAL_NOTICE_SECONDS


@dataclass(frozen=True)
class Upcoming:
    """Something that comes due: when, what, and to which object."""

    at: int
    what: str
    object_id: str


# What ends by then does not renew.
_RENEWS = """
SELECT subscriptions.id, min(json_extract(items.body, '$.current_period_end')) AS at
FROM objects AS subscriptions
JOIN objects AS items ON json_extract(items.body, '$.subscription') = subscriptions.id AND items.type = 'subscription_item'
WHERE subscriptions.type = 'subscription' AND json_extract(subscriptions.body, '$.status') IN ({statuses})
    AND json_extract(subscriptions.body, '$.test_clock') IS ?
GROUP BY subscriptions.id
HAVING coalesce(json_extract(subscriptions.body, '$.cancel_at') > at, 1)
"""
# Words, type, where the moment stands, and what must hold besides; a moment that is null never comes.
_SOURCES = (
    ("The checkout page expires", "checkout.session", "$.expires_at", "json_extract(body, '$.status') = 'open'"),
    ("The quote expires", "quote", "$.expires_at", "json_extract(body, '$.status') IN ('draft', 'open')"),
    ("The plan ends", "subscription", "$.cancel_at", "json_extract(body, '$.ended_at') IS NULL"),
    (
        "Payments go on",
        "subscription",
        "$.pause_collection.resumes_at",
        "json_extract(body, '$.ended_at') IS NULL",
    ),
    ("The paused plan goes on", "subscription", "$._resumes_at", "json_extract(body, '$.ended_at') IS NULL"),
    (
        "The bank has decided on the refund",
        "refund",
        "$._answer_at",
        "json_extract(body, '$._awaits') IS NOT NULL",
    ),
    (
        "The bank has decided on the debit",
        "charge",
        "$._settles_at",
        "json_extract(body, '$.status') = 'pending'",
    ),
    (
        "The time to answer the dispute is over",
        "dispute",
        "$.evidence_details.due_by",
        "json_extract(body, '$.status') = 'needs_response'",
    ),
    (
        "The draft is finalized",
        "invoice",
        "$.automatically_finalizes_at",
        "json_extract(body, '$.status') = 'draft'",
    ),
    ("The payment is tried again", "invoice", "$.next_payment_attempt", "json_extract(body, '$.status') = 'open'"),
    (
        "The next phase begins",
        "subscription_schedule",
        "$.current_phase.end_date",
        "json_extract(body, '$.status') = 'active'",
    ),
    (
        "The schedule begins",
        "subscription_schedule",
        "$.phases[0].start_date",
        "json_extract(body, '$.status') = 'not_started'",
    ),
    ("The change that waits is forgotten", "subscription", "$.pending_update.expires_at", "1"),
)
_EXPIRES = """
SELECT id, json_extract(body, '$.created') + ? AS at FROM objects
WHERE type = 'subscription' AND json_extract(body, '$.status') = 'incomplete'
    AND json_extract(body, '$.test_clock') IS ?
"""
_NOTICE = """
SELECT id, json_extract(body, '$.trial_end') - ? AS at FROM objects
WHERE type = 'subscription' AND json_extract(body, '$.status') = 'trialing'
    AND json_extract(body, '$._trial_end_told') IS NULL AND json_extract(body, '$.test_clock') IS ?
"""
# Where it stands by which clock something goes; what has no such member goes by the sandbox's own.
_OWN_CLOCK, _CLOCKS = "$.test_clock", {"refund": "$._test_clock"}


def upcoming(call: Call) -> list[Upcoming]:
    """Return everything that is to come by the call's clock, the next thing first."""
    clock = call.test_clock
    found = _rows(call, "The end of the trial is announced", _NOTICE, TRIAL_NOTICE_SECONDS, clock)
    found += _rows(call, "The trial ends", _RENEWS.format(statuses="'trialing'"), clock)
    found += _rows(call, "The plan renews", _RENEWS.format(statuses="'active', 'past_due', 'unpaid'"), clock)
    found += _rows(call, "The unpaid plan expires", _EXPIRES, INCOMPLETE_SECONDS, clock)
    for words, type_name, path, condition in _SOURCES:
        # Both come from the table above.
        what = f"type = ? AND {condition} AND json_extract(body, '{_CLOCKS.get(type_name, _OWN_CLOCK)}') IS ?"
        sql = f"SELECT id, json_extract(body, '{path}') AS at FROM objects WHERE {what}"  # noqa: S608  all of it is ours
        found += _rows(call, words, sql, type_name, clock)
    return sorted((one for one in found if one.at > call.now()), key=lambda one: (one.at, one.object_id))


def _rows(call: Call, words: str, sql: str, *values: object) -> list[Upcoming]:
    return [Upcoming(row["at"], words, row["id"]) for row in call.store.query(sql, values) if row["at"] is not None]
