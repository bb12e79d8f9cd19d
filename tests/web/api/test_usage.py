"""Reporting use: what it takes, what it refuses, and that a key means one use for ever."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from portal.catalog.models import Meter
from portal.core import clock
from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from portal.credits import ledger
from portal.credits.models import CreditEntry
from portal.credits.queries import balance, shortage
from portal.usage.models import UsageEvent, UsageKey
from tests.web.api.backend import Backend, error_of


def booked(backend: Backend) -> dict[str, int]:
    """What stands in the books of everybody, by table."""
    with backend.app.app_context():
        spends = select(func.count()).select_from(CreditEntry).where(CreditEntry.kind == "spent")
        return {
            "events": db.session.execute(select(func.count()).select_from(UsageEvent)).scalar_one(),
            "keys": db.session.execute(select(func.count()).select_from(UsageKey)).scalar_one(),
            "spends": db.session.execute(spends).scalar_one(),
            "available": balance(backend.team_id).available,
        }


NOTHING = {"events": 0, "keys": 0, "spends": 0, "available": 100}


@pytest.mark.parametrize(
    ("meter", "quantity", "cost"), [("send_email", 3, 3), ("analyze_lead", 7, 14), ("generate_campaign", 20, 100)]
)
def test_a_use_takes_its_cost_and_answers_the_balance(backend: Backend, meter: str, quantity: int, cost: int) -> None:
    answer = backend.use(meter, quantity)
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["id"].startswith("use_")
    assert body["created"].endswith("Z")
    expected = {"object": "usage", "meter": meter, "quantity": quantity, "cost": cost, "balance": 100 - cost}
    expected["available"] = 100 - cost
    assert body == expected | {"livemode": False, "id": body["id"], "created": body["created"]}
    assert "Idempotent-Replayed" not in answer.headers
    assert booked(backend) == {"events": 1, "keys": 1, "spends": 1, "available": 100 - cost}
    with backend.app.app_context():
        event = db.session.execute(select(UsageEvent)).scalar_one()
        entry = db.session.execute(select(CreditEntry).where(CreditEntry.id == event.entry_id)).scalar_one()
    assert (event.id, event.team_id, event.meter, event.cost) == (body["id"], backend.team_id, meter, cost)
    assert (entry.amount, entry.team_id) == (-cost, backend.team_id)


BAD_QUANTITIES: list[Any] = [0, -5, 1_000_001, 2**63, 1.0, 2.0, 2.5, 1e308, True, False, "5", "", None, [1], {"n": 1}]
UNWANTED = [
    "role",
    "credits",
    "balance",
    "is_admin",
    "account_id",
    "team_id",
    "plan",
    "trial_end",
    "stripe_customer_id",
]


@pytest.mark.parametrize("quantity", BAD_QUANTITIES, ids=repr)
def test_s13_a_quantity_that_is_no_count_is_422(backend: Backend, quantity: Any) -> None:
    answer = backend.use(quantity=quantity)
    assert answer.status_code == 422
    assert error_of(answer)["param"] == "quantity"
    assert error_of(answer)["type"] == "invalid_request_error"
    assert booked(backend) == NOTHING


@pytest.mark.parametrize(
    "meter",
    ["", "Send Email", "send-email", "x" * 41, "1st", None, 5, True, ["send_email"], "a\u0000b", "\ud800"],
    ids=repr,
)
def test_what_is_no_name_of_a_meter_is_422(backend: Backend, meter: Any) -> None:
    answer = backend.post_usage(data=json.dumps({"meter": meter, "quantity": 1}), content_type="application/json")
    assert answer.status_code == 422
    assert error_of(answer)["param"] == "meter"
    assert booked(backend) == NOTHING


def test_an_unknown_meter_is_422_and_names_those_that_are_known(backend: Backend) -> None:
    error = error_of(backend.use("send_fax"))
    assert (error["code"], error["param"]) == ("unknown_meter", "meter")
    assert "send_email, analyze_lead, generate_campaign, api_calls" in error["message"]
    assert booked(backend) == NOTHING


@pytest.mark.parametrize("missing", ["meter", "quantity"])
def test_both_fields_are_required(backend: Backend, missing: str) -> None:
    body = {"meter": "send_email", "quantity": 1}
    del body[missing]
    answer = backend.post_usage(json=body)
    assert (answer.status_code, error_of(answer)["param"]) == (422, missing)


@pytest.mark.parametrize("field", [*UNWANTED, "x" * 500, "line\nbreak"])
def test_s12_a_field_that_is_not_ours_is_422(backend: Backend, field: str) -> None:
    answer = backend.post_usage(json={"meter": "send_email", "quantity": 1, field: "x"})
    assert answer.status_code == 422
    assert error_of(answer)["param"][:10] == field[:10].replace("\n", "?")
    assert booked(backend) == NOTHING


def test_s61_many_fields_at_once_are_one_error(backend: Backend) -> None:
    answer = backend.post_usage(json={f"field_{number}": number for number in range(10_000)})
    assert answer.status_code == 422
    assert len(answer.data) < 1000


@pytest.mark.parametrize("body", ["[]", "null", "5", '"send_email"', "true"])
def test_a_body_that_is_no_object_is_422(backend: Backend, body: str) -> None:
    answer = backend.post_usage(data=body, content_type="application/json")
    assert (answer.status_code, error_of(answer)["code"]) == (422, "invalid_body")


@pytest.mark.parametrize("body", [b"", b"{", b'{"meter": "send_email", "quantity": NaN}', b"\xff", b"[" * 50_000])
def test_s61_a_body_that_cannot_be_read_is_400(backend: Backend, body: bytes) -> None:
    answer = backend.post_usage(data=body, content_type="application/json")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_json")


def test_s18_another_type_of_content_is_415(backend: Backend) -> None:
    answer = backend.post_usage(data={"meter": "send_email", "quantity": "1"})
    assert answer.status_code == 415
    assert booked(backend) == NOTHING


@pytest.mark.parametrize("type_", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_s18_what_a_page_elsewhere_can_send_is_refused(backend: Backend, type_: str) -> None:
    """A form needs no leave of the browser to be sent anywhere; its types of content are not ours, nor is its origin."""
    body = json.dumps({"meter": "send_email", "quantity": 1})
    assert backend.post_usage(data=body, content_type=type_).status_code == 415
    headers = {"Authorization": f"Bearer {backend.secret}", "Idempotency-Key": "order-1"}
    for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = backend.call("POST", "/usage", headers=headers | foreign, json=json.loads(body))
        assert (answer.status_code, error_of(answer)["code"]) == (403, "forbidden")
    assert booked(backend) == NOTHING


def test_s61_too_large_a_body_is_413(backend: Backend) -> None:
    answer = backend.post_usage(data=b" " * 2_000_000, content_type="application/json")
    assert answer.status_code == 413


def test_s61_a_body_without_a_length_is_cut_off_too(backend: Backend) -> None:
    headers = {"Authorization": f"Bearer {backend.secret}", "Idempotency-Key": "order-1"}
    answer = backend.call(
        "POST",
        "/usage",
        headers=headers | {"Transfer-Encoding": "chunked"},
        input_stream=io.BytesIO(b"[" * 2_000_000),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code in (400, 413)
    assert booked(backend) == NOTHING


def test_s61_a_packed_body_is_not_unpacked(backend: Backend) -> None:
    packed = gzip.compress(b" " * 100_000_000)
    headers = {"Authorization": f"Bearer {backend.secret}", "Idempotency-Key": "order-1", "Content-Encoding": "gzip"}
    answer = backend.call("POST", "/usage", headers=headers, data=packed, content_type="application/json")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("key", [None, "", " ", "x" * 256, "a\tb", "caf\u00e9"], ids=repr)
def test_without_a_usable_idempotency_key_is_400(backend: Backend, key: str | None) -> None:
    headers = {"Authorization": f"Bearer {backend.secret}"} | ({} if key is None else {"Idempotency-Key": key})
    answer = backend.call("POST", "/usage", headers=headers, json={"meter": "send_email", "quantity": 1})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "Idempotency-Key")
    assert booked(backend) == NOTHING


@pytest.mark.parametrize("key", ["x", "x" * 255, "!~ {}\"'\\;", "usage:1", "expire:grant:1"])
def test_any_printable_key_will_do(backend: Backend, key: str) -> None:
    first, again = backend.use(key=key), backend.use(key=key)
    assert [first.status_code, again.status_code] == [200, 200]
    assert first.data == again.data
    assert booked(backend)["available"] == 99


def test_the_same_key_is_answered_byte_for_byte(backend: Backend) -> None:
    first = backend.use(quantity=3, key="order-1")
    backend.use(quantity=5, key="order-2")
    again = backend.use(quantity=3, key="order-1")
    assert again.status_code == first.status_code == 200
    assert again.data == first.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert booked(backend) == {"events": 2, "keys": 2, "spends": 2, "available": 92}


def test_the_spelling_of_the_body_does_not_make_another_request(backend: Backend) -> None:
    first = backend.use(quantity=3, key="order-1")
    again = backend.post_usage(
        "order-1", data=b' {"quantity":3,\n"meter":"send_email"}', content_type="application/json"
    )
    assert again.data == first.data


@pytest.mark.parametrize(("meter", "quantity"), [("send_email", 4), ("analyze_lead", 1), ("analyze_lead", 2)])
def test_the_same_key_for_another_use_is_409(backend: Backend, meter: str, quantity: int) -> None:
    backend.use("send_email", 2, key="order-1")
    answer = backend.use(meter, quantity, key="order-1")
    assert (answer.status_code, error_of(answer)["type"]) == (409, "idempotency_error")
    assert booked(backend)["available"] == 98


def test_an_error_is_not_stored(backend: Backend) -> None:
    assert backend.use(quantity=0, key="order-1").status_code == 422
    assert backend.use("send_fax", key="order-1").status_code == 422
    assert backend.use(quantity=1, key="order-1").status_code == 200


def test_too_few_credits_is_402_with_the_way_out(backend: Backend) -> None:
    answer = backend.use("generate_campaign", 21, key="order-1")
    assert answer.status_code == 402
    error = error_of(answer)
    assert (error["type"], error["balance"], error["cost"], error["shortfall"]) == ("insufficient_credits", 100, 105, 5)
    assert error["auto_purchase"] == "off"
    base_url = backend.app.config["SETTINGS"].base_url
    assert error["buy_url"].startswith(base_url)
    assert backend.team_id in error["buy_url"]
    assert backend.app.test_client().get(error["buy_url"].removeprefix(base_url)).status_code == 200
    assert booked(backend) == NOTHING


def test_the_shortfall_has_what_is_owed_in_it(backend: Backend) -> None:
    """Who buys as many as are missing can pay then: what is bought repays the debt first."""
    with backend.app.app_context(), unit_of_work():
        ledger.spend(backend.team_id, 100, "usage:all")
        ledger.reverse(backend.team_id, "bundle:test", 100, "refund:1")
    for answer in (backend.use(quantity=5, key="order-1"), backend.hold(amount=5)):
        error = error_of(answer)
        assert (answer.status_code, error["available"], error["cost"], error["shortfall"]) == (402, 0, 5, 105)
        assert error["balance"] == -100
        assert "0 are left, and 100 are owed, which the next ones repay first" in error["message"]
    with backend.app.app_context():
        found = shortage(backend.team_id, 5)
        assert found is not None
        assert found.shortfall == 105
    backend.give(104, "bundle:less")
    assert error_of(backend.use(quantity=5, key="order-1"))["shortfall"] == 1
    backend.give(1, "bundle:more")
    assert backend.use(quantity=5, key="order-1").status_code == 200


def test_after_402_the_same_key_succeeds_once_there_are_credits(backend: Backend) -> None:
    assert backend.use("generate_campaign", 21, key="order-1").status_code == 402
    backend.give(5, "bundle:more")
    paid = backend.use("generate_campaign", 21, key="order-1")
    assert (paid.status_code, paid.get_json()["balance"]) == (200, 0)
    assert "Idempotent-Replayed" not in paid.headers
    assert backend.use(key="order-2").status_code == 402
    assert backend.use("generate_campaign", 21, key="order-1").data == paid.data


def test_a_team_that_never_had_credits_gets_402(other_backend: Backend) -> None:
    answer = other_backend.use()
    assert (answer.status_code, error_of(answer)["balance"]) == (402, 0)


def test_the_greatest_cost_is_still_a_402(backend: Backend) -> None:
    assert error_of(backend.use("generate_campaign", 1_000_000))["cost"] == 5_000_000


def test_s81_two_teams_may_use_the_same_key_string(backend: Backend, other_backend: Backend) -> None:
    other_backend.give(50)
    mine, theirs = backend.use(quantity=2, key="order-1"), other_backend.use(quantity=30, key="order-1")
    assert [mine.get_json()["balance"], theirs.get_json()["balance"]] == [98, 20]
    assert "Idempotent-Replayed" not in theirs.headers
    assert mine.get_json()["id"] != theirs.get_json()["id"]


@pytest.fixture
def archive_meter(app: Flask) -> Iterator[Callable[[], None]]:
    """Takes the meter out of the catalog; it is back afterwards, since the catalog is all tests'."""

    def set_archived(moment: Any) -> None:
        with unit_of_work() as session:
            session.execute(update(Meter).where(Meter.key == "send_email").values(archived_at=moment))

    yield lambda: set_archived(func.now())
    set_archived(None)


def test_a_key_outlives_the_meter_it_was_used_for(backend: Backend, archive_meter: Callable[[], None]) -> None:
    first = backend.use(key="order-1")
    archive_meter()
    assert backend.use(key="order-1").data == first.data
    assert error_of(backend.use(key="order-2"))["code"] == "unknown_meter"


@pytest.mark.parametrize("table", ["usage_keys", "usage_events"])
@pytest.mark.parametrize("change", ["update {} set team_id = team_id", "delete from {}", "truncate {} cascade"])
def test_history_cannot_be_rewritten(backend: Backend, table: str, change: str) -> None:
    backend.use()
    with backend.app.app_context(), pytest.raises(DBAPIError):
        db.session.execute(text(change.format(table)))
    assert booked(backend)["events"] == 1


def test_what_is_included_is_told_of_a_month_of_the_plan_alone(backend: Backend) -> None:
    """As it was told, which is to the millisecond, or a part of it from its beginning."""
    assert backend.use("api_calls", 400).status_code == 200
    month = backend.call("GET", "/usage").get_json()
    since, until = (datetime.fromisoformat(month[name]) for name in ("since", "until"))
    minute, today = timedelta(minutes=1), since.replace(hour=0, minute=0, second=0, microsecond=0)

    def told(since: datetime, until: datetime) -> tuple[int, int | None, int | None]:
        span = {"since": since.isoformat(), "until": until.isoformat()}
        found = backend.call("GET", "/usage", query_string=span).get_json()
        (meter,) = (one for one in found["meters"] if one["meter"] == "api_calls")
        return meter["quantity"], meter["included"], meter["remaining"]

    assert told(since, until) == (400, 1_000, 600)
    assert told(since, until - timedelta(days=3)) == (400, 1_000, 600)
    assert told(until, until + timedelta(days=3)) == (0, None, None)
    assert told(since, until + minute) == (400, None, None)
    assert told(since + minute, until) == (400, None, None)
    assert told(today - timedelta(days=300), until) == (400, None, None)
    whole = backend.call("GET", "/usage", query_string={"since": month["since"], "until": month["until"]}).get_json()
    assert whole == month


def test_what_is_left_is_of_the_whole_month_and_of_no_month_before_the_last(backend: Backend) -> None:
    def told(month: dict[str, str], **until: str) -> tuple[int, int | None, int | None]:
        span = {"since": month["since"], "until": month["until"]} | until
        found = backend.call("GET", "/usage", query_string=span).get_json()
        (meter,) = (one for one in found["meters"] if one["meter"] == "api_calls")
        return meter["quantity"], meter["included"], meter["remaining"]

    def pass_by(days: int) -> None:
        with backend.app.app_context(), unit_of_work():
            clock.advance(timedelta(days=days))

    first = backend.call("GET", "/usage").get_json()
    pass_by(10)
    early = (datetime.fromisoformat(first["since"]) + timedelta(days=5)).isoformat()
    assert backend.use("api_calls", 400).status_code == 200
    assert told(first, until=early) == (0, 1_000, 600), "what is left now"
    pass_by(30)
    assert told(first) == (400, 1_000, 600)
    assert told(first, until=early) == (0, 1_000, 600), "what was left at its end"
    pass_by(30)
    assert told(first) == (400, None, None)
