"""The one place that tells people something: a mail in the outbox, an entry in the inbox, or both, in the current unit.

By the kind of the news and by what each person chose (`kinds.py`, `preferences.py`). A fact is told to a person once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import current_app
from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.dialects.postgresql import insert

from portal.accounts.billing_contacts import billing_contacts
from portal.accounts.models import Membership, User
from portal.core.authz import Role, may
from portal.core.database import db
from portal.core.ids import new_id
from portal.notifications.kinds import KINDS, Channel, Kind, kind_of, severity_of
from portal.notifications.messages import Message, Recipient
from portal.notifications.models import Notification
from portal.notifications.outbox import is_put, put_mail
from portal.notifications.preferences import choices_of
from portal.notifications.unsubscribing import unsubscribe_address


@dataclass(frozen=True)
class Note:
    """News for the inbox alone; `message` is its name in `KINDS`."""

    message: str
    title: str
    words: str
    link: str


@dataclass(frozen=True)
class _Member:
    """Somebody of a team. `key` stands for them in the keys of mails, as `billing_contacts` has it."""

    key: str
    user_id: str
    email: str
    role: str


def notify_team(team_id: str, fact: str, message: Callable[[str], Message]) -> None:
    """Tell a team: by mail its billing contacts, in the inbox whoever may see it there. `message` is made for an address."""
    sample = message("")
    name = kind_of(sample.name)
    kind, members = KINDS[name], _members_of(team_id)
    chosen = choices_of([member.user_id for member in members], name)
    by_address = {member.email.lower(): member for member in members}
    for key, address in _mailed(team_id, kind, members).items():
        member = by_address.get(address.lower())
        if is_put(f"{fact}:{key}") or not _wants(kind, member, Channel.MAIL, chosen):
            continue
        stops = member is not None and _may_choose(kind, member)
        page = unsubscribe_address(member.user_id, name) if member is not None and stops else None
        put_mail(message(Recipient(address, page)), f"{fact}:{key}")
    for member in members:
        if kind.action and may(member.role, kind.action) and _wants(kind, member, Channel.INBOX, chosen):
            _put_entry(User.id == member.user_id, _note_of(sample), fact, team_id)


def notify_person(
    user_id: str, message: Message, fact: str | None = None, *, link: str | None = None, in_inbox: bool = True
) -> None:
    """Tell somebody of what is their own, which nobody can switch off. `link` is the inbox's, if it is another one."""
    put_mail(message, fact)
    if in_inbox:
        note = _note_of(message, link)
        _put_entry(User.id == user_id, note, fact or new_id("fact"))


def notify_address(message: Message, fact: str, *, link: str) -> None:
    """Mail somebody who need not have an account; whoever has one finds it in the inbox too, with `link`.

    The same statements either way, so that nobody can tell which it was by the time this takes.
    """
    put_mail(message)
    with_account = (func.lower(User.email) == message.recipient.lower()) & User.confirmed_at.is_not(None)
    _put_entry(with_account, _note_of(message, link), fact)


def notify_in_app(user_id: str, note: Note, fact: str, team_id: str) -> None:
    """Tell one member of a team in the inbox alone, unless they switched that off."""
    name = kind_of(note.message)
    if choices_of([user_id], name).get((user_id, Channel.INBOX), KINDS[name].inbox):
        _put_entry(User.id == user_id, note, fact, team_id)


def _members_of(team_id: str) -> list[_Member]:
    query = select(Membership.id, User.id, User.email, Membership.role).join(User, User.id == Membership.user_id)
    of_team = query.where(Membership.team_id == team_id, User.active.is_(True)).order_by(Membership.id)
    return [_Member(*row) for row in db.session.execute(of_team)]


def _mailed(team_id: str, kind: Kind, members: list[_Member]) -> dict[str, str]:
    """The addresses a team's mail goes to, by their keys: the billing contacts, and the owners where they must hear it."""
    found = billing_contacts(team_id)
    if kind.fixed_for_owners:
        known = {address.lower() for address in found.values()}
        owners = (member for member in members if member.role == Role.OWNER and member.email.lower() not in known)
        found |= {owner.key: owner.email for owner in owners}
    return found


def _wants(kind: Kind, member: _Member | None, channel: Channel, chosen: dict[tuple[str, str], bool]) -> bool:
    """An address that is no member's has no switches: whoever manages the team decides which address that is."""
    if member is None or not _may_choose(kind, member):
        return bool(kind.told_by(channel))
    return bool(chosen.get((member.user_id, channel), kind.told_by(channel)))


def _may_choose(kind: Kind, member: _Member) -> bool:
    return not kind.fixed and not (kind.fixed_for_owners and member.role == Role.OWNER)


def _note_of(message: Message, link: str | None = None) -> Note:
    return Note(message.name, message.subject, message.words, link or message.link)


def _put_entry(whose: ColumnElement[bool], note: Note, fact: str, team_id: str | None = None) -> None:
    """An entry for the active person `whose` names, if there is one; nothing when they were told already."""
    values: dict[str, str | None] = {
        "id": new_id("note"),
        "team_id": team_id,
        "kind": kind_of(note.message),
        "fact": fact,
        "severity": severity_of(note.message).value,
        "title": note.title,
        "words": note.words,
        # As a path, so that it leads here under whatever name the portal is reached later.
        "link": note.link.removeprefix(current_app.config["SETTINGS"].base_url),
    }
    row = select(User.id, *(literal(value, Notification.__table__.c[name].type) for name, value in values.items()))
    db.session.execute(
        insert(Notification)
        .from_select(["user_id", *values], row.where(whose, User.active.is_(True)))
        .on_conflict_do_nothing(index_elements=["user_id", "fact"])
    )
