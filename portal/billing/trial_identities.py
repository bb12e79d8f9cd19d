"""Whose trial it is: the people, mailboxes, cards and the team that stand behind a checkout or a subscription."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from flask import current_app
from sqlalchemy import or_, select

from portal.accounts.models import Membership, Team, User
from portal.billing.models import PaymentMethod
from portal.core.authz import Role
from portal.core.database import db
from portal.core.derived_keys import derived_keys

PURPOSE = "trial uses"
# Where dots in the name are not looked at: Google's two names for the same mailboxes.
DOTLESS_DOMAINS = ("gmail.com", "googlemail.com")


@dataclass(frozen=True, order=True)
class Identity:
    """`kind` is one of `models.TRIAL_IDENTITIES`."""

    kind: str
    value: str


def people_of(team_id: str, user_id: str | None) -> set[Identity]:
    """The team itself, its owners, and the person `user_id` who buys for it; each has proven their address."""
    found = {Identity("team", team_id)}
    for person_id, email in _people(team_id, user_id):
        found |= {Identity("user", person_id), Identity("email", mailbox_of(email))}
    return found


def identities_of(team_id: str, user_id: str | None) -> set[Identity]:
    """The same, and the team's billing e-mail. Nobody has proven that one: it can tell that somebody has had a trial, and
    must not use up the trial of whoever it belongs to.
    """
    found = people_of(team_id, user_id)
    billing_email = db.session.execute(select(Team.billing_email).where(Team.id == team_id)).scalar()
    if billing_email:
        found.add(Identity("email", mailbox_of(billing_email)))
    return found


def cards_of(team_id: str) -> set[Identity]:
    """The team's cards, former ones too. Two payment methods that are the same card at Stripe are one."""
    mine = (PaymentMethod.team_id == team_id) & PaymentMethod.fingerprint.is_not(None)
    query = select(PaymentMethod.fingerprint).where(mine)
    return {Identity("card", str(fingerprint)) for fingerprint in db.session.execute(query).scalars()}


def _people(team_id: str, user_id: str | None) -> list[tuple[str, str]]:
    owners = select(Membership.user_id).where(Membership.team_id == team_id, Membership.role == Role.OWNER.value)
    query = select(User.id, User.email).where(or_(User.id.in_(owners), User.id == user_id))
    return [(row.id, row.email) for row in db.session.execute(query)]


def mailbox_of(email: str) -> str:
    """One spelling for all the addresses that lead to the same mailbox, as far as that is sure enough.

    Lower case; what follows a `+` in the name is a tag; Google does not look at dots and has two domains. Nothing else
    is guessed: two people must not be taken for one.
    """
    name, at, domain = email.strip().lower().rpartition("@")
    if not at:
        return domain
    name = name.partition("+")[0] or name
    if domain in DOTLESS_DOMAINS:
        name, domain = name.replace(".", "") or name, DOTLESS_DOMAINS[0]
    return f"{name}@{domain}"


def digests_of(identity: Identity) -> list[str]:
    """What is kept of an identity: made with the current key, then with each former one, under which it may stand."""
    return [_digest(key, identity) for key in derived_keys(current_app.config["SETTINGS"], PURPOSE)]


def _digest(key: bytes, identity: Identity) -> str:
    return hmac.new(key, f"{identity.kind}:{identity.value}".encode(), "sha256").hexdigest()
