"""To Stripe's customer portal and back: whose it is, what it is asked for, and what the way back says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from portal.accounts.models import AuditEntry
from portal.billing import portal_configuration
from portal.billing.gateway import Gateway, InvalidRequest, Unavailable
from portal.billing.models import Customer, PaymentMethod, PortalConfiguration, PortalVisit, Subscription
from portal.billing.portal_configuration import params_of, sync_portal_configuration
from portal.catalog.current import catalog
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast, Person
from tests.stage import Stage

Json = dict[str, Any]


class Sessions:
    """What Stripe is asked for, and a page in answer."""

    def __init__(self, stripe_url: str) -> None:
        self.asked: list[Json] = []
        self.address = f"{stripe_url}/p/session/live"
        self.trouble: Exception | None = None

    def create(self, params: Json, _idempotency_key: str) -> Json:
        self.asked.append(params)
        if self.trouble is not None:
            raise self.trouble
        return {"id": "bps_1", "url": self.address}


@pytest.fixture
def sessions(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    made = Sessions(stage.stripe_url)
    monkeypatch.setattr(Gateway, "create_portal_session", made.create)
    return made


def press(person: Person, team_id: str, **form: str) -> Any:
    return person.client.post(f"/teams/{team_id}/portal", data=form)


def subscribed(cast: Cast, stage: Stage) -> None:
    stage.subscribe(cast.owner, cast.team_id, "business")
    stage.deliver_all()


def customer_of(team_id: str) -> str:
    found = db.session.execute(select(Customer.stripe_id).where(Customer.team_id == team_id)).scalar_one()
    db.session.remove()
    assert found is not None
    return found


def visit_path(params: Json) -> str:
    address = str(params["flow_data"]["after_completion"]["redirect"]["return_url"])
    return "/teams/" + address.partition("/teams/")[2]


def test_the_whole_portal_opens_for_the_teams_customer(cast: Cast, stage: Stage, sessions: Sessions) -> None:
    subscribed(cast, stage)
    answer = press(cast.billing, cast.team_id)
    assert (answer.status_code, answer.location) == (303, sessions.address)
    base = stage.app.config["SETTINGS"].base_url
    assert sessions.asked == [
        {
            "customer": customer_of(cast.team_id),
            "return_url": f"{base}/teams/{cast.team_id}/billing?back=stripe",
        }
    ]
    entry = db.session.execute(select(AuditEntry).where(AuditEntry.action == "portal.opened")).scalar_one()
    assert (entry.actor_id, entry.team_id, entry.detail) == (cast.billing.user_id, cast.team_id, {"flow": None})


def test_s7_nobody_gets_a_session_for_another_teams_customer(cast: Cast, stage: Stage, sessions: Sessions) -> None:
    """Not by the address, nor by anything that a form can carry."""
    subscribed(cast, stage)
    stage.begin_checkout(cast.outsider, cast.other_team_id, "business")
    ours, theirs = customer_of(cast.team_id), customer_of(cast.other_team_id)
    assert press(cast.outsider, cast.team_id).status_code == 404
    assert press(cast.member, cast.team_id).status_code == 403
    assert sessions.asked == []
    tampered = {
        "customer": ours, "customer_id": ours, "team_id": cast.team_id, "subscription": "sub_1", "configuration": "bpc_1",
        "return_url": "https://evil.example", "flow_data[subscription_cancel][subscription]": "sub_1",
    }  # fmt: skip
    answer = cast.outsider.client.post(f"/teams/{cast.other_team_id}/portal", data=tampered)
    assert answer.status_code == 303
    (params,) = sessions.asked
    assert params["customer"] == theirs
    assert ours not in str(params)
    assert "evil" not in str(params)
    assert "sub_1" not in str(params)


@pytest.mark.parametrize(
    "address",
    [
        "https://billing.stripe.com@evil.example/p/session",
        "https://evil.example/p/session",
        "//evil.example",
        "javascript:alert(1)",
        "https://billing.stripe.com.evil.example/p",
        "http://billing.stripe.com/p",
    ],
)
def test_s43_browsers_are_sent_to_configured_hosted_pages_only(
    cast: Cast, stage: Stage, sessions: Sessions, address: str
) -> None:
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    sessions.address = address
    answer = press(cast.owner, cast.team_id)
    assert (answer.status_code, answer.location) == (502, None)
    assert "Nothing was charged and nothing has changed." in answer.get_data(as_text=True)


def test_s43_stripes_own_portal_is_such_a_page(cast: Cast, stage: Stage, sessions: Sessions) -> None:
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    sessions.address = "https://billing.stripe.com/p/session/1"
    assert press(cast.owner, cast.team_id).location == sessions.address


def test_cancelling_is_asked_for_the_teams_subscription_and_shown_once_the_mirror_has_it(
    cast: Cast, stage: Stage, sessions: Sessions
) -> None:
    subscribed(cast, stage)
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    db.session.remove()
    assert press(cast.owner, cast.team_id, flow="subscription_cancel").status_code == 303
    flow = sessions.asked[0]["flow_data"]
    assert flow["type"] == "subscription_cancel"
    assert flow["subscription_cancel"] == {"subscription": ours}
    path = visit_path(sessions.asked[0])
    assert "The plan is being canceled" in cast.owner.client.get(path).get_data(as_text=True)
    assert cast.owner.client.get(f"{path}/status?seen=waiting").status_code == 204

    stage.stripe("POST", f"/v1/subscriptions/{ours}", cancel_at_period_end="true")
    assert cast.owner.client.get(f"{path}/status?seen=waiting").status_code == 204, "the way back proves nothing"
    stage.deliver_all()
    done = cast.owner.client.get(f"{path}/status?seen=waiting").get_data(as_text=True)
    assert "Business ends on" in done
    overview = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "Ending" in overview
    assert "Resume plan" in overview
    assert "Cancel plan" not in overview

    again = press(cast.owner, cast.team_id, flow="subscription_cancel")
    assert again.status_code == 409
    assert "canceled already" in again.get_data(as_text=True)
    stage.stripe("POST", f"/v1/subscriptions/{ours}", cancel_at_period_end="false")
    stage.deliver_all()
    overview = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "Cancel plan" in overview
    assert "Resume plan" not in overview


def test_a_changed_card_is_shown_once_the_mirror_has_it(cast: Cast, stage: Stage, sessions: Sessions) -> None:
    subscribed(cast, stage)
    ours = db.session.execute(select(Subscription.stripe_id)).scalar_one()
    customer = customer_of(cast.team_id)
    press(cast.owner, cast.team_id, flow="payment_method_update")
    path = visit_path(sessions.asked[0])
    assert "The new card is on its way" in cast.owner.client.get(path).get_data(as_text=True)
    card = stage.stripe("POST", "/v1/payment_methods/pm_card_mastercard/attach", customer=customer)["id"]
    stage.deliver_all()
    assert cast.owner.client.get(f"{path}/status?seen=waiting").status_code == 204, "attached, and not yet what pays"
    stage.stripe("POST", f"/v1/subscriptions/{ours}", default_payment_method=card)
    stage.deliver_all()
    page = cast.owner.client.get(path).get_data(as_text=True)
    assert "Mastercard ending in" in page
    assert "pays from the next invoice on" in page


def test_who_waits_for_long_is_told_what_that_may_mean(cast: Cast, stage: Stage, sessions: Sessions) -> None:
    subscribed(cast, stage)
    press(cast.owner, cast.team_id, flow="subscription_cancel")
    path = visit_path(sessions.asked[0])
    stage.advance(timedelta(minutes=2))
    page = cast.owner.client.get(f"{path}/status?seen=waiting").get_data(as_text=True)
    assert "Stripe has not told us of a change" in page
    assert "If you did not, nothing has changed." in page


@pytest.mark.parametrize(
    ("flow", "status", "words"),
    [
        ("subscription_cancel", 409, "no plan to cancel"),
        ("subscription_update", 422, "cannot use"),
        ("x" * 300, 422, ""),
    ],
)
def test_what_cannot_be_done_is_said_in_words(
    cast: Cast, stage: Stage, sessions: Sessions, flow: str, status: int, words: str
) -> None:
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    answer = press(cast.owner, cast.team_id, flow=flow)
    assert answer.status_code == status
    assert words in answer.get_data(as_text=True)
    assert sessions.asked == []


def test_a_team_that_stripe_does_not_know_gets_words(cast: Cast, sessions: Sessions) -> None:
    answer = press(cast.owner, cast.team_id)
    assert answer.status_code == 409
    assert "There is nothing to manage yet" in answer.get_data(as_text=True)
    assert sessions.asked == []
    overview = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    assert "Manage at Stripe" not in overview


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Unavailable("no answer"), "Stripe cannot be reached right now"),
        (InvalidRequest("no configuration"), "Stripe did not open its page"),
    ],
)
def test_when_stripe_does_not_open_it_the_page_says_so(
    cast: Cast, stage: Stage, sessions: Sessions, trouble: Exception, words: str
) -> None:
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    sessions.trouble = trouble
    answer = press(cast.owner, cast.team_id)
    assert answer.status_code == 502
    page = answer.get_data(as_text=True)
    assert words in page
    assert "Nothing was charged and nothing has changed." in page
    assert db.session.execute(select(AuditEntry).where(AuditEntry.action == "portal.opened")).first() is None


def test_the_buttons_are_for_those_who_may(cast: Cast, stage: Stage) -> None:
    subscribed(cast, stage)
    for role, person in cast.by_role().items():
        page = person.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
        for words in ("Manage at Stripe", "Cancel plan", "Update card"):
            assert (words in page) == (role != "member"), (role, words)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("past_due", ("Past due", "New plan credits come once the open invoice is paid.", "Update card")),
        ("unpaid", ("Unpaid", "Stripe has stopped trying.", "Update card")),
        ("paused", ("Business is paused", "Let the plan go on", "credits are frozen")),
    ],
)
def test_each_state_says_what_it_means_and_the_way_out(
    cast: Cast, stage: Stage, status: str, words: tuple[str, ...]
) -> None:
    subscribed(cast, stage)
    with unit_of_work() as session:
        session.execute(update(Subscription).values(status=status))
    page = cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)
    for each in words:
        assert each in page


def test_after_a_visit_the_overview_looks_again_a_few_times(cast: Cast, stage: Stage) -> None:
    page = cast.owner.client.get(f"/teams/{cast.team_id}/billing?back=stripe").get_data(as_text=True)
    assert "left=7" in page
    for left in ("0", "-1", "99", "x", "1000", "²"):
        page = cast.owner.client.get(f"/teams/{cast.team_id}/billing?back=stripe&left={left}").get_data(as_text=True)
        assert ('id="back-from-stripe"' in page) == (left != "0"), left
    assert 'id="back-from-stripe"' not in cast.owner.client.get(f"/teams/{cast.team_id}/billing").get_data(as_text=True)


def test_opening_it_again_and_again_is_slowed_down(cast: Cast, stage: Stage, sessions: Sessions) -> None:
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    statuses = [press(cast.owner, cast.team_id).status_code for _ in range(11)]
    assert statuses == [303] * 10 + [429]


# --- what the portal offers


class Configurations:
    """Stripe's list of configurations."""

    def __init__(self) -> None:
        self.held: dict[str, Json] = {}
        self.calls: list[str] = []

    def portal_configurations(self) -> list[Json]:
        return [{"id": key, **params} for key, params in self.held.items()]

    def create_portal_configuration(self, params: Json, idempotency_key: str) -> Json:
        assert idempotency_key
        self.calls.append("create")
        key = f"bpc_{len(self.held) + 1}"
        self.held[key] = params
        return {"id": key, **params}

    def update_portal_configuration(self, configuration_id: str, params: Json, idempotency_key: str) -> Json:
        assert idempotency_key
        self.calls.append("update")
        self.held[configuration_id] = params
        return {"id": configuration_id, **params}


def sync(stripe: Configurations) -> str | None:
    done = sync_portal_configuration(stripe, catalog(), "https://billing.example.com")
    db.session.remove()
    return done


def stored() -> str:
    found = db.session.execute(select(PortalConfiguration.stripe_id)).scalar_one()
    db.session.remove()
    return found


def test_one_configuration_is_made_and_then_left_alone(stage: Stage) -> None:
    stripe = Configurations()
    stripe.held["bpc_default"] = {"metadata": {}}
    assert [sync(stripe), sync(stripe)] == ["made", None]
    assert stripe.calls == ["create"]
    assert stored() == "bpc_2"
    features = stripe.held["bpc_2"]["features"]
    assert features["subscription_cancel"]["mode"] == "at_period_end"
    assert "too_expensive" in features["subscription_cancel"]["cancellation_reason"]["options"]
    assert features["subscription_update"] == {"enabled": False}
    assert features["customer_update"]["allowed_updates"] == ["name", "address", "tax_id"]


def test_a_changed_catalog_updates_it_and_a_lost_row_finds_it_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stripe = Configurations()
    sync(stripe)
    with monkeypatch.context() as patch:
        changed = params_of(catalog(), "https://billing.example.com") | {
            "default_return_url": "https://b.example/teams"
        }
        patch.setattr(portal_configuration, "params_of", lambda *_args: changed)
        assert sync(stripe) == "updated"
    with unit_of_work() as session:
        session.execute(text("delete from portal_configurations"))
    assert sync(stripe) == "updated"
    assert len(stripe.held) == 1
    assert stored() == "bpc_1"


def test_an_emptied_account_gets_a_new_one(stage: Stage) -> None:
    stripe = Configurations()
    sync(stripe)
    stripe.held = {"bpc_other": {"metadata": {"source": "another product"}}}
    assert sync(stripe) == "made"
    assert stored() == "bpc_2"


def test_a_session_uses_the_configuration(cast: Cast, stage: Stage, sessions: Sessions) -> None:
    sync(Configurations())
    stage.begin_checkout(cast.owner, cast.team_id, "business")
    press(cast.owner, cast.team_id, flow="payment_method_update")
    assert sessions.asked[0]["configuration"] == "bpc_1"
    visit = db.session.execute(select(PortalVisit)).scalar_one()
    assert (visit.team_id, visit.user_id, visit.flow) == (cast.team_id, cast.owner.user_id, "payment_method_update")
    assert db.session.execute(select(PaymentMethod)).first() is None
