"""Billing meters: usage is recorded once, within its time, can be taken back, and adds up exactly."""

from decimal import Decimal

import pytest

from tests.sandbox.driving import Driver, Json, Wall

HOUR, DAY = 3600, 86400
EVENTS = "/v1/billing/meter_events"
ADJUSTMENTS = "/v1/billing/meter_event_adjustments"
# A midnight in UTC, and so the boundary of a day, an hour and a minute.
MIDNIGHT = 1_800_057_600


@pytest.fixture
def wall() -> Wall:
    return Wall(MIDNIGHT)


@pytest.fixture
def customer(sandbox: Driver) -> str:
    return str(sandbox.post("/v1/customers", {"email": "a@b.co"})["id"])


def make_meter(sandbox: Driver, formula: str = "sum", name: str = "tokens", **more: str) -> Json:
    sent = {"display_name": "Tokens", "event_name": name, "default_aggregation[formula]": formula}
    return sandbox.post("/v1/billing/meters", sent | more)


def use(customer: str, value: str = "1", **more: object) -> Json:
    return {"event_name": "tokens", "payload[stripe_customer_id]": customer, "payload[value]": value, **more}


def total(sandbox: Driver, meter: Json, customer: str, days: int = 1, **more: object) -> list[float]:
    """What the summaries of the last days say, the newest first."""
    asked = {"customer": customer, "start_time": MIDNIGHT - days * DAY, "end_time": MIDNIGHT + DAY, **more}
    found = sandbox.get(f"/v1/billing/meters/{meter['id']}/event_summaries", **asked)["data"]
    return [one["aggregated_value"] for one in found]


def test_a_meter_and_its_life(sandbox: Driver, customer: str) -> None:
    meter = make_meter(sandbox)
    path = f"/v1/billing/meters/{meter['id']}"
    assert meter["customer_mapping"] == {"event_payload_key": "stripe_customer_id", "type": "by_id"}
    assert meter["value_settings"] == {"event_payload_key": "value"}
    assert sandbox.post(path, {"display_name": "Words"})["display_name"] == "Words"
    assert sandbox.error("POST", path, {"event_name": "words"})[1]["code"] == "parameter_unknown"
    assert sandbox.post(f"{path}/deactivate")["status_transitions"]["deactivated_at"] == MIDNIGHT
    assert sandbox.error("POST", f"{path}/deactivate")[0] == 400
    assert sandbox.error("POST", EVENTS, use(customer))[1]["code"] == "archived_meter"
    assert sandbox.get("/v1/billing/meters", status="active")["data"] == []
    assert sandbox.post(f"{path}/reactivate")["status"] == "active"
    assert sandbox.error("POST", f"{path}/reactivate")[0] == 400
    told = [name for name in sandbox.event_types() if name.startswith("billing.meter.")]
    assert told == [f"billing.meter.{what}" for what in ("created", "updated", "deactivated", "reactivated")]


def test_only_one_active_meter_counts_events_of_a_name(sandbox: Driver) -> None:
    old = make_meter(sandbox)
    sent = {"display_name": "Again", "event_name": "tokens", "default_aggregation[formula]": "sum"}
    assert sandbox.error("POST", "/v1/billing/meters", sent)[1]["param"] == "event_name"
    sandbox.post(f"/v1/billing/meters/{old['id']}/deactivate")
    make_meter(sandbox)
    assert sandbox.error("POST", f"/v1/billing/meters/{old['id']}/reactivate")[1]["param"] == "event_name"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"event_name": "words"}, "no_meter"),
        ({"payload[stripe_customer_id]": "cus_no"}, "meter_event_customer_not_found"),
        ({"payload[stripe_customer_id]": None}, "meter_event_no_customer_defined"),
        ({"payload[value]": None}, "meter_event_value_not_found"),
        ({"payload[value]": "many"}, "meter_event_invalid_value"),
        ({"payload[value]": "1e5"}, "meter_event_invalid_value"),
        ({"payload[value]": "0.0000000000001"}, "meter_event_invalid_value"),
        ({"payload[value]": "1234567890123456"}, "meter_event_value_too_many_digits"),
        ({"timestamp": MIDNIGHT - 35 * DAY - 1}, "timestamp_too_far_in_past"),
        ({"timestamp": MIDNIGHT + 301}, "timestamp_in_future"),
        ({"identifier": "x" * 101}, None),
        ({"value": "1"}, "parameter_unknown"),
    ],
)
def test_events_that_are_refused(sandbox: Driver, customer: str, changes: Json, code: str | None) -> None:
    meter = make_meter(sandbox)
    sent = {name: value for name, value in (use(customer) | changes).items() if value is not None}
    status, error = sandbox.error("POST", EVENTS, sent)
    assert (status, error.get("code")) == (400, code)
    assert total(sandbox, meter, customer) == []


@pytest.mark.parametrize("at", [MIDNIGHT - 35 * DAY, MIDNIGHT, MIDNIGHT + 300])
def test_the_edges_of_the_time_are_taken(sandbox: Driver, customer: str, at: int) -> None:
    meter = make_meter(sandbox)
    event = sandbox.post(EVENTS, use(customer, timestamp=at))
    assert (event["timestamp"], event["created"], "id" in event) == (at, MIDNIGHT, False)
    assert total(sandbox, meter, customer, days=36) == [1]


def test_an_identifier_counts_once_in_a_day(sandbox: Driver, customer: str) -> None:
    meter = make_meter(sandbox)
    sent = use(customer, "5", identifier="run-7")
    assert sandbox.post(EVENTS, sent)["identifier"] == "run-7"
    status, error = sandbox.error("POST", EVENTS, sent)
    assert (status, error["code"], error["param"]) == (400, "duplicate_meter_event", "identifier")
    assert total(sandbox, meter, customer) == [5]
    sandbox.pass_by(1)
    sandbox.post(EVENTS, sent | {"timestamp": MIDNIGHT})
    assert total(sandbox, meter, customer) == [10]
    assert sandbox.post(EVENTS, use(customer))["identifier"] != sandbox.post(EVENTS, use(customer))["identifier"]


def test_an_event_can_be_taken_back_within_a_day(sandbox: Driver, customer: str) -> None:
    meter = make_meter(sandbox)
    for number in range(3):
        sandbox.post(EVENTS, use(customer, identifier=f"run-{number}"))
    cancel = {"event_name": "tokens", "type": "cancel", "cancel[identifier]": "run-1"}
    assert sandbox.post(ADJUSTMENTS, cancel)["status"] == "complete"
    assert total(sandbox, meter, customer) == [2]
    assert sandbox.error("POST", ADJUSTMENTS, cancel)[1]["param"] == "cancel[identifier]"
    assert sandbox.error("POST", EVENTS, use(customer, identifier="run-1"))[1]["code"] == "duplicate_meter_event"
    assert sandbox.error("POST", ADJUSTMENTS, cancel | {"event_name": "words"})[0] == 400
    assert sandbox.error("POST", ADJUSTMENTS, {"event_name": "tokens", "type": "cancel"})[0] == 400
    sandbox.pass_by(1)
    assert sandbox.error("POST", ADJUSTMENTS, cancel | {"cancel[identifier]": "run-2"})[0] == 400
    assert total(sandbox, meter, customer) == [2]


@pytest.mark.parametrize(("formula", "expected"), [("sum", 7.5), ("count", 4), ("last", 0.5)])
def test_what_a_formula_makes_of_events(sandbox: Driver, customer: str, formula: str, expected: float) -> None:
    meter = make_meter(sandbox, formula)
    # The last by its own time, not by when it came.
    for value, ago in (("8", 60), ("0.5", 5), ("-2", 30), ("1", 90)):
        sandbox.post(EVENTS, use(customer, value, timestamp=MIDNIGHT - ago))
    assert total(sandbox, meter, customer) == [expected]


def test_sums_are_exact(sandbox: Driver, customer: str) -> None:
    meter = make_meter(sandbox)
    values = ["0.1", "0.2", "0.000000000003", "-0.3", "900719925474.093", "-900719925474.093"]
    for value in values:
        sandbox.post(EVENTS, use(customer, value))
    assert total(sandbox, meter, customer) == [float(sum(map(Decimal, values)))] == [3e-12]


def test_everybodys_usage_is_their_own(sandbox: Driver, customer: str) -> None:
    tokens, runs = make_meter(sandbox), make_meter(sandbox, name="runs")
    other = sandbox.post("/v1/customers")["id"]
    sandbox.post(EVENTS, use(customer, "3"))
    sandbox.post(EVENTS, use(other, "4"))
    sandbox.post(EVENTS, use(customer, "5") | {"event_name": "runs"})
    assert [total(sandbox, tokens, customer), total(sandbox, tokens, other)] == [[3], [4]]
    assert [total(sandbox, runs, customer), total(sandbox, runs, other)] == [[5], []]


def test_summaries_by_the_hour_and_the_day(sandbox: Driver, customer: str) -> None:
    meter = make_meter(sandbox)
    path = f"/v1/billing/meters/{meter['id']}/event_summaries"
    for value, at in ((1, MIDNIGHT - DAY), (2, MIDNIGHT - HOUR), (4, MIDNIGHT - 1), (8, MIDNIGHT)):
        sandbox.post(EVENTS, use(customer, str(value), timestamp=at))
    assert total(sandbox, meter, customer) == [15]
    assert total(sandbox, meter, customer, value_grouping_window="hour") == [8, 6, 1]
    assert total(sandbox, meter, customer, value_grouping_window="day") == [8, 7]
    span = {"customer": customer, "start_time": MIDNIGHT - DAY, "end_time": MIDNIGHT}
    assert sandbox.get(path, **span)["data"][0]["aggregated_value"] == 7  # The end is no part of it.
    asked = span | {"end_time": MIDNIGHT + DAY, "value_grouping_window": "hour"}
    whole = sandbox.get(path, **asked)["data"]
    first = sandbox.get(path, **asked, limit=2)
    assert (first["data"], first["has_more"]) == (whole[:2], True)
    rest = sandbox.get(path, **asked, starting_after=whole[1]["id"])
    assert (rest["data"], rest["has_more"]) == (whole[2:], False)
    assert sandbox.get(path, **asked, ending_before=whole[2]["id"])["data"] == whole[:2]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"start_time": MIDNIGHT + 1}, "start_time"),
        ({"end_time": MIDNIGHT + 90}, "end_time"),
        ({"end_time": MIDNIGHT}, "end_time"),
        ({"start_time": MIDNIGHT + 60, "value_grouping_window": "hour"}, "start_time"),
        ({"start_time": MIDNIGHT + HOUR, "value_grouping_window": "day"}, "start_time"),
        ({"value_grouping_window": "week"}, "value_grouping_window"),
        ({"customer": "cus_no"}, "customer"),
        ({"starting_after": "mtrusg_no"}, "starting_after"),
    ],
)
def test_summaries_that_are_refused(sandbox: Driver, customer: str, changes: Json, param: str) -> None:
    asked = {"customer": customer, "start_time": MIDNIGHT, "end_time": MIDNIGHT + DAY} | changes
    path = f"/v1/billing/meters/{make_meter(sandbox)['id']}/event_summaries"
    assert sandbox.error("GET", path, asked)[1]["param"] == param


def test_a_metered_price_names_its_meter(sandbox: Driver) -> None:
    meter = make_meter(sandbox)["id"]
    metered = {"recurring[usage_type]": "metered"}
    price = sandbox.price(5, **metered, **{"recurring[meter]": meter})
    assert (price["recurring"]["usage_type"], price["recurring"]["meter"]) == ("metered", meter)
    assert sandbox.get("/v1/prices", **{"recurring[meter]": meter})["data"] == [price]
    sent = {"product": price["product"], "currency": "usd", "unit_amount": 5, "recurring[interval]": "month"}
    for changes in (metered, {"recurring[meter]": meter}, metered | {"recurring[meter]": "mtr_no"}):
        assert sandbox.error("POST", "/v1/prices", sent | changes)[1]["param"] == "recurring[meter]"
    sandbox.post(f"/v1/billing/meters/{meter}/deactivate")
    assert sandbox.error("POST", "/v1/prices", sent | metered | {"recurring[meter]": meter})[0] == 400
