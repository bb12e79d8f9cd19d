"""Every state of a subscription by everything a customer can do: done or refused in words, and our rows are Stripe's objects.

What is refused leaves everything as it was, so that the next action of the row is tried on the same team.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from portal.billing.gateway import gateway
from portal.billing.jobs import drain_changes
from portal.billing.portal_configuration import sync_portal_configuration
from portal.catalog.current import catalog
from portal.core.database import db
from portal.core.jobs import ROUND
from portal.webhooks.apply import drain as apply_events
from tests import switches
from tests.plan_changes import Changer
from tests.purchases import make_buyer, rows_of, violations
from tests.stage import Stage

FAILS = "pm_card_chargeCustomerFail"
DONE = "done"

# What a customer can do. Those of the second table lead to a page of Stripe's and change nothing by themselves.
ACTIONS: dict[str, Callable[[Changer], TestResponse]] = {
    "larger plan": lambda changer: changer.ask("business"),
    "smaller plan": lambda changer: changer.ask("starter"),
    "other interval": lambda changer: changer.ask("pro", "year"),
    "more seats": lambda changer: changer.ask_seats(12),
    "fewer seats": lambda changer: changer.ask_seats(9),
    "undo what is planned": lambda changer: changer.post("plan/planned/removal"),
    "cancel": lambda changer: changer.ask_to_leave("cancel"),
    "cancel now": lambda changer: changer.ask_to_leave("cancel_now"),
    "resume": lambda changer: changer.ask_to_leave("resume"),
    "pause": lambda changer: changer.ask_to_leave("pause"),
    "unpause": lambda changer: changer.ask_to_leave("unpause"),
}
PAGES: dict[str, Callable[[Changer], TestResponse]] = {
    "buy a bundle": lambda changer: changer.post("checkout", bundle="credits_1000"),
    "update the card": lambda changer: changer.post("portal", flow="payment_method_update"),
    "start a checkout": lambda changer: changer.post("checkout", plan="pro", interval="month"),
    "manage at Stripe": lambda changer: changer.post("portal"),
}
CHANGES = ("larger plan", "smaller plan", "other interval", "more seats", "fewer seats", "undo what is planned")

SAME, NONE_PLANNED = "Nothing would change", "No change is planned any more"
NOT_ENDING, NOT_PAUSED = "The plan is not about to end", "The plan is not paused"
ENDING, OWED, PAUSED = "The plan is about to end", "An invoice has to be paid first", "The plan is paused"
NO_PLAN, HAS_PLAN, NO_BUNDLES = "The team has no plan", "The team already has a plan", "The team's plan has no bundles"
ONLY_NOW = "This plan can only end at once"
ALL_DONE = dict.fromkeys(CHANGES, DONE) | {"fewer seats": SAME, "undo what is planned": NONE_PLANNED}
LIVE = {"resume": NOT_ENDING, "unpause": NOT_PAUSED, "buy a bundle": DONE, "start a checkout": HAS_PLAN}
NOTHING_LIVE = dict.fromkeys(ACTIONS, NO_PLAN) | {"buy a bundle": NO_BUNDLES, "start a checkout": DONE}


def refused_changes(words: str) -> dict[str, str]:
    return dict.fromkeys(CHANGES, words)


# Each state with what becomes of each action in it. Of the pages those of Stripe's portal always open.
TABLE: dict[str, dict[str, str]] = {
    "trialing": LIVE | ALL_DONE | {"cancel": DONE, "cancel now": DONE, "pause": "A trial cannot be paused"},
    "active": LIVE | ALL_DONE | {"cancel": DONE, "cancel now": DONE, "pause": DONE},
    "active, a change planned": LIVE
    | ALL_DONE
    | {"cancel": DONE, "cancel now": "A change of plan is planned", "pause": DONE, "undo what is planned": DONE}
    | {"more seats": "The plan that is to come has fewer seats"},
    "active, ending": LIVE
    | refused_changes(ENDING)
    | {"cancel": "The plan is canceled already", "cancel now": DONE, "resume": DONE, "pause": ENDING},
    "past_due": LIVE | refused_changes(OWED) | {"cancel": DONE, "cancel now": DONE, "pause": OWED},
    "unpaid": LIVE
    | refused_changes(OWED)
    | {"cancel": ONLY_NOW, "cancel now": DONE, "pause": OWED, "buy a bundle": NO_BUNDLES},
    "paused": LIVE
    | refused_changes(PAUSED)
    | {"cancel": ONLY_NOW, "cancel now": DONE, "pause": "The plan is paused already", "unpause": DONE}
    | {"buy a bundle": NO_BUNDLES},
    "canceled": NOTHING_LIVE,
    "incomplete": NOTHING_LIVE,
}
# The state that an action which was done leaves behind, where it is another one.
AFTERWARDS = {"cancel now": "canceled", "pause": "paused", "unpause": "active"}


class TerseStage(Stage):
    """It delivers the newest event of each subscription and invoice, which brings all that the others would bring, and its
    worker leaves mails and the schedule for another day.
    """

    def deliver_all(self) -> list[dict[str, Any]]:
        newest = {event["data"]["object"]["id"]: event for event in self.new_events()}
        for event in newest.values():
            if event["data"]["object"]["object"] in ("subscription", "invoice"):
                assert self.deliver(event) == 200
        self.drain()
        return []

    def drain(self) -> int:
        total = 0
        while done := apply_events(ROUND) + drain_changes():
            total += done
        db.session.remove()
        return total


@pytest.fixture
def terse(app: Flask, stripe_url: str) -> Stage:
    return TerseStage(app, stripe_url)


@dataclass
class Scene:
    app: Flask
    stage: Stage
    teams: int = 0

    def team_in(self, state: str) -> Changer:
        """A new team with a subscription in a state."""
        self.teams += 1
        person, team_id = make_buyer(self.app, f"Team {self.teams}")
        changer = Changer(self.stage, person, team_id)
        if state == "incomplete":
            self._never_paid(changer)
        else:
            self.stage.subscribe(person, team_id, "pro")
            self.stage.deliver_all()
            BRING[state](changer)
        self.stage.deliver_all()
        assert changer.mirrored().status == state.split(",", maxsplit=1)[0]
        changer.assert_mirrored()
        return changer

    def _never_paid(self, changer: Changer) -> None:
        """Made by the staff with a card that was refused: our checkout never leaves one behind."""
        self.stage.begin_checkout(changer.person, changer.team_id, "pro")
        customer = self.stage.stripe("GET", "/v1/customers", limit=1)["data"][0]["id"]
        price = self.stage.stripe("GET", "/v1/prices", **{"lookup_keys[]": "turnpike_plan_pro_month"})["data"][0]["id"]
        card = self.stage.stripe("POST", f"/v1/payment_methods/{FAILS}/attach", customer=customer)["id"]
        made = {"items[0][price]": price, "default_payment_method": card, "payment_behavior": "allow_incomplete"}
        self.stage.stripe("POST", "/v1/subscriptions", customer=customer, **made)


def set_subscription(changer: Changer, **values: str) -> None:
    changer.stage.stripe("POST", f"/v1/subscriptions/{changer.mirrored().stripe_id}", **values)
    changer.stage.deliver_all()


def leave_it(_changer: Changer) -> None:
    """As it was bought."""


def activate(changer: Changer) -> None:
    set_subscription(changer, trial_end="now")


def plan_a_change(changer: Changer) -> None:
    activate(changer)
    changer.change("starter", "year")


def let_it_end(changer: Changer) -> None:
    activate(changer)
    changer.leave("cancel")


def fall_behind(changer: Changer) -> None:
    activate(changer)
    changer.switch_card(FAILS)
    set_subscription(changer, **{"billing_cycle_anchor[type]": "now", "proration_behavior": "none"})


def give_up(changer: Changer) -> None:
    with changer.stage.retries([], "unpaid"):
        fall_behind(changer)


def pause(changer: Changer) -> None:
    activate(changer)
    changer.leave("pause")


def end(changer: Changer) -> None:
    changer.stage.stripe("DELETE", f"/v1/subscriptions/{changer.mirrored().stripe_id}")


BRING: dict[str, Callable[[Changer], None]] = {
    "trialing": leave_it,
    "active": activate,
    "active, a change planned": plan_a_change,
    "active, ending": let_it_end,
    "past_due": fall_behind,
    "unpaid": give_up,
    "paused": pause,
    "canceled": end,
}


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    switches.without_limits(monkeypatch)


@pytest.mark.parametrize("state", TABLE)
def test_every_action_in_every_state(app: Flask, terse: Stage, state: str) -> None:
    scene, row = Scene(app, terse), TABLE[state] | {"update the card": DONE, "manage at Stripe": DONE}
    assert row.keys() == ACTIONS.keys() | PAGES.keys(), "a cell is missing"
    sync_portal_configuration(gateway(), catalog(), app.config["SETTINGS"].base_url)
    resting = scene.team_in(state)
    for name, act in PAGES.items():
        changed_nothing(resting, lambda act=act: act(resting), row[name], name)  # type: ignore[misc]
    for name, act in ACTIONS.items():
        if row[name] == DONE:
            carry_out(scene.team_in(state), act, name, state)
        else:
            changed_nothing(resting, lambda act=act: act(resting), row[name], name)  # type: ignore[misc]
    assert violations() == []


def changed_nothing(changer: Changer, act: Callable[[], TestResponse], expected: str, name: str) -> None:
    """Refused in words, or a way to one of Stripe's pages; in both cases everything is as it was."""
    before, live = rows_of(changer.team_id), changer.live()
    answer = act()
    if expected == DONE:
        assert answer.status_code == 303, (name, answer.get_data(as_text=True))
        assert answer.location.startswith(changer.stage.stripe_url), name
    else:
        assert answer.status_code in (403, 409, 422), (name, answer.status_code, answer.location)
        assert expected in answer.get_data(as_text=True).replace("&#39;", "'"), name
    changer.stage.deliver_all()
    after = rows_of(changer.team_id)
    assert {**after, "checkouts": None, "customers": None} == {**before, "checkouts": None, "customers": None}, name
    assert changer.live() == live, name
    changer.assert_mirrored()


def carry_out(changer: Changer, act: Callable[[Changer], TestResponse], name: str, state: str) -> None:
    answer = act(changer)
    if "/previews/" in (answer.location or ""):
        _, change = changer.finish(changer.shown(answer))
    else:
        change = changer.come_to(answer)
    assert change.state == "done", (name, change.state, change.failure_code)
    assert changer.mirrored().status == AFTERWARDS.get(name, state.split(",", maxsplit=1)[0]), name
    changer.assert_mirrored()
