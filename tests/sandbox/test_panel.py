"""The control panel: what it shows, where its links lead, what its buttons do, and who may press them."""

import json
import re
from collections.abc import Iterator

import pytest
from werkzeug.test import TestResponse

from portal.sandbox import create_sandbox
from portal.sandbox.cards import BY_NUMBER
from portal.sandbox.hosted.panel.frame import PAGE
from tests.sandbox.driving import KEY, Driver, Json, Receiver, Wall
from tests.sandbox.test_chaos_calls import configure
from tests.sandbox.test_chaos_deliveries import settled

SECRET = "whsec_tests"
OURS = {"Sec-Fetch-Site": "same-origin"}
DAY = 86400


@pytest.fixture
def driver(receiver: Receiver, wall: Wall) -> Iterator[Driver]:
    app = create_sandbox(
        api_key=KEY, clock=wall, webhook_url=receiver.url, webhook_secret=SECRET, retry_delays=(0.02, 0.02)
    )
    yield Driver(app)
    app.extensions["sandbox"].close()


def page(driver: Driver, path: str, status: int = 200) -> str:
    response = driver.client.get(path)
    text = response.get_data(as_text=True)
    assert response.status_code == status, text
    return re.sub(r"\s+", " ", text)


def press(driver: Driver, path: str, **form: str) -> TestResponse:
    return driver.client.post(path, data=form, headers=OURS)


def links(text: str) -> set[str]:
    return set(re.findall(r'href="(/[^"]*)"', text))


def subscribed(driver: Driver) -> Json:
    """Somebody with a plan; returns their checkout session."""
    customer = driver.post("/v1/customers", {"email": "ada@example.com", "name": "Ada & Sons"})["id"]
    return driver.paid(driver.session(customer=customer))


def test_every_link_leads_somewhere(driver: Driver) -> None:
    """From the front page on, through every object and event that a purchase leaves behind."""
    subscribed(driver)
    settled(driver)
    seen: set[str] = set()
    left = ["/"]
    while left:
        path = left.pop()
        response = driver.client.get(path)
        assert response.status_code == 200, path
        text = response.get_data(as_text=True)
        if response.mimetype == "text/html" and not path.startswith(("/i/", "/r/", "/c/", "/p/")):
            assert "<script" not in text
            assert "style=" not in text
            assert "<strong>Sandbox.</strong>" in text
            left += [link for link in links(text) if not link.startswith("/static/")]
        seen.add(path)
        left = [one for one in dict.fromkeys(left) if one not in seen]
    stored = driver.count()
    assert {path.split("/")[2] for path in seen if path.startswith("/objects/")} == set(stored) - {"event"}
    assert sum(path.startswith("/events/evt_") for path in seen) == stored["event"]


def test_an_id_in_the_json_of_an_object_leads_to_that_object(driver: Driver) -> None:
    session = subscribed(driver)
    text = page(driver, f"/objects/checkout.session/{session['id']}")
    for type_name, member in (("customer", "customer"), ("subscription", "subscription"), ("invoice", "invoice")):
        assert f'<a href="/objects/{type_name}/{session[member]}">{session[member]}</a>' in text
    assert "_session" not in text
    back = page(driver, f"/objects/customer/{session['customer']}")
    assert f"/objects/subscription/{session['subscription']}" in links(back), "what names it is shown"


def test_what_customers_write_is_shown_as_text(driver: Driver) -> None:
    name = '<script>alert("x")</script>'
    customer = driver.post("/v1/customers", {"name": name, "metadata[<b>]": '"</pre>\\'})["id"]
    for path in (f"/objects/customer/{customer}", f"/stories/{customer}", "/objects/customer", "/", "/events"):
        text = page(driver, path)
        assert "<script>" not in text
        assert "<b>" not in text


def test_no_secret_is_shown(driver: Driver) -> None:
    endpoint = driver.get("/v1/webhook_endpoints")["data"][0]["id"]
    for path in ("/", f"/objects/webhook_endpoint/{endpoint}", "/objects/webhook_endpoint"):
        assert SECRET not in page(driver, path)


def test_the_log_is_filtered_and_paged(driver: Driver) -> None:
    configure(driver, rules=[{"place": "events", "fault": "drop", "count": 1000}])
    for number in range(2 * PAGE + 5):
        driver.post("/v1/customers", {"name": f"Customer {number}"})
    driver.post("/v1/products", {"name": "Pro"})
    assert "product.created" in page(driver, "/events?type=product.*")
    assert "customer.created</code></a>" not in page(driver, "/events?type=product.*")
    path, found = "/events?type=customer.*", []
    while path:
        text = page(driver, path)
        found += re.findall(r'href="/events/(evt_\w+)"', text)
        older = re.search(r'href="(\?[^"]*from=[^"]*)">Older', text)
        path = f"/events{older[1].replace('&amp;', '&')}" if older else ""
    assert found == [event["id"] for event in reversed(driver.events(type="customer.*"))]
    newer = re.search(r'href="(\?[^"]*to=[^"]*)">Newer', text)
    assert newer
    back = page(driver, f"/events{newer[1].replace('&amp;', '&')}")
    assert re.findall(r'href="/events/(evt_\w+)"', back) == found[PAGE : 2 * PAGE]
    assert "No event is like that" in page(driver, "/events?type=nothing")
    assert page(driver, "/events?from=x&to=9999999999999999999999")


def test_the_events_of_a_request(driver: Driver) -> None:
    response = driver.send("POST", "/v1/customers")
    driver.post("/v1/customers")
    text = page(driver, f"/events?request={response.headers['Request-Id']}")
    assert text.count("customer.created</code></a>") == 1


def test_an_event_shows_its_attempts_and_is_sent_again(driver: Driver, receiver: Receiver) -> None:
    receiver.statuses[:] = [500, 418, 503]
    driver.post("/v1/customers", Idempotency_Key="team-1")
    settled(driver)
    event = driver.events()[0]
    text = page(driver, f"/events/{event['id']}")
    for words in ("HTTP 500", "HTTP 418", "HTTP 503", "Failed", "team-1", "Payload", receiver.url):
        assert words in text, words
    answer = press(
        driver, f"/events/{event['id']}/resend", endpoint=driver.get("/v1/webhook_endpoints")["data"][0]["id"]
    )
    assert answer.location == f"/events/{event['id']}?note=resent"
    settled(driver)
    text = page(driver, answer.location)
    assert "Delivered" in text
    assert "It is on its way again" in text
    assert "HTTP 200" in text


def test_an_event_cannot_be_sent_where_nobody_listens(driver: Driver) -> None:
    driver.post("/v1/customers")
    event = driver.events()[0]["id"]
    assert press(driver, f"/events/{event}/resend", endpoint="we_gone").status_code == 400


def test_a_story_tells_everything_that_happened_to_a_customer_and_nothing_else(driver: Driver, wall: Wall) -> None:
    session = subscribed(driver)
    other = driver.post("/v1/customers", {"name": "Somebody else"})["id"]
    intent = driver.get("/v1/payment_intents", customer=session["customer"])["data"][0]["id"]
    wall.at += DAY
    driver.post("/v1/refunds", {"payment_intent": intent, "amount": 100})
    card = driver.get("/v1/payment_methods", customer=session["customer"])["data"][0]["id"]
    driver.post(f"/v1/payment_methods/{card}/detach")
    text = page(driver, f"/stories/{session['customer']}")
    told = re.findall(r'href="/events/(evt_\w+)"', text)
    catalog = ("product.", "price.")
    expected = [event for event in driver.events() if not event["type"].startswith(catalog)]
    assert told == [event["id"] for event in expected if event["data"]["object"].get("id") != other]
    for words in ("A refund was made", "A card was removed", "The invoice was paid", "$29.00", "Ada &amp; Sons"):
        assert words in text, words
    assert text.count("<h2>") == 2, "two days"


def test_the_clock_says_what_comes_next_and_goes_there(driver: Driver) -> None:
    price = driver.price()
    session = driver.paid(driver.session(price, **{"subscription_data[trial_period_days]": 14}))
    text = page(driver, "/clock")
    assert text.index("The end of the trial is announced") < text.index("The trial ends")
    assert f"/objects/subscription/{session['subscription']}" in links(text)
    assert press(driver, "/clock", by="next").location == "/clock?note=advanced"
    assert "customer.subscription.trial_will_end" in driver.event_types()
    press(driver, "/clock", by="next")
    assert driver.get(f"/v1/subscriptions/{session['subscription']}")["status"] == "active"
    assert "The plan renews" in page(driver, "/clock")
    press(driver, "/clock", by="next")
    assert len(driver.get("/v1/invoices", subscription=session["subscription"])["data"]) == 3


# What somebody does with a plan of a month, what the clock says is next then, and the event that comes of going there.
COMING: dict[str, tuple[Json, str]] = {
    "The plan renews": ({}, "invoice.paid"),
    "The plan ends": ({"cancel_at_period_end": "true"}, "customer.subscription.deleted"),
    "Payments go on": (
        {"pause_collection[behavior]": "void", "pause_collection[resumes_at]": 1_800_000_000 + 5 * DAY},
        "customer.subscription.updated",
    ),
}


@pytest.mark.parametrize("words", COMING)
def test_what_is_said_to_come_comes(driver: Driver, words: str) -> None:
    changes, event_type = COMING[words]
    plan = subscribed(driver)["subscription"]
    if changes:
        driver.post(f"/v1/subscriptions/{plan}", changes)
    before = driver.event_types().count(event_type)
    first = page(driver, "/clock").partition("<tbody>")[2].partition("</tr>")[0]
    assert words in first
    assert plan in first
    press(driver, "/clock", by="next")
    assert driver.event_types().count(event_type) == before + 1


def test_an_open_checkout_is_said_to_expire(driver: Driver) -> None:
    session = driver.session()["id"]
    text = page(driver, "/clock")
    assert "The checkout page expires" in text
    assert session in text
    press(driver, "/clock", by="next")
    assert driver.get(f"/v1/checkout/sessions/{session}")["status"] == "expired"
    assert "Nothing is to come" in page(driver, "/clock")


def test_the_clock_moves_by_a_day_and_by_a_month(driver: Driver, wall: Wall) -> None:
    wall.at = 1_801_353_600  # 31 January 2027
    headers = {"Authorization": f"Bearer {KEY}"}

    def offset() -> int:
        return int(json.loads(driver.client.get("/_sandbox/clock", headers=headers).data)["offset_seconds"])

    press(driver, "/clock", by="day")
    assert offset() == DAY
    press(driver, "/clock", by="month")
    assert offset() == 29 * DAY
    assert press(driver, "/clock", by="next").status_code == 400
    assert press(driver, "/clock", by="year").status_code == 400
    assert offset() == 29 * DAY


def test_the_switches_of_chaos(driver: Driver) -> None:
    press(driver, "/chaos", act="add", kind="calls too_many", match="GET /v1/products*", times="1")
    press(driver, "/chaos", act="add", kind="events duplicate", chance="30", milliseconds="", count="2")
    press(driver, "/chaos", act="seed", seed="7")
    press(driver, "/chaos", act="rate", rate_limit="25")
    known = configure(driver)
    assert (known["seed"], known["rate_limit"]) == (7, 25)
    assert [(rule["fault"], rule["match"], rule["chance"]) for rule in known["rules"]] == [
        ("too_many", "GET /v1/products*", 100),
        ("duplicate", "*", 30),
    ]
    assert [driver.send("GET", "/v1/products").status_code for _ in range(2)] == [429, 200]
    text = page(driver, "/chaos")
    assert "429: too many requests" in text
    assert "GET /v1/products</code>" in text, "what was broken is shown"
    press(driver, "/chaos", act="remove", number="1")
    assert [rule["fault"] for rule in configure(driver)["rules"]] == ["duplicate"]
    assert press(driver, "/chaos", act="add", kind="calls reorder").status_code == 400
    assert press(driver, "/chaos", act="add", kind="calls delay", chance="often").status_code == 400
    press(driver, "/chaos", act="end")
    assert (configure(driver)["rules"], configure(driver)["rate_limit"]) == ([], 0)


def test_a_secret_is_rolled_and_shown_once(driver: Driver, receiver: Receiver) -> None:
    endpoint = driver.get("/v1/webhook_endpoints")["data"][0]["id"]
    path = f"/objects/webhook_endpoint/{endpoint}"
    shown = press(driver, f"{path}/secret", overlap="day").get_data(as_text=True)
    (secret,) = re.findall(r"whsec_\w+", shown)
    assert "signed with two secrets" in shown
    assert secret not in page(driver, path)
    driver.post("/v1/customers")
    assert receiver.wait_for(1)[0][0].count("v1=") == 2
    press(driver, f"{path}/secret", overlap="none")
    assert "signed with one secret" in page(driver, path)


def test_all_test_cards_are_shown(driver: Driver) -> None:
    text = page(driver, "/cards").replace(" ", "")
    for number in BY_NUMBER:
        assert number in text


FORMS = ("/clock", "/chaos", "/events/evt_1/resend", "/objects/webhook_endpoint/we_1/secret")
STRANGERS: tuple[dict[str, str], ...] = (
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "same-origin", "Host": "evil.example:12111"},
    {"Origin": "http://evil.example", "Host": "evil.example"},
)


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
@pytest.mark.parametrize("path", FORMS)
def test_no_other_site_presses_a_button(driver: Driver, path: str, headers: dict[str, str]) -> None:
    before = driver.count()
    answer = driver.client.post(path, data={"by": "day", "act": "rate", "rate_limit": "1"}, headers=headers)
    assert answer.status_code == 403
    assert driver.count() == before
    assert configure(driver)["rate_limit"] == 0


def test_an_older_browser_says_where_it_comes_from(driver: Driver) -> None:
    answer = driver.client.post("/clock", data={"by": "day"}, headers={"Origin": "http://localhost"})
    assert answer.status_code == 303


@pytest.mark.parametrize("path", ["/objects/nothing", "/objects/customer/cus_1", "/events/evt_1", "/stories/cus_1"])
def test_what_is_not_there_is_said(driver: Driver, path: str) -> None:
    assert "Go back" in page(driver, path, 404)


JANUARY = 1_893_456_000
CLOCKS = "/v1/test_helpers/test_clocks"


def _on_a_clock(driver: Driver) -> tuple[str, Json]:
    """Somebody with a plan by the month who lives by a test clock; returns the clock's id and the plan."""
    clock = driver.post(CLOCKS, {"frozen_time": JANUARY, "name": "A year"})["id"]
    customer = driver.post("/v1/customers", {"test_clock": clock, "payment_method": "pm_card_visa"})["id"]
    card = driver.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    order = {"customer": customer, "items[0][price]": driver.price()["id"], "default_payment_method": card}
    return clock, driver.post("/v1/subscriptions", order)


def test_a_test_clock_is_moved_by_a_day_by_a_month_and_to_what_comes_next(driver: Driver) -> None:
    clock, plan = _on_a_clock(driver)

    def time() -> int:
        known = driver.get(f"{CLOCKS}/{clock}")
        assert known["status"] == "ready"
        return int(known["frozen_time"])

    text = page(driver, "/clock")
    for words in ("A year", "2030-01-01 00:00:00", "The plan renews"):
        assert words in text.partition("Test clocks")[2], words
    assert "Nothing is to come" in text, "the sandbox's own clock does not move it"
    assert f"/objects/test_helpers.test_clock/{clock}" in links(text)
    assert press(driver, "/clock", by="day", clock=clock).location == "/clock?note=advanced"
    page(driver, "/clock?note=advanced")
    assert time() == JANUARY + DAY
    press(driver, "/clock", by="next", clock=clock)
    page(driver, "/clock")
    assert time() == plan["items"]["data"][0]["current_period_end"]
    assert len(driver.get("/v1/invoices", subscription=plan["id"])["data"]) == 2
    press(driver, "/clock", by="month", clock=clock)
    page(driver, "/clock")
    assert time() == JANUARY + (31 + 28) * DAY
    assert len(driver.get("/v1/invoices", subscription=plan["id"])["data"]) == 3


def test_what_a_test_clock_cannot_do_is_said(driver: Driver) -> None:
    clock = driver.post(CLOCKS, {"frozen_time": JANUARY})["id"]
    assert "Test clocks" in page(driver, "/clock")
    assert press(driver, "/clock", by="next", clock=clock).status_code == 400
    assert press(driver, "/clock", by="day", clock="clock_none").status_code == 404
    driver.call("DELETE", f"{CLOCKS}/{clock}")
    assert "Test clocks" not in page(driver, "/clock")


def test_a_test_clock_gets_as_far_as_one_step_may_lead_it(driver: Driver) -> None:
    clock = driver.post(CLOCKS, {"frozen_time": JANUARY})["id"]
    customer = driver.post("/v1/customers", {"test_clock": clock, "payment_method": "pm_card_visa"})["id"]
    price = driver.price(interval="day")["id"]
    driver.post("/v1/subscriptions", {"customer": customer, "items[0][price]": price, "trial_period_days": 30})
    for by, days in (("next", 2), ("month", 4)):
        assert press(driver, "/clock", by=by, clock=clock).status_code == 303
        page(driver, "/clock")
        assert driver.get(f"{CLOCKS}/{clock}")["frozen_time"] == JANUARY + days * DAY
