"""The customer portal through the API: configurations, and sessions that lead into it."""

import pytest

from tests.sandbox.driving import PORTAL, Driver, Json

CONFIGURATIONS = "/v1/billing_portal/configurations"
SESSIONS = "/v1/billing_portal/sessions"


@pytest.fixture
def customer(sandbox: Driver) -> str:
    return str(sandbox.post("/v1/customers", {"email": "ada@example.com"})["id"])


def test_what_is_not_sent_is_switched_off(sandbox: Driver) -> None:
    made = sandbox.post(CONFIGURATIONS, {"features[invoice_history][enabled]": "true"})
    enabled = {name: feature["enabled"] for name, feature in made["features"].items()}
    assert enabled == {
        "customer_update": False,
        "invoice_history": True,
        "payment_method_update": False,
        "subscription_cancel": False,
        "subscription_pause": False,
        "subscription_update": False,
    }
    assert made["features"]["subscription_cancel"]["mode"] == "at_period_end"
    assert sandbox.event_types() == ["billing_portal.configuration.created"]


def test_an_update_changes_only_what_it_names(sandbox: Driver) -> None:
    made = sandbox.post(CONFIGURATIONS, PORTAL)
    path = f"{CONFIGURATIONS}/{made['id']}"
    after = sandbox.post(path, {"features[subscription_cancel][mode]": "immediately", "metadata[v]": "2"})
    event = sandbox.events()[-1]
    assert event["type"] == "billing_portal.configuration.updated"
    assert event["data"]["previous_attributes"] == {
        "features": {"subscription_cancel": {"mode": "at_period_end"}},
        "metadata": {"v": None},
    }
    assert after["features"]["subscription_cancel"] == made["features"]["subscription_cancel"] | {"mode": "immediately"}
    assert sandbox.get(path) == after
    number = len(sandbox.events())
    sandbox.post(path, {"metadata[v]": "2"})
    assert len(sandbox.events()) == number


def test_the_first_configuration_is_the_default(sandbox: Driver) -> None:
    first, second = (sandbox.post(CONFIGURATIONS, PORTAL) for _ in range(2))
    assert (first["is_default"], second["is_default"]) == (True, False)
    assert [one["id"] for one in sandbox.get(CONFIGURATIONS, is_default="true")["data"]] == [first["id"]]
    assert sandbox.error("POST", f"{CONFIGURATIONS}/{first['id']}", {"active": "false"})[1]["param"] == "active"
    sandbox.post(f"{CONFIGURATIONS}/{second['id']}", {"active": "false"})
    assert [one["id"] for one in sandbox.get(CONFIGURATIONS, active="true")["data"]] == [first["id"]]


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"features": ""}, "features"),
        ({"features[customer_update][enabled]": "true"}, "features[customer_update][allowed_updates]"),
        (
            {
                "features[subscription_cancel][enabled]": "true",
                "features[subscription_cancel][cancellation_reason][enabled]": "true",
            },
            "features[subscription_cancel][cancellation_reason][options]",
        ),
        (
            {
                "features[subscription_cancel][enabled]": "true",
                "features[subscription_cancel][proration_behavior]": "always_invoice",
            },
            "features[subscription_cancel][proration_behavior]",
        ),
        (
            {
                "features[subscription_cancel][enabled]": "true",
                "features[subscription_cancel][proration_behavior]": "create_prorations",
            },
            "features[subscription_cancel][proration_behavior]",
        ),
        (
            {
                "features[subscription_pause][enabled]": "true",
                "features[subscription_pause][duration][type]": "interval_options",
                "features[subscription_pause][duration][interval_options]": "",
            },
            "features[subscription_pause][duration][interval_options]",
        ),
        ({"features[subscription_update][enabled]": "true"}, "features[subscription_update][default_allowed_updates]"),
        ({"features[invoice_history][enabled]": "true", "login_page[enabled]": "true"}, "login_page[enabled]"),
        (
            {"features[invoice_history][enabled]": "true", "business_profile[headline]": "x" * 61},
            "business_profile[headline]",
        ),
        ({"features[payment_history][enabled]": "true"}, "features[payment_history]"),
    ],
)
def test_configurations_that_are_refused(sandbox: Driver, sent: Json, param: str) -> None:
    status, error = sandbox.error("POST", CONFIGURATIONS, sent)
    assert (status, error["param"]) == (400, param)
    assert "billing_portal.configuration" not in sandbox.count()


def test_plan_changes_name_prices_of_their_products(sandbox: Driver) -> None:
    price, other = sandbox.price(), sandbox.price(name="Other")
    prefix = "features[subscription_update]"
    sent = {
        f"{prefix}[enabled]": "true",
        f"{prefix}[default_allowed_updates][0]": "price",
        f"{prefix}[products][0][product]": price["product"],
        f"{prefix}[products][0][prices][0]": price["id"],
    }
    update = sandbox.post(CONFIGURATIONS, sent)["features"]["subscription_update"]
    assert update["products"] == [
        {
            "adjustable_quantity": {"enabled": False, "maximum": None, "minimum": 1},
            "prices": [price["id"]],
            "product": price["product"],
        }
    ]
    wrong = sent | {f"{prefix}[products][0][prices][0]": other["id"]}
    assert sandbox.error("POST", CONFIGURATIONS, wrong)[1]["param"] == f"{prefix}[products][0][prices][0]"


def test_a_session_leads_to_a_page_nobody_can_guess(sandbox: Driver, customer: str) -> None:
    made = sandbox.post(CONFIGURATIONS, PORTAL)
    one, two = (sandbox.post(SESSIONS, {"customer": customer}) for _ in range(2))
    assert (one["customer"], one["configuration"], one["flow"]) == (customer, made["id"], None)
    assert one["return_url"] == made["default_return_url"]
    assert one["url"] != two["url"]
    assert one["id"] not in one["url"]
    token = one["url"].removeprefix("http://127.0.0.1:12111/p/session/")
    assert len(token) >= 32
    assert sandbox.event_types()[-1] == "billing_portal.session.created"


def test_sessions_that_are_refused(sandbox: Driver, customer: str) -> None:
    status, error = sandbox.error("POST", SESSIONS, {"customer": customer})
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert "No configuration provided" in error["message"]
    sandbox.post(CONFIGURATIONS, PORTAL)
    off = sandbox.post(CONFIGURATIONS, {"features[invoice_history][enabled]": "true"})["id"]
    gone = sandbox.post(CONFIGURATIONS, PORTAL)["id"]
    sandbox.post(f"{CONFIGURATIONS}/{gone}", {"active": "false"})
    stranger = sandbox.get(f"/v1/checkout/sessions/{sandbox.paid(sandbox.session())['id']}")["subscription"]
    cancel = {"flow_data[type]": "subscription_cancel"}
    subscription = "flow_data[subscription_cancel][subscription]"
    for sent, param, code in (
        ({"customer": "cus_no"}, "customer", "resource_missing"),
        ({"configuration": "bpc_no"}, "configuration", "resource_missing"),
        ({"configuration": gone}, "configuration", None),
        ({"configuration": off, "flow_data[type]": "payment_method_update"}, "flow_data[type]", None),
        (cancel, subscription, "parameter_missing"),
        (cancel | {subscription: "sub_no"}, subscription, "resource_missing"),
        (cancel | {subscription: stranger}, subscription, None),
        ({"return_url": "javascript:alert(1)"}, "return_url", "url_invalid"),
        ({"flow_data[type]": "subscription_update"}, "flow_data[type]", None),
    ):
        status, error = sandbox.error("POST", SESSIONS, {"customer": customer} | sent)
        assert (status, error["param"], error.get("code")) == (400, param, code), sent


def test_a_flow_says_where_it_ends(sandbox: Driver, customer: str) -> None:
    sandbox.post(CONFIGURATIONS, PORTAL)
    flow = {"customer": customer, "flow_data[type]": "payment_method_update"}
    after = "flow_data[after_completion]"
    home = sandbox.post(SESSIONS, flow)["flow"]
    assert home["after_completion"] == {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage"}
    away = flow | {f"{after}[type]": "redirect", f"{after}[redirect][return_url]": "https://example.com/done"}
    assert sandbox.post(SESSIONS, away)["flow"]["after_completion"]["redirect"]["return_url"].endswith("/done")
    assert sandbox.error("POST", SESSIONS, flow | {f"{after}[type]": "redirect"})[1]["code"] == "parameter_missing"
