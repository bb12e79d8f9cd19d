"""Trials are given once: to a person, a mailbox, a card and a team.

Who has had one is written down when the mirror hears of a subscription with a trial, and looked up before the next
checkout promises another. Two things are known only after the promise: the number of a new card, and that one person
had two pages open at once. Such a second trial runs to its end and raises an alarm for staff, though Stripe would let
us end it at once (`trial_end=now`): the buyer agreed on a page that says when the first payment is due, a card is
also shared by honest colleagues, and a charge before that day is one that banks give back. (Nor would it be granted:
the invoice of such an end is no renewal.) Of several trials the one that began first counts, in whatever order we
hear of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from portal.billing.models import Subscription, TrialUse
from portal.billing.trial_identities import Identity, cards_of, digests_of, identities_of, people_of
from portal.core.alarms import Alarm, raise_alarm
from portal.core.database import db

ALARM = "second_trial"


def trial_used(team_id: str, user_id: str | None) -> bool:
    """Whether the team, an owner, the person who buys or a card of the team has had a trial, in whichever team."""
    asked = identities_of(team_id, user_id) | cards_of(team_id)
    return db.session.execute(select(TrialUse.kind).where(_about(asked)).limit(1)).first() is not None


def record_trial(subscription: Subscription, buyer_id: str | None) -> None:
    """Write down, in the current unit, whose trial this is; a no-op for a subscription without one.

    The subscription was written in this unit. As long as the trial runs, whoever comes to own the team counts too;
    afterwards nobody new does.
    """
    if subscription.trial_start is None or subscription.duplicate:
        return
    identities = cards_of(subscription.team_id)
    if subscription.status == "trialing" or not _is_settled(subscription.stripe_id):
        identities |= people_of(subscription.team_id, buyer_id)
    _write(identities, (subscription.trial_start, subscription.stripe_id))


def record_cards(team_id: str) -> None:
    """Write down, in the current unit, that the cards of a team have had the trials which the team has had.

    Also those that came later: they are the same people's, and which card a trial began with is not known for good.
    """
    columns = select(Subscription.trial_start, Subscription.stripe_id)
    mine = (Subscription.team_id == team_id) & Subscription.duplicate.is_(False)
    for began, stripe_id in db.session.execute(columns.where(mine)).all():
        if began is not None:
            _write(cards_of(team_id), (began, stripe_id))


def _write(identities: set[Identity], mine: tuple[datetime, str]) -> None:
    if not identities:
        return
    values = {"used_at": mine[0], "subscription_stripe_id": mine[1]}
    # In one order for everybody, so that two who write of the same people wait for each other and no longer.
    rows = [{"kind": kind, "digest": digest, **values} for kind, digest in sorted(map(_kept, identities))]
    db.session.execute(insert(TrialUse).values(rows).on_conflict_do_nothing())
    _settle(identities, mine)


def _kept(identity: Identity) -> tuple[str, str]:
    return identity.kind, digests_of(identity)[0]


def _about(identities: Iterable[Identity]) -> ColumnElement[bool]:
    keys = [(identity.kind, digest) for identity in identities for digest in digests_of(identity)]
    return tuple_(TrialUse.kind, TrialUse.digest).in_(keys)


def _settle(identities: set[Identity], mine: tuple[datetime, str]) -> None:
    """Leave each identity with the trial that began first, `mine` or another, and raise the alarm for the others."""
    query = select(TrialUse).where(_about(identities)).order_by(TrialUse.kind, TrialUse.digest).with_for_update()
    found = db.session.execute(query, execution_options={"populate_existing": True}).scalars()
    uses = {(use.kind, use.digest): use for use in found}
    later: dict[str, set[str]] = {}
    for identity in identities:
        rows = [uses[key] for digest in digests_of(identity) if (key := (identity.kind, digest)) in uses]
        trials = {mine, *((use.used_at, use.subscription_stripe_id) for use in rows)}
        first = min(trials)
        for use in rows:
            use.used_at, use.subscription_stripe_id = first
        for _, stripe_id in trials - {first}:
            later.setdefault(stripe_id, set()).add(identity.kind)
    db.session.flush()
    for stripe_id, kinds in sorted(later.items()):
        _warn(stripe_id, kinds)


def _warn(stripe_id: str, kinds: set[str]) -> None:
    """Once for a subscription, also after somebody has looked at it."""
    if not _is_warned_of(stripe_id):
        team_id = db.session.execute(select(Subscription.team_id).where(Subscription.stripe_id == stripe_id)).scalar()
        raise_alarm(ALARM, stripe_id, team_id=team_id, known_by=sorted(kinds))


def _is_settled(stripe_id: str) -> bool:
    written = select(TrialUse.kind).where(TrialUse.subscription_stripe_id == stripe_id).limit(1)
    return db.session.execute(written).first() is not None or _is_warned_of(stripe_id)


def _is_warned_of(stripe_id: str) -> bool:
    query = select(Alarm.id).where(Alarm.kind == ALARM, Alarm.subject == stripe_id).limit(1)
    return db.session.execute(query).first() is not None
