"""What a team may do: by the state of its subscription, the catalog's table, and the staff's exceptions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import astuple
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask, g, render_template_string
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from werkzeug.exceptions import Forbidden

from portal.accounts.access import find_membership
from portal.accounts.models import AuditEntry, User
from portal.billing import entitlements
from portal.billing.entitlement_overrides import override, revoke
from portal.billing.entitlements import Entitlements, effective, has_feature, limit_of
from portal.billing.feature_guard import FeatureMissing, ReadingOnly, requires_feature, team_has
from portal.billing.models import PlanHistory, RightsVersion, Subscription
from portal.catalog.definition import ACCESS, ACCESS_DEFAULT
from portal.catalog.models import Plan, PlanAccess, PlanFeature
from portal.core import clock
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast

STATUSES = tuple(ACCESS_DEFAULT)
PLANS = ("starter", "pro", "business")


def subscribe(team_id: str, plan: str | None = "business", status: str = "active", **values: Any) -> str:
    """A subscription as the mirror has it; returns its id."""
    now = clock.now()
    row = {
        "id": new_id("subn"), "stripe_id": new_id("sub"), "gen": 1, "synced_at": now, "team_id": team_id,
        "status": status, "plan_key": plan, "interval": "month", "currency": "usd", "started_at": now,
    }  # fmt: skip
    with unit_of_work() as session:
        session.add(Subscription(**(row | values)))
    return str(row["id"])


def change(subscription_id: str, **values: Any) -> None:
    with unit_of_work() as session:
        session.execute(update(Subscription).where(Subscription.id == subscription_id).values(**values))


def except_for(team_id: str, feature: str, **values: Any) -> None:
    given: dict[str, Any] = {"enabled": True, "reason": "asked for"} | values
    with unit_of_work():
        override(team_id, feature, **given)


@pytest.fixture
def access(app: Flask) -> Iterator[dict[tuple[str, str], str]]:
    """The table of access, as a test changes it; put back afterwards, since catalog rows outlive a test."""
    before = {(row.plan_id, row.status): row.access for row in db.session.execute(select(PlanAccess)).scalars()}
    yield before
    db.session.rollback()
    with unit_of_work():
        for (plan_id, status), value in before.items():
            _set_access(plan_id, status, value)


def _set_access(plan_id: str, status: str, value: str) -> None:
    db.session.execute(
        update(PlanAccess).where(PlanAccess.plan_id == plan_id, PlanAccess.status == status).values(access=value)
    )


def set_access(plan: str, status: str, value: str) -> None:
    with unit_of_work() as session:
        plan_id = session.execute(select(Plan.id).where(Plan.key == plan)).scalar_one()
        _set_access(plan_id, status, value)


@pytest.mark.parametrize(("status", "access_word"), list(itertools.product(STATUSES, ACCESS)))
def test_the_matrix_of_states_decides_what_is_left_of_a_plan(
    cast: Cast, access: dict[tuple[str, str], str], status: str, access_word: str
) -> None:
    for plan in PLANS:
        set_access(plan, status, access_word)
    ended = {"ended_at": clock.now()} if status == "canceled" else {}
    subscription = subscribe(cast.team_id, "business", status, **ended)
    for plan in PLANS:
        change(subscription, plan_key=plan)
        found = effective(cast.team_id)
        left = access_word != "none"
        assert found.plan is not None
        assert (found.plan.key, found.access) == ((plan, access_word) if left else ("free", "full"))
        assert found.status == (None if status == "canceled" else status)
        wanted = {feature.key: (feature.enabled, feature.limit) for feature in found.features}
        assert wanted == given_by(plan if left else "free")


def given_by(plan: str) -> dict[str, tuple[bool, int | None]]:
    query = text(
        "select f.key, coalesce(pf.enabled, false), pf.limit_value from features f cross join plans p"
        " left join plan_features pf on pf.plan_id = p.id and pf.feature_id = f.id"
        " where p.key = :plan and f.archived_at is null"
    )
    return {key: (enabled, limit) for key, enabled, limit in db.session.execute(query, {"plan": plan})}


def test_by_default_a_plan_lasts_while_it_is_tried_paid_or_collected(app: Flask) -> None:
    query = select(Plan.kind, PlanAccess).join(Plan, Plan.id == PlanAccess.plan_id)
    rows = db.session.execute(query.where(Plan.archived_at.is_(None))).all()
    assert {row.kind for row in rows} == {"paid", "custom"}
    found = {(row.status, row.access, row.seats_kept, row.credits_frozen) for _, row in rows}
    assert found == {(status, *astuple(rights)) for status, rights in ACCESS_DEFAULT.items()}


def test_a_live_subscription_counts_before_one_that_has_ended(cast: Cast, access: dict[tuple[str, str], str]) -> None:
    set_access("business", "canceled", "read_only")
    subscribe(cast.team_id, "business", "canceled", ended_at=clock.now())
    assert effective(cast.team_id).access == "read_only"
    live = subscribe(cast.team_id, "pro")
    assert plan_of(cast) == "pro"
    change(live, status="canceled", ended_at=clock.now() + timedelta(seconds=1))
    assert plan_of(cast) == "free", "the plan that ended last says what is left, not an older one"


def plan_of(cast: Cast) -> str | None:
    plan = effective(cast.team_id).plan
    return plan.key if plan else None


def test_incomplete_duplicate_and_unknown_subscriptions_give_nothing(cast: Cast) -> None:
    for values in ({"status": "incomplete"}, {"status": "incomplete_expired"}, {"duplicate": True}, {"plan": None}):
        subscribe(cast.team_id, **values)
        assert plan_of(cast) == "free"


def test_an_exception_gives_takes_and_counts_beside_the_plan(cast: Cast) -> None:
    assert (has_feature(cast.team_id, "roles"), limit_of(cast.team_id, "usage_history")) == (False, 30)
    except_for(cast.team_id, "roles")
    except_for(cast.team_id, "usage_history", limit=90)
    assert (has_feature(cast.team_id, "roles"), limit_of(cast.team_id, "usage_history")) == (True, 90)
    except_for(cast.team_id, "usage_history")
    assert limit_of(cast.team_id, "usage_history") is None
    except_for(cast.team_id, "usage_history", enabled=False)
    assert limit_of(cast.team_id, "usage_history") == 0
    with unit_of_work():
        assert revoke(cast.team_id, "usage_history")
        assert not revoke(cast.team_id, "usage_history")
    assert limit_of(cast.team_id, "usage_history") == 30
    assert effective(cast.other_team_id).feature("roles") != effective(cast.team_id).feature("roles")
    actions = db.session.execute(
        select(AuditEntry.action).where(AuditEntry.action.startswith("entitlement."))
    ).scalars()
    assert sorted(actions) == 4 * ["entitlement.overridden"] + ["entitlement.override_revoked"]


def test_an_exception_ends_by_the_clock_and_the_kept_rights_with_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = clock.now() + timedelta(days=3)
    except_for(cast.team_id, "roles", ends_at=end)
    assert has_feature(cast.team_id, "roles")
    move_clock(timedelta(days=2, hours=23))
    assert has_feature(cast.team_id, "roles")
    move_clock(timedelta(days=3, seconds=1))
    assert not has_feature(cast.team_id, "roles")


def move_clock(ahead: timedelta) -> None:
    with unit_of_work() as session:
        session.execute(text("delete from clock_offset"))
        session.execute(text("insert into clock_offset (one_row, ahead_by) values (true, :ahead)"), {"ahead": ahead})


def test_rights_are_kept_until_something_they_are_made_of_changes(
    cast: Cast, access: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = entitlements._read

    def counted(team_id: str) -> Entitlements:
        reads.append(team_id)
        return read(team_id)

    monkeypatch.setattr(entitlements, "_read", counted)

    def read_anew() -> int:
        """How often the database was asked for two looks."""
        reads.clear()
        effective(cast.team_id)
        effective(cast.team_id)
        return len(reads)

    assert (read_anew(), read_anew()) == (1, 0)
    subscription = subscribe(cast.team_id, "business")
    assert (read_anew(), read_anew()) == (1, 0)
    change(subscription, gen=2)
    assert read_anew() == 0, "nothing that the rights are made of has changed"
    for values in ({"plan_key": "pro"}, {"status": "past_due"}, {"duplicate": True}):
        change(subscription, **values)
        assert read_anew() == 1
    except_for(cast.team_id, "roles")
    assert read_anew() == 1
    except_for(cast.other_team_id, "roles")
    assert read_anew() == 0
    set_access("pro", "past_due", "none")
    assert read_anew() == 1


def test_what_a_unit_has_not_committed_is_never_kept(cast: Cast) -> None:
    assert plan_of(cast) == "free"
    with pytest.raises(ZeroDivisionError):
        subscribe_look_and_fail(cast)
    subscribe(cast.team_id, "starter")  # counts to the same number as the unit that failed
    assert plan_of(cast) == "starter"


def subscribe_look_and_fail(cast: Cast) -> None:
    with unit_of_work() as session:
        now = clock.now()
        session.add(
            Subscription(
                id=new_id("subn"), stripe_id=new_id("sub"), gen=1, synced_at=now, team_id=cast.team_id,
                status="active", plan_key="business", currency="usd", started_at=now,
            )
        )  # fmt: skip
        session.flush()
        assert plan_of(cast) == "business"
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["override", "TEAM", "nonsense", "--reason", "x"], "the catalog has no feature nonsense"),
        (["override", "team_none", "roles", "--reason", "x"], "there is no team team_none"),
        (["override", "TEAM", "roles", "--limit", "3", "--reason", "x"], "not a limit"),
        (["override", "TEAM", "usage_history", "--limit", "-3", "--reason", "x"], "less than 0"),
        (["override", "TEAM", "usage_history", "--off", "--limit", "3", "--reason", "x"], "not a limit"),
        (["override", "TEAM", "roles", "--until", "2020-01-01", "--reason", "x"], "the end has to lie in the future"),
        (["override", "TEAM", "roles", "--reason", "  "], "the reason is missing"),
        (["override", "TEAM", "roles"], "--reason"),
        (["revoke", "TEAM", "roles"], "has no exception"),
        (["show", "team_none"], "There is no team"),
    ],
)
def test_an_exception_that_cannot_be_made_says_why_and_changes_nothing(
    app: Flask, cast: Cast, arguments: list[str], says: str
) -> None:
    result = run(app, cast, *arguments)
    assert result.exit_code != 0
    assert says in result.output
    assert "Traceback" not in result.output
    assert db.session.execute(text("select count(*) from entitlement_overrides")).scalar_one() == 0


def run(app: Flask, cast: Cast, *arguments: str) -> Any:
    db.session.remove()
    words = [cast.team_id if word == "TEAM" else word for word in arguments]
    return app.test_cli_runner().invoke(args=["entitlements", *words])


def test_the_command_makes_shows_and_ends_an_exception(app: Flask, cast: Cast) -> None:
    words = ["override", "TEAM", "usage_history", "--limit", "90", "--until", "2099-12-31", "--reason", "A pilot"]
    assert run(app, cast, *words).exit_code == 0
    shown = run(app, cast, "show", "TEAM").output
    assert "plan free, access full" in shown
    line = next(line for line in shown.splitlines() if line.startswith("usage_history"))
    assert line.split() == ["usage_history", "90", "days", "override", "until", "2099-12-31", "00:00", "UTC"]
    assert run(app, cast, "revoke", "TEAM", "usage_history").exit_code == 0
    assert limit_of(cast.team_id, "usage_history") == 30


def test_the_guard_of_a_route(app: Flask, cast: Cast, access: dict[tuple[str, str], str]) -> None:
    @requires_feature("roles")
    def view() -> str:
        return "done"

    def ask(method: str) -> str | type[Exception]:
        with app.test_request_context("/", method=method):
            app.preprocess_request()
            user = db.session.get(User, cast.owner.user_id)
            assert user is not None
            g.membership = find_membership(user, cast.team_id)
            answer = _answer(view)
            assert team_has("roles") is (answer != FeatureMissing)
            return answer

    assert ask("GET") == ask("POST") == FeatureMissing
    subscription = subscribe(cast.team_id, "business")
    assert ask("GET") == ask("POST") == "done"
    set_access("business", "unpaid", "read_only")
    change(subscription, status="unpaid")
    assert (ask("GET"), ask("POST")) == ("done", ReadingOnly)


def _answer(view: Any) -> str | type[Exception]:
    try:
        return str(view())
    except Forbidden as error:
        return type(error)


def test_a_template_knows_what_the_team_has_and_shows_nothing_without_one(app: Flask) -> None:
    with app.test_request_context("/"):
        assert render_template_string("{% if has_feature('roles') %}yes{% else %}no{% endif %}") == "no"


def test_the_plans_of_a_team_are_kept_as_history(cast: Cast) -> None:
    subscription = subscribe(cast.team_id, "pro", "trialing")
    change(subscription, gen=2)
    change(subscription, status="active")
    change(subscription, plan_key="business")
    change(subscription, status="canceled", ended_at=clock.now())
    rows = db.session.execute(select(PlanHistory).order_by(PlanHistory.id)).scalars().all()
    assert [(row.plan_key, row.status) for row in rows] == [
        ("pro", "trialing"), ("pro", "active"), ("business", "active"), ("business", "canceled"),
    ]  # fmt: skip
    for statement in ("update plan_history set plan_key = 'free'", "delete from plan_history"):
        with pytest.raises(DBAPIError):
            db.session.execute(text(statement))
        db.session.rollback()


def test_the_database_holds_one_exception_for_a_team_and_feature(cast: Cast) -> None:
    except_for(cast.team_id, "roles")
    copy = text(
        "insert into entitlement_overrides (id, team_id, feature_id, enabled, reason)"
        " select 'ovr_2', team_id, feature_id, enabled, reason from entitlement_overrides"
    )
    with pytest.raises(IntegrityError):
        db.session.execute(copy)
    db.session.rollback()
    assert db.session.execute(select(RightsVersion.version).where(RightsVersion.scope == cast.team_id)).scalar() == 1


def test_a_changed_catalog_changes_the_rights_of_everybody(cast: Cast) -> None:
    assert limit_of(cast.team_id, "usage_history") == 30
    kept = db.session.execute(select(PlanFeature).where(PlanFeature.limit_value == 30)).scalars().one()
    ids = {"plan_id": kept.plan_id, "feature_id": kept.feature_id}
    db.session.rollback()
    try:
        set_limit(ids, 45)
        assert limit_of(cast.team_id, "usage_history") == 45
    finally:
        set_limit(ids, 30)


def set_limit(ids: dict[str, str], limit: int) -> None:
    with unit_of_work() as session:
        session.execute(update(PlanFeature).filter_by(**ids).values(limit_value=limit))


def test_moments_are_aware(cast: Cast) -> None:
    except_for(cast.team_id, "roles", ends_at=clock.now() + timedelta(days=1))
    feature = effective(cast.team_id).feature("roles")
    assert feature is not None
    assert isinstance(feature.ends_at, datetime)
    assert feature.ends_at.tzinfo is not None
