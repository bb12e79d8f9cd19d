"""What the credits page shows of holds: what is held for what, since when and until when, and nothing of what is over."""

from __future__ import annotations

import re
from datetime import timedelta

from portal.core import clock
from portal.core.unit_of_work import unit_of_work
from portal.credits import holds, ledger
from tests.cast import Cast


def held_part(cast: Cast) -> str | None:
    """The words of the card, with one space between them."""
    page = cast.owner.client.get(f"/teams/{cast.team_id}/credits").get_data(as_text=True)
    found = re.search(r'<section[^>]*id="holds".*?</section>', page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split()) if found else None


def give(cast: Cast, amount: int, cause: str, lasts: timedelta | None = None) -> None:
    with unit_of_work():
        ends = clock.now() + lasts if lasts else None
        ledger.grant(cast.team_id, kind="gift", amount=amount, cause_key=cause, source="A gift", expires_at=ends)


def test_what_is_held_is_shown_with_what_for_and_until_when(cast: Cast) -> None:
    give(cast, 100, "gift")
    assert held_part(cast) is None
    with unit_of_work():
        made = [
            holds.hold(cast.team_id, 15, "job:1", timedelta(hours=1), meter="generate_campaign", quantity=3),
            holds.hold(cast.team_id, 27, "job:2", timedelta(days=2)),
        ]
    shown = held_part(cast)
    assert shown is not None
    assert "42 held" in shown
    assert re.search(f"3 . Campaigns generated {made[0].id} .* 15 Work of your product {made[1].id} .* 27", shown)
    assert "expired beside" not in shown


def test_what_is_over_is_not_shown(cast: Cast) -> None:
    give(cast, 100, "gift")
    with unit_of_work():
        made = holds.hold(cast.team_id, 15, "job:1", timedelta(hours=1))
        holds.hold(cast.team_id, 20, "job:2", timedelta(hours=1))
        holds.release(cast.team_id, made.id)
    assert "20 held" in (held_part(cast) or "")
    with unit_of_work():
        clock.advance(timedelta(hours=1))
    assert held_part(cast) is None


def test_what_has_expired_beside_a_hold_is_explained(cast: Cast) -> None:
    give(cast, 100, "gift", timedelta(hours=1))
    with unit_of_work():
        holds.hold(cast.team_id, 15, "job:1", timedelta(days=1))
    with unit_of_work():
        clock.advance(timedelta(hours=2))
    assert "85 more have expired beside them and leave the balance when these end." in (held_part(cast) or "")
