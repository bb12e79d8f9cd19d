"""Opening pages at Stripe: at the catalog's price, once for a key, for the key's own team, and back to where we allow."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text, update
from werkzeug.test import TestResponse

from portal.accounts.models import AuditEntry
from portal.billing.gateway import (
    CardDeclined,
    Gateway,
    GatewayError,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from portal.billing.models import Checkout
from portal.core.database import db
from portal.core.idempotency import IdempotencyKey
from portal.core.limits import forget_counts
from portal.core.unit_of_work import unit_of_work
from tests.cast import Cast
from tests.web.api.backend import Backend, backend_of, error_of, set_up_portal
from tests.web.api.test_billing import subscribe

THANKS = "https://app.example.com/thanks"
PORTAL = {"return_url": THANKS}
PLAN = {"plan": "business", "interval": "month"}


@dataclass
class Buying:
    """A backend that opens checkout pages; each request has a key of its own unless the test names one."""

    backend: Backend
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def post(self, body: Any, key: str | None = None, path: str = "/checkout-sessions") -> TestResponse:
        name = f"order-{next(self.numbers)}" if key is None else key
        headers = {"Authorization": f"Bearer {self.backend.secret}", "Idempotency-Key": name}
        return self.backend.call("POST", path, headers=headers, json=body)

    def checkouts(self) -> list[Checkout]:
        with self.backend.app.app_context():
            return list(db.session.execute(select(Checkout).order_by(Checkout.id)).scalars())


@pytest.fixture
def buying(app: Flask, backend: Backend) -> Iterator[Buying]:
    settings = app.config["SETTINGS"]
    app.config["SETTINGS"] = replace(settings, return_origins=("https://app.example.com",))
    yield Buying(backend)
    app.config["SETTINGS"] = settings


def test_a_plan_at_the_price_of_the_catalog(buying: Buying) -> None:
    answer = buying.post(PLAN | {"success_url": THANKS, "cancel_url": THANKS + "?no"})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found = answer.get_json()
    (checkout,) = buying.checkouts()
    assert found == {"object": "checkout_session", "id": checkout.id, "url": checkout.url, "livemode": False}
    assert (checkout.team_id, checkout.plan_key, checkout.state) == (buying.backend.team_id, "business", "open")
    assert checkout.user_id is None
    assert checkout.api_key_id is not None
    assert (checkout.params["success_url"], checkout.params["cancel_url"]) == (THANKS, THANKS + "?no")


def test_without_return_addresses_the_portals_own_page_waits(buying: Buying) -> None:
    checkout_id = buying.post(PLAN).get_json()["id"]
    params = buying.checkouts()[0].params
    own = f"{buying.backend.app.config['SETTINGS'].base_url}/teams/{buying.backend.team_id}/checkout/{checkout_id}"
    assert (params["success_url"], params["cancel_url"]) == (own, own + "?canceled=1")


def test_braces_in_an_address_are_only_braces(buying: Buying) -> None:
    address = THANKS + "?session={CHECKOUT_SESSION_ID}&x={0.__class__}&y={"
    assert buying.post(PLAN | {"success_url": address}).status_code == 200
    assert buying.checkouts()[0].params["success_url"] == address


def test_a_bundle_for_a_team_whose_plan_has_them(buying: Buying) -> None:
    assert error_of(buying.post({"bundle": "credits_1000"}))["code"] == "bundles_not_included"
    subscribe(buying.backend)
    answer = buying.post({"bundle": "credits_1000"})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    (checkout,) = buying.checkouts()
    assert (checkout.purpose, checkout.bundle_key, checkout.credits) == ("bundle", "credits_1000", 1000)


def test_it_is_in_the_audit_trail_as_the_keys_act(buying: Buying) -> None:
    checkout_id = buying.post(PLAN).get_json()["id"]
    with buying.backend.app.app_context():
        query = select(AuditEntry.actor_kind, AuditEntry.action).where(AuditEntry.target == checkout_id)
        assert db.session.execute(query).one() == ("key", "checkout.started")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "plan"), (PLAN | {"bundle": "credits_1000"}, "plan"), ({"plan": "business"}, "interval"),
        ({"bundle": "credits_1000", "interval": "month"}, "interval"), ({"plan": "business", "interval": "week"}, "interval"),
        ({"plan": "nothing", "interval": "month"}, "plan"), ({"plan": "free", "interval": "month"}, "plan"),
        ({"plan": "enterprise", "interval": "month"}, "plan"), ({"bundle": "nothing"}, "bundle"),
        ({"plan": "a\u0000b", "interval": "month"}, "plan"), ({"plan": 5, "interval": "month"}, "plan"),
        ({"plan": "", "interval": "month"}, "plan"), ({"plan": "x" * 81, "interval": "month"}, "plan"),
        (PLAN | {"promotion_code": ""}, "promotion_code"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_not_sold_is_422(buying: Buying, body: Any, param: str) -> None:
    answer = buying.post(body)
    assert (answer.status_code, error_of(answer)["param"]) == (422, param)
    assert buying.checkouts() == []


@pytest.mark.parametrize(
    "field",
    ["amount", "price", "currency", "unit_amount", "customer", "team_id", "account_id", "credits", "quantity",
     "trial_end", "discounts", "metadata", "mode", "line_items", "stripe_customer_id"],
)  # fmt: skip
def test_s12_nothing_else_is_taken_from_the_request(buying: Buying, field: str) -> None:
    answer = buying.post(PLAN | {field: "x"})
    assert (answer.status_code, error_of(answer)["param"]) == (422, field)
    assert buying.checkouts() == []


@pytest.mark.parametrize("field", ["success_url", "cancel_url"])
@pytest.mark.parametrize(
    "address",
    [
        "//evil.example", "https:evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)",
        "https://app.example.com@evil.example", "https://app.example.com/%0d%0aX: y", "https://app\u3002example.com/",
        "https://app.example.com.evil.example", "/thanks", "https://app.example.com:8443/", "http://app.example.com/",
    ],
)  # fmt: skip
def test_s42_a_page_leads_back_to_allowed_origins_only(buying: Buying, field: str, address: str) -> None:
    answer = buying.post(PLAN | {field: address})
    assert (answer.status_code, error_of(answer)["code"]) == (422, "address_not_allowed")
    assert buying.checkouts() == []


def test_a_team_with_a_plan_is_refused_and_the_key_stays_free(buying: Buying) -> None:
    subscribe(buying.backend)
    answer = buying.post(PLAN, "order-1")
    assert (answer.status_code, error_of(answer)["code"]) == (409, "already_subscribed")
    with buying.backend.app.app_context(), unit_of_work() as session:
        session.execute(text("update subscriptions set status = 'canceled'"))
    assert buying.post(PLAN, "order-1").status_code == 200


def test_too_many_unpaid_checkouts_are_refused_for_an_hour(buying: Buying) -> None:
    """S-64: an API key is no way around the limits that hold for people."""
    answers = [buying.post(PLAN) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert (error_of(answers[5])["code"], answers[5].headers["Retry-After"]) == ("too_many_checkouts", "3600")


def test_s04_a_key_opens_pages_for_its_own_team_only(buying: Buying, other_backend: Backend) -> None:
    theirs = replace(buying, backend=other_backend)
    assert theirs.post(PLAN | {"team_id": buying.backend.team_id}).status_code == 422
    assert theirs.post(PLAN).status_code == 200
    assert [checkout.team_id for checkout in buying.checkouts()] == [other_backend.team_id]


def test_s81_two_teams_with_one_key_have_two_pages(buying: Buying, other_backend: Backend) -> None:
    mine = buying.post(PLAN, "order-1").get_json()
    theirs = replace(buying, backend=other_backend).post(PLAN, "order-1").get_json()
    assert mine["id"] != theirs["id"]
    assert mine["url"] != theirs["url"]


def test_the_same_again_is_the_same_page(buying: Buying) -> None:
    first, again = buying.post(PLAN, "order-1"), buying.post(PLAN, "order-1")
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(buying.checkouts()) == 1
    assert error_of(buying.post(PLAN | {"interval": "year"}, "order-1"))["code"] == "key_reused"


def test_twenty_at_once_open_one_page(buying: Buying, stripe_pages: Any) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: buying.post(PLAN, "order-1"), range(20)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.data for answer in answers if answer.status_code == 200}) == 1
    assert len(buying.checkouts()) == 1
    assert len(stripe_pages(buying.backend.team_id)) == 1


@pytest.fixture
def stripe_pages(stage: Any) -> Any:
    """The checkout pages that Stripe has of a team."""

    def pages(team_id: str) -> list[dict[str, Any]]:
        found = stage.stripe("GET", "/v1/checkout/sessions", limit=100)["data"]
        return [page for page in found if page["client_reference_id"] == team_id]

    return pages


@pytest.mark.parametrize("body", [PLAN, {"bundle": "credits_1000"}], ids=["plan", "bundle"])
@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_try_whose_answer_was_lost_is_gone_on_with(
    buying: Buying, stripe_pages: Any, monkeypatch: pytest.MonkeyPatch, body: Any, lost: str
) -> None:
    """Whether the page was made or not is not known; the same key ends at one page all the same."""
    if "bundle" in body:
        subscribe(buying.backend)
    real = Gateway.create_checkout_session

    def losing(self: Gateway, params: Any, key: str) -> Any:
        if lost == "after":
            real(self, params, key)
        raise Unavailable("no answer")

    monkeypatch.setattr(Gateway, "create_checkout_session", losing)
    first = buying.post(body, "order-1")
    assert (first.status_code, error_of(first)["code"]) == (503, "payment_provider_unavailable")
    assert first.headers["Retry-After"]
    monkeypatch.setattr(Gateway, "create_checkout_session", real)
    again = buying.post(body, "order-1")
    assert again.status_code == 200, again.get_data(as_text=True)
    (page,) = stripe_pages(buying.backend.team_id)
    assert page["url"] == again.get_json()["url"]
    assert len(buying.checkouts()) == 1


def test_a_process_that_died_after_the_page_was_made_makes_no_second_one(buying: Buying, stripe_pages: Any) -> None:
    """It died before it could keep its answer: all that is left is the key in flight, its lease over."""
    first = buying.post(PLAN, "order-1").get_json()
    with buying.backend.app.app_context(), unit_of_work() as session:
        values = {
            "state": "in_flight", "status": None, "body": None, "lease_token": "00000000-0000-0000-0000-000000000000",
            "lease_until": func.now(),
        }  # fmt: skip
        session.execute(update(IdempotencyKey).values(**values))
    assert buying.post(PLAN, "order-1").get_json() == first
    assert len(stripe_pages(buying.backend.team_id)) == 1


@pytest.mark.parametrize(("trouble", "status"), [(InvalidRequest("no such price"), 502), (GatewayError("what?"), 502)])
def test_a_refusal_of_stripe_is_502_without_its_words(
    buying: Buying, monkeypatch: pytest.MonkeyPatch, trouble: GatewayError, status: int
) -> None:
    def refuse(*_args: Any) -> Any:
        raise trouble

    monkeypatch.setattr(Gateway, "create_checkout_session", refuse)
    answer = buying.post(PLAN)
    assert (answer.status_code, error_of(answer)["code"]) == (status, "payment_provider_refused")
    assert trouble.message not in answer.get_data(as_text=True)
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("path", ["/checkout-sessions", "/portal-sessions"])
@pytest.mark.parametrize("trouble", [InvalidRequest, NotFound, CardDeclined, Unauthenticated, Unavailable])
def test_a_refusal_of_stripe_leaves_the_key_free(
    buying: Buying, monkeypatch: pytest.MonkeyPatch, path: str, trouble: type[GatewayError]
) -> None:
    """Stripe keeps a refusal under our key, so that the next try needs another one; an unknown outcome keeps its own."""
    known_to_stripe(buying)
    keys: list[str] = []

    def refuse(*asked: Any, **named: Any) -> Any:
        keys.append(str(asked[-1]))
        raise trouble("no")

    is_checkout = path == "/checkout-sessions"
    body, other = (
        (PLAN, PLAN | {"interval": "year"}) if is_checkout else (PORTAL, PORTAL | {"return_url": THANKS + "?2"})
    )
    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "create_checkout_session" if is_checkout else "create_portal_session", refuse)
        tries = [buying.post(body, "mine", path) for _ in range(2)]
    free = trouble is not Unavailable
    assert [answer.status_code for answer in tries] == [502 if free else 503] * 2
    assert len(set(keys)) == (2 if free else 1)
    assert buying.post(other, "mine", path).status_code == (200 if free else 409)


@pytest.mark.parametrize("code", ["NOSUCHCODE", "no code; at all", "x" * 80])
def test_an_unknown_promotion_code_is_422(buying: Buying, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(Gateway, "promotion_codes", lambda *_asked: [])
    answer = buying.post(PLAN | {"promotion_code": code})
    assert (answer.status_code, error_of(answer)["code"], error_of(answer)["param"]) == (
        422, "promotion_code_invalid", "promotion_code",
    )  # fmt: skip


def test_the_body_counts_and_not_its_spelling(buying: Buying) -> None:
    first = buying.post({"plan": "business", "interval": "month"}, "order-1")
    headers = {"Authorization": f"Bearer {buying.backend.secret}", "Idempotency-Key": "order-1"}
    spelled = json.dumps({"interval": "month", "plan": "business"}, indent=3)
    again = buying.backend.call(
        "POST", "/checkout-sessions", headers=headers, data=spelled, content_type="application/json"
    )
    assert again.data == first.data


def known_to_stripe(buying: Buying) -> None:
    """A team that has ordered once: Stripe has a customer for it, and the checkout is over."""
    set_up_portal(buying.backend.app)
    assert buying.post(PLAN).status_code == 200
    with buying.backend.app.app_context(), unit_of_work() as session:
        session.execute(text("update checkouts set state = 'expired'"))


def test_the_portal_opens_for_the_teams_own_customer(buying: Buying, stage: Any) -> None:
    known_to_stripe(buying)
    answer = buying.post({"return_url": THANKS}, path="/portal-sessions")
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found = answer.get_json()
    assert found["object"] == "portal_session"
    assert found["url"].startswith(stage.stripe_url)
    with buying.backend.app.app_context():
        entries = db.session.execute(select(AuditEntry.actor_kind).where(AuditEntry.action == "portal.opened")).all()
    assert [entry.actor_kind for entry in entries] == ["key"]


def test_the_portal_again_with_the_same_key_is_the_same_session(buying: Buying) -> None:
    known_to_stripe(buying)
    first, again = (buying.post({"return_url": THANKS}, "portal-1", "/portal-sessions") for _ in range(2))
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")


def test_a_team_that_never_ordered_has_no_portal(buying: Buying) -> None:
    answer = buying.post({"return_url": THANKS}, path="/portal-sessions")
    assert (answer.status_code, error_of(answer)["code"]) == (409, "no_customer")


def test_a_team_whose_customer_was_deleted_at_stripe_is_told_so(buying: Buying) -> None:
    known_to_stripe(buying)
    with buying.backend.app.app_context(), unit_of_work() as session:
        session.execute(text("update customers set deleted = true"))
    for body, path in ((PLAN, "/checkout-sessions"), ({"return_url": THANKS}, "/portal-sessions")):
        answer = buying.post(body, path=path)
        assert (answer.status_code, error_of(answer)["code"]) == (409, "customer_deleted")


def test_there_is_nothing_to_cancel_without_a_plan(buying: Buying) -> None:
    known_to_stripe(buying)
    answer = buying.post({"return_url": THANKS, "flow": "subscription_cancel"}, path="/portal-sessions")
    assert (answer.status_code, error_of(answer)["code"]) == (409, "no_subscription")
    with buying.backend.app.app_context():
        opened = db.session.execute(select(AuditEntry).where(AuditEntry.action == "portal.opened")).first()
    assert opened is None, "nothing was opened"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "return_url"), ({"return_url": ""}, "return_url"), ({"return_url": THANKS, "flow": "delete"}, "flow"),
        ({"return_url": THANKS, "customer": "cus_1"}, "customer"), ({"return_url": "https://evil.example"}, "return_url"),
        ({"return_url": None}, "return_url"), ({"return_url": ["https://app.example.com"]}, "return_url"),
    ],
    ids=repr,
)  # fmt: skip
def test_s42_the_portal_leads_back_to_allowed_origins_only(buying: Buying, body: Any, param: str) -> None:
    answer = buying.post(body, path="/portal-sessions")
    assert (answer.status_code, error_of(answer)["param"]) == (422, param)


def test_a_page_on_an_unknown_origin_is_not_handed_out(buying: Buying) -> None:
    """S-43: an answer of somebody who is not Stripe leads nobody anywhere."""
    settings = buying.backend.app.config["SETTINGS"]
    buying.backend.app.config["SETTINGS"] = replace(settings, hosted_page_origins=("https://checkout.stripe.com",))
    try:
        answer = buying.post(PLAN)
    finally:
        buying.backend.app.config["SETTINGS"] = settings
    assert (answer.status_code, error_of(answer)["code"]) == (502, "payment_provider_refused")


def test_each_page_wants_its_scope(buying: Buying) -> None:
    limited = replace(buying, backend=buying.backend.with_no_scope())
    for path in ("/checkout-sessions", "/portal-sessions"):
        answer = limited.post(PLAN, path=path)
        assert (answer.status_code, error_of(answer)["code"]) == (403, "missing_scope")
    assert buying.checkouts() == []


def test_s63_pages_at_stripe_have_a_limit_for_the_team(
    buying: Buying, other_backend: Backend, app: Flask, cast: Cast
) -> None:
    """Neither another key nor the other kind of page is a way around it; stored answers and other calls are."""
    known_to_stripe(buying)
    first, portal = buying.post(PLAN, "mine"), {"return_url": THANKS}
    opened = [buying.post(portal, path="/portal-sessions") for _ in range(18)]
    assert {answer.status_code for answer in opened} == {200}
    colleague = replace(buying, backend=backend_of(app, cast.team_id, cast.owner))
    for refused in (buying.post(portal, path="/portal-sessions"), colleague.post(PLAN, "refused")):
        assert (refused.status_code, error_of(refused)["code"]) == (429, "too_many_requests")
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
    with app.app_context():
        entries = select(func.count()).select_from(AuditEntry).where(AuditEntry.action == "portal.opened")
        assert db.session.execute(entries).scalar_one() == 18, "what is refused leaves no entry"
    assert buying.post(PLAN, "mine").data == first.data
    assert buying.backend.call("GET", "/credits").status_code == 200
    assert replace(buying, backend=other_backend).post(PLAN).status_code == 200
    forget_counts()
    assert buying.post(PLAN, "refused").status_code == 200, "the refused request left its key free"


@dataclass
class Guesses:
    """Which promotion codes Stripe was asked for; it knows one, `RIGHT`."""

    asked: list[str] = field(default_factory=list)

    def answer(self, code: str) -> list[dict[str, Any]]:
        self.asked.append(code)
        return [{"id": "promo_right", "active": True}] if code == "RIGHT" else []


@pytest.fixture
def guesses(monkeypatch: pytest.MonkeyPatch) -> Guesses:
    made = Guesses()
    monkeypatch.setattr(Gateway, "promotion_codes", made.answer)
    return made


def test_a_promotion_code_cannot_be_found_by_trying(buying: Buying, other_backend: Backend, guesses: Guesses) -> None:
    """After ten wrong ones an hour even the right one is refused, which tells a guesser nothing; orders go on."""
    tries = [buying.post(PLAN | {"promotion_code": f"GUESS{number}"}) for number in range(10)]
    assert {error_of(answer)["code"] for answer in tries} == {"promotion_code_invalid"}
    for code in ("GUESS10", "RIGHT"):
        refused = buying.post(PLAN | {"promotion_code": code})
        assert (refused.status_code, error_of(refused)["code"]) == (429, "too_many_promotion_codes")
        assert refused.headers["Retry-After"] == "3600"
    assert len(guesses.asked) == 10
    assert error_of(replace(buying, backend=other_backend).post(PLAN | {"promotion_code": "GUESS"}))["param"]
    assert buying.post(PLAN).status_code == 200


@pytest.mark.parametrize("why", ["already_subscribed", "too_many_checkouts", "bundles_not_included"])
def test_an_order_that_is_refused_in_any_case_does_not_ask_about_its_code(
    buying: Buying, guesses: Guesses, why: str
) -> None:
    if why == "already_subscribed":
        subscribe(buying.backend)
    elif why == "too_many_checkouts":
        for _ in range(5):
            buying.post(PLAN)
    item = {"bundle": "credits_1000"} if why == "bundles_not_included" else PLAN
    assert error_of(buying.post(item | {"promotion_code": "WRONG"}))["code"] == why
    assert guesses.asked == []
