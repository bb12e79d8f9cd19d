"""Uses in tests: put into the books as they were, at any time, for any key and member; and pages as words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from portal.accounts.api_keys import create_key
from portal.accounts.models import ApiKey, User
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.usage.metering import Use, record
from tests.cast import Cast, Person


def give(team_id: str, amount: int, cause: str = "gift:test") -> None:
    with unit_of_work():
        ledger.grant(team_id, kind="gift", amount=amount, cause_key=cause, source="A gift")


def use(
    team_id: str,
    meter: str,
    quantity: int,
    *,
    ago: timedelta | None = None,
    api_key_id: str | None = None,
    user_id: str | None = None,
    key: str | None = None,
) -> str:
    """Report a use of now, or of `ago`, as the API does; returns its key."""
    key = key or new_id("req")
    with unit_of_work():
        at = clock.now() - ago if ago is not None else None
        record(Use(team_id, key, meter, quantity, api_key_id, user_id, at), lambda recorded: recorded.id)
    return key


def midnight(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def make_key(cast: Cast, name: str) -> str:
    """A key of the team's; its id."""
    with unit_of_work() as session:
        key = create_key(cast.team_id, session.get_one(User, cast.owner.user_id), name, livemode=False)
        found = session.query(ApiKey).filter(ApiKey.prefix == key.prefix).one()
        key_id = found.id
    db.session.remove()
    return key_id


def words(person: Person, address: str, status: int = 200, **headers: str) -> str:
    """A page without its tags, with plain minus signs."""
    answer = person.client.get(address, headers=headers)
    assert answer.status_code == status, answer.get_data(as_text=True)[:2000]
    return plain(answer.get_data(as_text=True))


def plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split()).replace("\u2212", "-")
