"""A trial is given once: to a person, a mailbox, a card and a team. Whoever has had one is told so before they pay."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from portal.accounts.models import Membership, Team, User
from portal.billing.models import Checkout, PaymentMethod, Subscription, TrialUse
from portal.billing.trial_identities import Identity, digests_of
from portal.billing.trial_uses import record_trial, trial_used
from portal.catalog.pricing_page import TRIAL_USED
from portal.core import clock
from portal.core.alarms import Alarm, resolve
from portal.core.authz import Role
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.unit_of_work import unit_of_work
from portal.notifications.models import OutboxItem
from tests.cast import Cast, Person, make_team_of, make_user, signed_in
from tests.purchases import violations
from tests.stage import VISA, Stage

OTHER_CARD = "5555555555554444"
# Stripe tells time in seconds: of two trials in the same one, the first is known by its id alone.
A_MOMENT = timedelta(seconds=5)


def newest(team_id: str) -> Subscription:
    query = select(Subscription).where(Subscription.team_id == team_id).order_by(Subscription.started_at.desc())
    found = db.session.execute(query).scalars().first()
    assert found is not None
    return found


def asked_of_stripe(team_id: str) -> dict[str, Any]:
    query = select(Checkout.params).where(Checkout.team_id == team_id).order_by(Checkout.created_at.desc())
    return dict(db.session.execute(query.limit(1)).scalar_one())


def try_pro(stage: Stage, person: Person, team_id: str, card: str = VISA) -> str:
    """A trial of Pro, applied; returns the subscription's id at Stripe."""
    stage.subscribe(person, team_id, "pro", card=card)
    stage.deliver_all()
    found = newest(team_id).stripe_id
    db.session.remove()
    return found


def uses() -> dict[str, set[str]]:
    """Of which subscriptions the rows speak, by kind."""
    found: dict[str, set[str]] = {}
    for kind, stripe_id in db.session.execute(select(TrialUse.kind, TrialUse.subscription_stripe_id)):
        found.setdefault(kind, set()).add(stripe_id)
    return found


def alarms() -> list[tuple[str, list[str]]]:
    """Subject and how it was known, of the alarms about trials."""
    query = select(Alarm.subject, Alarm.detail).where(Alarm.kind == "second_trial").order_by(Alarm.id)
    return [(subject, detail["known_by"]) for subject, detail in db.session.execute(query)]


def newcomer(stage: Stage, email: str | None = None) -> tuple[Person, str]:
    with unit_of_work():
        user = make_user(email)
        team_id = make_team_of(user, "Fernway").id
    return Person(user.id, user.email, signed_in(stage.app, user)), team_id


def test_a_team_that_comes_back_pays_from_the_first_day_and_knows_it(cast: Cast, stage: Stage) -> None:
    ours = try_pro(stage, cast.owner, cast.team_id)
    assert uses() == {kind: {ours} for kind in ("user", "email", "card", "team")}
    stage.stripe("DELETE", f"/v1/subscriptions/{ours}")
    stage.deliver_all()
    stage.advance(A_MOMENT)

    for person in (cast.owner, cast.billing):
        page = person.client.get(f"/pricing?team={cast.team_id}").get_data(as_text=True)
        assert TRIAL_USED in page
        assert "14 days free" not in page
    address = stage.begin_checkout(cast.billing, cast.team_id, "pro")
    assert "trial_period_days" not in asked_of_stripe(cast.team_id)["subscription_data"]
    assert TRIAL_USED in stage.pay(address, "4000000000000002").text  # on Stripe's page, a declined card first
    assert stage.pay(address).status_code == 303
    stage.deliver_all()

    mine = newest(cast.team_id)
    assert (mine.status, mine.trial_start, mine.trial_end) == ("active", None, None)
    billing = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "Your trial of" not in billing
    assert "Trial ends" not in billing
    ends = {"id": "evt_ends", "object": "event", "type": "customer.subscription.trial_will_end", "livemode": False}
    stage.deliver(ends | {"created": 1_790_000_000, "data": {"object": {"id": mine.stripe_id}}})
    stage.drain()
    messages = [payload["message"] for payload in db.session.execute(select(OutboxItem.payload)).scalars()]
    assert "trial_will_end" not in messages
    assert alarms() == []
    assert violations() == []


Change = Callable[[Cast, User, str], None]


def _owner(cast: Cast, _: User, team_id: str) -> None:
    db.session.add(Membership(user_id=cast.owner.user_id, team_id=team_id, role=Role.OWNER))


def _member(cast: Cast, _: User, team_id: str) -> None:
    db.session.add(Membership(user_id=cast.owner.user_id, team_id=team_id, role=Role.MEMBER))


def _email(value: str) -> Change:
    def change(_: Cast, user: User, __: str) -> None:
        user.email = value

    return change


def _billing_email(value: str) -> Change:
    def change(_: Cast, __: User, team_id: str) -> None:
        db.session.execute(update(Team).where(Team.id == team_id).values(billing_email=value))

    return change


@pytest.mark.parametrize(
    ("change", "used"),
    [
        (lambda *_: None, False),
        (_owner, True),
        (_member, False),  # who only works there takes nothing from the others
        (_email("Owner+2@Example.com"), True),
        (_email("owners@example.com"), False),
        (_billing_email("OWNER+invoices@example.com"), True),
        (_billing_email("bills@fernway.example"), False),
        (_email("h.arbor+x@googlemail.com"), False),  # where the first team has its invoices sent, without being asked
    ],
)
def test_whose_trial_it_was(cast: Cast, stage: Stage, change: Change, used: bool) -> None:
    with unit_of_work():
        db.session.execute(update(Team).where(Team.id == cast.team_id).values(billing_email="Harbor@gmail.com"))
    try_pro(stage, cast.admin, cast.team_id)
    person, team_id = newcomer(stage)
    with unit_of_work() as session:
        change(cast, session.get_one(User, person.user_id), team_id)
    assert trial_used(team_id, person.user_id) == used
    # Whoever bought has had it too, wherever they buy next; who only sees the team has not.
    assert [trial_used(team_id, one.user_id) for one in (cast.admin, cast.member)] == [True, used]


def test_a_key_of_the_team_buys_as_the_team(cast: Cast, stage: Stage) -> None:
    assert not trial_used(cast.team_id, None)
    try_pro(stage, cast.owner, cast.team_id)
    assert trial_used(cast.team_id, None)
    assert not trial_used(cast.other_team_id, None)


def test_a_plan_without_a_trial_uses_none(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()
    assert uses() == {}
    assert not trial_used(cast.team_id, cast.owner.user_id)


def test_a_card_that_had_a_trial_elsewhere_keeps_the_promise_and_is_told_of_once(cast: Cast, stage: Stage) -> None:
    first = try_pro(stage, cast.owner, cast.team_id)
    stage.advance(A_MOMENT)
    second = try_pro(stage, cast.outsider, cast.other_team_id)
    mine = newest(cast.other_team_id)
    assert mine.status == "trialing"
    page = cast.outsider.client.get(f"/teams/{cast.other_team_id}/billing").get_data(as_text=True)
    assert "Nothing is charged before." in page
    assert alarms() == [(second, ["card"])]
    assert uses()["card"] == {first}

    with unit_of_work():
        resolve(db.session.execute(select(Alarm.id)).scalar_one(), "A card of the whole house.")
    stage.advance(timedelta(days=15))
    stage.deliver_all()
    assert newest(cast.other_team_id).status == "active"
    assert alarms() == [(second, ["card"])]


def test_a_card_that_the_team_has_already_is_known_before(cast: Cast, stage: Stage) -> None:
    """A new card shows at the payment; one that paid for a plan before stands in the mirror."""
    stage.subscribe(cast.outsider, cast.other_team_id, "business")
    stage.deliver_all()
    assert not trial_used(cast.other_team_id, cast.outsider.user_id)
    stage.stripe("DELETE", f"/v1/subscriptions/{newest(cast.other_team_id).stripe_id}")
    stage.deliver_all()
    try_pro(stage, cast.owner, cast.team_id)
    assert trial_used(cast.other_team_id, cast.outsider.user_id)


def test_a_card_that_came_later_is_a_card_of_those_who_had_the_trial(cast: Cast, stage: Stage) -> None:
    ours = try_pro(stage, cast.owner, cast.team_id)
    customer = stage.stripe("GET", f"/v1/subscriptions/{ours}")["customer"]
    stage.stripe("POST", "/v1/payment_methods/pm_card_mastercard/attach", customer=customer)
    stage.deliver_all()
    stage.advance(A_MOMENT)
    second = try_pro(stage, cast.outsider, cast.other_team_id, OTHER_CARD)
    assert alarms() == [(second, ["card"])]


def test_of_two_pages_that_were_open_at_once_the_first_trial_counts_in_any_order(cast: Cast, stage: Stage) -> None:
    """Nobody had a trial when the pages were made. Both keep what was promised, and the later one is told of."""
    with unit_of_work() as session:
        session.add(Membership(user_id=cast.owner.user_id, team_id=cast.other_team_id, role=Role.OWNER))
    pages = [stage.begin_checkout(cast.owner, team_id, "pro") for team_id in (cast.team_id, cast.other_team_id)]
    assert stage.pay(pages[0]).status_code == 303
    stage.advance(A_MOMENT)
    assert stage.pay(pages[1], OTHER_CARD).status_code == 303
    events = [event for event in stage.new_events() if event["type"] == "customer.subscription.created"]
    assert len(events) == 2
    first, second = (event["data"]["object"]["id"] for event in events)

    results = []
    for order in itertools.permutations(events):
        _forget()
        for event in order:
            stage.deliver(event)
            stage.drain()
        results.append((_rows(), alarms()))
    rows, told = results[0]
    assert results[1] == results[0]
    assert told == [(second, ["email", "user"])]
    assert {stripe_id for kind, _, stripe_id in rows if kind in ("user", "email")} >= {first}
    assert {newest(team_id).status for team_id in (cast.team_id, cast.other_team_id)} == {"trialing"}

    _forget()
    for event in events:
        stage.deliver(event)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: _drain(stage), range(2)))
    assert (_rows(), alarms()) == results[0]


def _forget() -> None:
    _empty("trial_uses", "subscription_items", "subscriptions", "stripe_events", "alarms")


def _empty(*tables: str) -> None:
    for table in tables:
        db.session.execute(text(f"delete from {table}"))  # noqa: S608  our own names
    db.session.commit()
    db.session.remove()


def _drain(stage: Stage) -> None:
    with stage.app.app_context():
        stage.drain()


def _rows() -> list[tuple[str, str, str]]:
    query = select(TrialUse.kind, TrialUse.digest, TrialUse.subscription_stripe_id)
    return sorted((kind, digest, stripe_id) for kind, digest, stripe_id in db.session.execute(query))


def test_any_number_of_trials_with_one_card_comes_to_the_same_in_any_order(cast: Cast, stage: Stage) -> None:
    """The alarms name all but the first that began; the rows name the first, also when it is heard of last."""
    teams = [team_id for _, team_id in (newcomer(stage) for _ in range(3))]
    with unit_of_work() as session:
        for number, team_id in enumerate(teams):
            session.add(a_trial(team_id, number))
            session.add(a_card(team_id, number))
    first, *later = (f"sub_{number}" for number in range(3))
    for order in itertools.permutations([first, *later]):
        _empty("trial_uses", "alarms")
        for stripe_id in [*order, order[0]]:
            with unit_of_work() as session:
                query = select(Subscription).where(Subscription.stripe_id == stripe_id)
                record_trial(session.execute(query).scalar_one(), None)
        assert uses()["card"] == {first}
        assert uses()["team"] == {first, *later}
        assert sorted(alarms()) == [(stripe_id, ["card"]) for stripe_id in later]


def a_trial(team_id: str, number: int) -> Subscription:
    began = clock.now() + timedelta(minutes=number)
    return Subscription(
        id=new_id("subn"), stripe_id=f"sub_{number}", gen=1, synced_at=began, team_id=team_id, status="trialing",
        plan_key="pro", currency="usd", started_at=began, trial_start=began, trial_end=began + timedelta(days=14),
        default_payment_method=f"pm_{number}",
    )  # fmt: skip


def a_card(team_id: str, number: int) -> PaymentMethod:
    return PaymentMethod(
        id=new_id("pm"), stripe_id=f"pm_{number}", gen=1, synced_at=clock.now(), team_id=team_id, type="card",
        fingerprint="the same card",
    )  # fmt: skip


def test_a_rotated_key_forgets_nobody(cast: Cast, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = stage.app.config["SETTINGS"]
    first = try_pro(stage, cast.owner, cast.team_id)
    rotated = replace(settings, secret_key="n" * 64, secret_key_fallbacks=(settings.secret_key,))
    monkeypatch.setitem(stage.app.config, "SETTINGS", rotated)
    assert trial_used(cast.other_team_id, cast.owner.user_id)
    # Whoever is met again is written down under the new key, as the one they are.
    stage.deliver(_again(stage, first))
    stage.drain()
    monkeypatch.setitem(stage.app.config, "SETTINGS", replace(rotated, secret_key_fallbacks=()))
    assert trial_used(cast.other_team_id, cast.owner.user_id)
    assert alarms() == []


def _again(stage: Stage, stripe_id: str) -> dict[str, Any]:
    created = next(
        event
        for event in stage.stripe("GET", "/v1/events", limit=100, type="customer.subscription.created")["data"]
        if event["data"]["object"]["id"] == stripe_id
    )
    return {**created, "id": created["id"] + "again"}


def test_nothing_that_is_kept_tells_who_it_was(cast: Cast, stage: Stage) -> None:
    try_pro(stage, cast.owner, cast.team_id)
    kept = " ".join(str(tuple(row)) for row in db.session.execute(select(TrialUse.kind, TrialUse.digest)))
    assert "example.com" not in kept
    assert cast.owner.user_id not in kept
    assert digests_of(Identity("user", cast.owner.user_id))[0] in kept
