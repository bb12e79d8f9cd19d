"""Events that Stripe's deliveries lose, repeat, delay, mix up or tell in other words: the portal ends up the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import select

from portal.billing.models import Checkout
from portal.core.database import db
from portal.credits.models import CreditEntry
from portal.sandbox.chaos.rules import EVENT_FAULTS
from portal.sandbox.older_versions import OLDER_VERSIONS
from portal.webhooks.models import StripeEvent
from tests.cast import Cast
from tests.lifecycle.test_chaos_checkout import assert_paid_once
from tests.live import serving
from tests.purchases import nothing_waits
from tests.stage import API_KEY, Stage
from tests.trouble import struck, trouble
from tests.worker_process import until

BUNDLE_CREDITS = 1_000
# Stripe tries eight times here, so this is for good.
FOR_GOOD = 1000


@dataclass
class Post:
    """The stand-in sends to the running portal itself, as Stripe does."""

    stage: Stage
    endpoint: str

    def arrived(self) -> None:
        """Wait until every delivery was taken or given up, and apply what came."""
        until(lambda: self.control("GET", "/_sandbox/deliveries")["pending"] == 0, "every delivery is settled")
        self.stage.drain()

    def resend_all(self) -> None:
        for event in self.stage.new_events():
            self.control("POST", f"/_sandbox/events/{event['id']}/resend")
        self.arrived()

    def roll_secret(self, overlap_seconds: int) -> str:
        path = f"/_sandbox/webhook_endpoints/{self.endpoint}/roll_secret"
        return str(self.control("POST", path, overlap_seconds=overlap_seconds)["secret"])

    def tell(self) -> None:
        """Let something happen of which there is one event."""
        self.stage.stripe("POST", "/v1/products", name="Pro")
        self.arrived()

    def control(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        answer = requests.request(method, self.stage.stripe_url + path, json=body, headers=headers, timeout=20)
        answer.raise_for_status()
        return dict(answer.json())


@pytest.fixture
def post(app: Flask, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    with serving(app) as address:
        asked = {"url": f"{address}/webhooks/stripe", "enabled_events[]": "*"}
        endpoint = stage.stripe("POST", "/v1/webhook_endpoints", **asked)
        settings = replace(app.config["SETTINGS"], stripe_webhook_secrets=(endpoint["secret"],))
        monkeypatch.setitem(app.config, "SETTINGS", settings)
        try:
            yield Post(stage, endpoint["id"])
        finally:
            stage.stripe("DELETE", f"/v1/webhook_endpoints/{endpoint['id']}")


def disturbed(fault: str, **more: Any) -> dict[str, Any]:
    return {"place": "events", "fault": fault, **more}


# Each fault on every event, and some of them twice over.
FAULTS: dict[str, list[dict[str, Any]]] = {
    "duplicate": [disturbed("duplicate", count=2)],
    "delay": [disturbed("delay", milliseconds=40)],
    "reorder": [disturbed("reorder", milliseconds=150)],
    "drop": [disturbed("drop", count=3)],
    **{f"old_version {version}": [disturbed("old_version", api_version=version)] for version in OLDER_VERSIONS},
    "thin": [disturbed("thin")],
    "all": [disturbed(fault, chance=40, milliseconds=60, count=2) for fault in EVENT_FAULTS if fault != "old_version"],
}


def test_the_table_names_every_fault() -> None:
    assert {name.split(" ")[0] for name in FAULTS} == {*EVENT_FAULTS, "all"}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_befalls_the_events_the_portal_ends_up_the_same(
    cast: Cast, stage: Stage, post: Post, fault: str
) -> None:
    with trouble(stage, *FAULTS[fault], seed=5):
        buy(cast, stage, post)
        assert struck(stage) >= 5
    assert_all_is_there(cast, stage)


def buy(cast: Cast, stage: Stage, post: Post) -> None:
    """A plan, and with it a bundle."""
    stage.subscribe(cast.owner, cast.team_id, "business")
    post.arrived()
    stage.buy_bundle(cast.owner, cast.team_id)
    post.arrived()


def assert_all_is_there(cast: Cast, stage: Stage) -> None:
    assert nothing_waits()
    bundles = select(CreditEntry.amount).where(CreditEntry.cause_key.like("bundle:%"))
    assert db.session.execute(bundles).scalars().all() == [BUNDLE_CREDITS]
    pages = db.session.execute(select(Checkout)).scalars().all()
    assert {(page.purpose, page.state) for page in pages} == {("plan", "complete"), ("bundle", "complete")}
    assert_paid_once(cast, stage, *(page.amount_total or 0 for page in pages if page.purpose == "bundle"))


LOST = ("checkout.session.completed", "customer.*", "invoice.*", "payment_intent.*", "payment_method.*", "charge.*")


@pytest.mark.parametrize("lost", LOST)
def test_one_kind_of_event_that_is_lost_for_good_is_made_up_for_by_the_others(
    cast: Cast, stage: Stage, post: Post, lost: str
) -> None:
    with trouble(stage, disturbed("drop", match=lost, count=FOR_GOOD)):
        buy(cast, stage, post)
        assert struck(stage) >= 1
    assert_all_is_there(cast, stage)


def test_events_lost_for_good_and_sent_again_by_hand(cast: Cast, stage: Stage, post: Post) -> None:
    with trouble(stage, disturbed("drop", count=FOR_GOOD)):
        checkout = stage.subscribe(cast.owner, cast.team_id, "business")
        post.arrived()
    page = cast.owner.client.get(f"/teams/{cast.team_id}/checkout/{checkout}").get_data(as_text=True)
    assert "on its way" in page
    assert db.session.execute(select(StripeEvent)).first() is None
    post.resend_all()
    assert_paid_once(cast, stage)


def test_while_a_secret_is_rolled_the_portal_takes_events_with_either(
    app: Flask, cast: Cast, stage: Stage, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of a careful operator: roll at Stripe, add the new secret here, take the old one away in the end."""
    old = app.config["SETTINGS"].stripe_webhook_secrets
    rolled = post.roll_secret(overlap_seconds=3600)
    steps = {"old alone": old, "both": (*old, rolled), "new alone": (rolled,)}
    taken = []
    for secrets in steps.values():
        monkeypatch.setitem(app.config, "SETTINGS", replace(app.config["SETTINGS"], stripe_webhook_secrets=secrets))
        post.tell()
        taken.append(len(db.session.execute(select(StripeEvent.id)).all()))
        db.session.rollback()
    assert taken == [1, 2, 3]
    stage.advance(timedelta(hours=2))
    monkeypatch.setitem(app.config, "SETTINGS", replace(app.config["SETTINGS"], stripe_webhook_secrets=old))
    post.tell()
    assert len(db.session.execute(select(StripeEvent.id)).all()) == 3, "the old secret is over"
