"""API keys of a team: making, listing, revoking, and telling whose key a request carries.

A key belongs to the team, not to the person who made it: it goes on working when that person leaves.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Interval, cast, func, literal, or_, select, update
from sqlalchemy.orm import joinedload

from portal.accounts import audit
from portal.accounts.api_key_format import KeyText, new_key, read_key
from portal.accounts.models import ApiKey, Team, User
from portal.core.clock import APP_NOW, app_now
from portal.core.database import db
from portal.core.statements import Statement
from portal.core.tenancy import load_for
from portal.core.unit_of_work import read_alone

LIVE_KEYS_MAX = 50
LISTED_MAX = 2 * LIVE_KEYS_MAX
LAST_USED_EVERY = timedelta(minutes=1)

# What an unknown key is compared with, so that it takes the same steps as a known one. No digest is all zeros.
NO_DIGEST = "0" * 64

FIND_KEY = Statement(
    "select id, team_id, scopes, livemode, revoked_at, digest,"  # noqa: S608  all of it is ours
    " coalesce(expires_at <= clock.now, false) as expired,"
    " coalesce(last_used_at > clock.now - cast(:lately as interval), false) as used_lately"
    f" from api_keys cross join (select {APP_NOW} as now) clock where prefix = :prefix"
)

EXPIRED = func.coalesce(ApiKey.expires_at <= app_now(), False)


class Scope(StrEnum):
    BILLING_READ = "billing:read"
    ENTITLEMENTS_READ = "entitlements:read"
    USAGE_READ = "usage:read"
    USAGE_WRITE = "usage:write"
    CREDITS_READ = "credits:read"
    CHECKOUT_WRITE = "checkout:write"
    PORTAL_WRITE = "portal:write"


SCOPE_WORDS = {
    Scope.BILLING_READ: "read the plan and invoices",
    Scope.ENTITLEMENTS_READ: "ask what the plan allows",
    Scope.USAGE_READ: "read usage",
    Scope.USAGE_WRITE: "report usage",
    Scope.CREDITS_READ: "read credits",
    Scope.CHECKOUT_WRITE: "open checkout pages",
    Scope.PORTAL_WRITE: "open the customer portal",
}

# What the form offers first: all that a metering backend needs, and nothing that leads to a page where money moves.
USUAL_SCOPES = (
    Scope.BILLING_READ, Scope.ENTITLEMENTS_READ, Scope.USAGE_READ, Scope.USAGE_WRITE, Scope.CREDITS_READ,
)  # fmt: skip


class TooManyKeys(Exception):
    """The team has `LIVE_KEYS_MAX` keys in use already."""

    def __init__(self) -> None:
        super().__init__(f"The team has {LIVE_KEYS_MAX} keys in use, which is the most. Revoke one that is not needed.")


@dataclass(frozen=True)
class KeyRow:
    """A key as its page shows it."""

    id: str
    name: str
    prefix: str
    last4: str
    scopes_text: str
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    expired: bool
    revoked_at: datetime | None


@dataclass(frozen=True)
class KnownKey:
    """The key a request carries. It may be over, or of the other mode: whoever asked decides what to answer."""

    id: str
    team_id: str
    scopes: frozenset[str]
    livemode: bool
    revoked: bool
    expired: bool
    used_lately: bool


def create_key(
    team_id: str,
    creator: User,
    name: str,
    *,
    livemode: bool,
    scopes: Iterable[Scope] = USUAL_SCOPES,
    lasts: timedelta | None = None,
) -> KeyText:
    """Make a key and return it with its secret, which nobody can read again. Raises `TooManyKeys`.

    It ends after `lasts`, or never. The team's row is locked, so that two people cannot both make the last one.
    """
    db.session.execute(select(Team.id).where(Team.id == team_id).with_for_update(key_share=True))
    live = select(func.count()).where(ApiKey.team_id == team_id, ApiKey.revoked_at.is_(None), ~EXPIRED)
    if db.session.execute(live).scalar_one() >= LIVE_KEYS_MAX:
        raise TooManyKeys
    key = new_key(livemode=livemode)
    row = ApiKey(
        team_id=team_id,
        created_by_id=creator.id,
        name=name,
        prefix=key.prefix,
        last4=key.last4,
        digest=key.digest,
        scopes=[scope.value for scope in scopes],
        livemode=livemode,
        expires_at=None if lasts is None else app_now() + cast(literal(lasts), Interval),
    )
    db.session.add(row)
    db.session.flush()
    audit.record(
        audit.by_user(creator.id), "api_key.created", team_id=team_id, target=row.id, name=name, scopes=row.scopes
    )
    return key


def revoke_key(team_id: str, key_id: str, actor: audit.Actor = audit.SYSTEM) -> str:
    """Revoke a key for good and return its name; again is a no-op that keeps the first moment. 404 if not the team's."""
    key = load_for(team_id, ApiKey, key_id)
    revoked = db.session.execute(
        update(ApiKey)
        .where(ApiKey.id == key.id, ApiKey.team_id == team_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=app_now())
        .returning(ApiKey.id)
    )
    if revoked.one_or_none() is not None:
        audit.record(actor, "api_key.revoked", team_id=team_id, target=key.id, name=key.name)
    return key.name


def live_keys_by(team_id: str, user_id: str) -> list[str]:
    """The keys in use that this person has made for the team, and therefore knows."""
    mine = (ApiKey.team_id == team_id, ApiKey.created_by_id == user_id)
    query = select(ApiKey.id).where(*mine, ApiKey.revoked_at.is_(None), ~EXPIRED).order_by(ApiKey.id)
    return list(db.session.execute(query).scalars())


def keys_of(team_id: str) -> list[KeyRow]:
    """Keys in use, newest first, then those revoked last."""
    query = (
        select(ApiKey, EXPIRED)
        .where(ApiKey.team_id == team_id)
        .order_by(ApiKey.revoked_at.desc().nulls_first(), ApiKey.created_at.desc(), ApiKey.id.desc())
        .limit(LISTED_MAX)
        .options(joinedload(ApiKey.created_by))
        .execution_options(populate_existing=True)
    )
    return [_row(key, expired) for key, expired in db.session.execute(query)]


def find_key(text: str) -> KnownKey | None:
    """The key of which `text` is the secret; None when there is none. Read from the database on every call."""
    spelled = read_key(text)
    if spelled is None:
        return None
    rows = read_alone(FIND_KEY, prefix=spelled.prefix, lately=LAST_USED_EVERY)
    found = rows[0] if rows else None
    same = hmac.compare_digest(found.digest if found else NO_DIGEST, spelled.digest)
    if found is None or not same:
        return None
    return KnownKey(
        id=found.id,
        team_id=found.team_id,
        scopes=frozenset(found.scopes),
        livemode=found.livemode,
        revoked=found.revoked_at is not None,
        expired=found.expired,
        used_lately=found.used_lately,
    )


def note_use(key_id: str) -> None:
    """Remember that the key was used, at most once a minute; of many requests at once, one writes and none waits."""
    before = app_now() - cast(literal(LAST_USED_EVERY), Interval)
    due = (
        select(ApiKey.id)
        .where(ApiKey.id == key_id, or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= before))
        .with_for_update(skip_locked=True)
    )
    db.session.execute(
        update(ApiKey)
        .where(ApiKey.id == due.scalar_subquery())
        .values(last_used_at=app_now())
        .execution_options(synchronize_session=False)
    )


def _row(key: ApiKey, expired: bool) -> KeyRow:
    return KeyRow(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        last4=key.last4,
        scopes_text=_scopes_text(key.scopes),
        created_by=key.created_by.display_name,
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
        expired=expired,
        revoked_at=key.revoked_at,
    )


def _scopes_text(scopes: list[str]) -> str:
    words = [words for scope, words in SCOPE_WORDS.items() if scope in scopes]
    return ", ".join(words).capitalize()
