"""What people chose to be told of, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from portal.accounts.models import Membership
from portal.core.authz import Role, may
from portal.core.clock import app_now
from portal.core.database import db
from portal.notifications.kinds import KINDS, Channel, Kind
from portal.notifications.models import NotificationPreference


@dataclass(frozen=True)
class Switch:
    """One way of telling one kind. `on` is None where the kind is never told that way."""

    channel: str
    on: bool | None


@dataclass(frozen=True)
class SwitchRow:
    """A kind on the page of switches. `fixed`: why none of them can be turned; `note`: what holds whatever is chosen."""

    name: str
    kind: Kind
    switches: list[Switch]
    fixed: str
    note: str


def choices_of(user_ids: Iterable[str], kind: str) -> dict[tuple[str, str], bool]:
    """What these people chose for a kind, by person and channel; nothing for those who left it as it was."""
    query = select(NotificationPreference).where(
        NotificationPreference.user_id.in_(list(user_ids)), NotificationPreference.kind == kind
    )
    return {(row.user_id, row.channel): row.wanted for row in db.session.execute(query).scalars()}


def switches_of(user_id: str) -> list[SwitchRow]:
    """Every kind with the person's switches, in the order of the page."""
    chosen = _all_choices(user_id)
    roles = list(db.session.execute(select(Membership.role).where(Membership.user_id == user_id)).scalars())
    return [_row(name, kind, chosen, roles) for name, kind in KINDS.items()]


def choose(user_id: str, wanted: dict[tuple[str, str], bool]) -> list[str]:
    """Save switches by kind and channel, as far as they can be turned; returns `kind:channel` of those that changed."""
    changed = []
    for row in switches_of(user_id):
        for switch in row.switches if not row.fixed else []:
            asked = wanted.get((row.name, switch.channel))
            if switch.on is not None and asked is not None and asked != switch.on:
                _save(user_id, row.name, switch.channel, wanted=asked)
                changed.append(f"{row.name}:{switch.channel}")
    return changed


def stop_mails(user_id: str, kind: str) -> bool:
    """No more mails of the kind; whether that was news."""
    return _save(user_id, kind, Channel.MAIL, wanted=False)


def _row(name: str, kind: Kind, chosen: dict[tuple[str, str], bool], roles: list[str]) -> SwitchRow:
    """An owner's own teams are always told what is fixed for owners; the switch is for the teams of others."""
    fixed, note = kind.fixed, ""
    if kind.fixed_for_owners and Role.OWNER in roles:
        assert kind.action is not None
        elsewhere = any(may(role, kind.action) for role in roles if role != Role.OWNER)
        fixed, note = (fixed, kind.fixed_for_owners) if elsewhere else (kind.fixed_for_owners, "")
    switches = [
        Switch(channel.value, told if fixed or told is None else chosen.get((name, channel), told))
        for channel in Channel
        for told in [kind.told_by(channel)]
    ]
    return SwitchRow(name, kind, switches, fixed, note)


def _all_choices(user_id: str) -> dict[tuple[str, str], bool]:
    query = select(NotificationPreference).where(NotificationPreference.user_id == user_id)
    return {(row.kind, row.channel): row.wanted for row in db.session.execute(query).scalars()}


def _save(user_id: str, kind: str, channel: str, *, wanted: bool) -> bool:
    """Whether this was not what had been saved before."""
    values = {"user_id": user_id, "kind": kind, "channel": channel, "wanted": wanted}
    saved = (
        insert(NotificationPreference)
        .values(values)
        .on_conflict_do_update(
            index_elements=["user_id", "kind", "channel"],
            set_={"wanted": wanted, "changed_at": app_now()},
            where=NotificationPreference.wanted != wanted,
        )
        .returning(NotificationPreference.kind)
    )
    return db.session.execute(saved).first() is not None
