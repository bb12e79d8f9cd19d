"""Reading the credits: the key's own team's, as the next spend will find them."""

from __future__ import annotations

from datetime import timedelta

from portal.core import clock
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from tests.web.api.backend import Backend


def test_what_is_left_and_where_it_comes_from(backend: Backend) -> None:
    backend.use(quantity=30)
    found = backend.credits()
    assert {name: found[name] for name in ("object", "available", "reserved", "debt", "livemode")} == {
        "object": "credits",
        "available": 70,
        "reserved": 0,
        "debt": 0,
        "livemode": False,
    }
    (grant,) = found["grants"]
    assert (grant["kind"], grant["source"], grant["amount"], grant["remaining"]) == ("bundle", "A bundle", 100, 70)
    assert grant["expires_at"] is None


def test_grants_stand_in_the_order_they_are_spent(backend: Backend) -> None:
    with backend.app.app_context(), unit_of_work():
        expires_at = clock.now() + timedelta(days=3)
        ledger.grant(backend.team_id, kind="gift", amount=5, cause_key="gift:1", source="A gift", expires_at=expires_at)
    assert [grant["source"] for grant in backend.credits()["grants"]] == ["A gift", "A bundle"]


def test_what_has_expired_is_gone(backend: Backend) -> None:
    with backend.app.app_context(), unit_of_work():
        expires_at = clock.now() + timedelta(days=1)
        ledger.grant(backend.team_id, kind="gift", amount=5, cause_key="gift:1", source="A gift", expires_at=expires_at)
        clock.advance(timedelta(days=2))
    found = backend.credits()
    assert found["available"] == 100
    assert [grant["source"] for grant in found["grants"]] == ["A bundle"]


def test_a_team_sees_its_own(backend: Backend, other_backend: Backend) -> None:
    assert backend.credits()["available"] == 100
    found = other_backend.credits()
    assert (found["available"], found["grants"]) == (0, [])
