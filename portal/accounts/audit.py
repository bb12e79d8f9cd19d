"""The audit trail: who did what to whom, saved in the unit of work that did it, and never changed.

Actions are named `<noun>.<what happened>` (`api_key.created`, `member.role_changed`). `detail` holds ids, states and
amounts before and after; never a secret, an address of a person or a card's number, since an entry cannot be erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import has_request_context, request

from portal.accounts.models import AuditEntry
from portal.core.database import db
from portal.core.logging import request_id

USER_AGENT_CHARACTERS_MAX = 200


@dataclass(frozen=True)
class Actor:
    """Whoever acted: `kind` is user, key or system; `id` is the person's or the key's."""

    kind: str
    id: str | None = None


SYSTEM = Actor("system")


def by_user(user_id: str) -> Actor:
    return Actor("user", user_id)


def by_key(key_id: str) -> Actor:
    return Actor("key", key_id)


def record(actor: Actor, action: str, *, team_id: str | None = None, target: str | None = None, **detail: Any) -> None:
    """Add an entry to the current unit of work. Without `team_id` it is about the person alone.

    Within a request the caller's address, browser and the request's id are noted with it.
    """
    db.session.add(
        AuditEntry(
            team_id=team_id,
            actor_kind=actor.kind,
            actor_id=actor.id,
            action=action,
            target=target,
            detail=detail,
            **_circumstances(),
        )
    )


def _circumstances() -> dict[str, str | None]:
    if not has_request_context():
        return {}
    return {"ip": request.remote_addr, "user_agent": user_agent(), "request_id": request_id()}


def user_agent() -> str:
    """What the caller's browser calls itself: printable, short, and nothing to be believed."""
    agent = request.user_agent.string.encode("ascii", "replace").decode()
    return "".join(letter for letter in agent if letter.isprintable())[:USER_AGENT_CHARACTERS_MAX]
