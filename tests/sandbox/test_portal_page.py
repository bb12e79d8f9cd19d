"""The hosted customer portal: what people see and do there, and the events that follow."""

import re

import pytest

from tests.sandbox.driving import DECLINED_CARD, GOOD_CARD, PORTAL, Driver, Json, Wall
from tests.sandbox.visiting import Portal, open_portal

MASTERCARD = GOOD_CARD | {"card_number": "5555 5555 5555 4444"}


@pytest.fixture
def portal(sandbox: Driver) -> Portal:
    sandbox.post("/v1/billing_portal/configurations", PORTAL)
    customer = sandbox.post("/v1/customers", {"email": "ada@example.com", "name": "Ada"})["id"]
    paid = sandbox.paid(sandbox.session(customer=customer))
    return Portal(sandbox, customer, paid["subscription"], open_portal(sandbox, customer))


def test_the_home_page(portal: Portal) -> None:
    invoice = portal.sandbox.get("/v1/invoices", customer=portal.customer)["data"][0]
    page = portal.page()
    for words in (
        "Sandbox.",
        "Manage your plan",
        "Pro",
        "Active",
        "$29.00 / month",
        "Renews on 15 February 2027 for $29.00.",
        "Visa •••• 4242",
        "Expires 12/2034",
        invoice["number"],
        f'href="/i/{invoice["id"]}"',
        f'href="/i/{invoice["id"]}/pdf"',
        "ada@example.com",
        'href="http://127.0.0.1:9/billing"',
        'href="https://example.com/privacy"',
    ):
        assert words in page, words


def test_what_is_not_switched_on_is_not_there(portal: Portal) -> None:
    only = portal.sandbox.post("/v1/billing_portal/configurations", {"features[invoice_history][enabled]": "true"})
    portal.path = open_portal(portal.sandbox, portal.customer, configuration=only["id"])
    page = portal.page()
    assert "Invoices" in page
    assert "Cancel plan" not in page
    assert "Payment method" not in page
    assert "Billing details" not in page
    for step in ("customer", "payment-methods/add", f"subscriptions/{portal.subscription}/cancel"):
        assert portal.post(step).status_code == 404
    assert portal.plan()["cancel_at"] is None


def test_cancelling_keeps_the_plan_to_the_end_of_the_period(portal: Portal) -> None:
    step = f"subscriptions/{portal.subscription}/cancel"
    page = portal.page(step)
    assert "You keep your plan until 15 February 2027" in page
    assert re.findall(r'name="feedback" value="(\w+)"', page) == ["too_expensive", "unused", "other"]
    before = portal.count()
    response = portal.post(step, {"feedback": "too_expensive", "comment": " Too dear. "})
    assert (response.status_code, response.location) == (303, f"{portal.path}?note=ending")
    plan = portal.plan()
    # Flexible billing: the instant is set, and the old switch stays as it was.
    assert plan["cancel_at"] == plan["items"]["data"][0]["current_period_end"]
    assert (plan["cancel_at_period_end"], plan["status"]) == (False, "active")
    assert plan["cancellation_details"] == {
        "comment": "Too dear.",
        "feedback": "too_expensive",
        "feedback_option": None,
        "reason": "cancellation_requested",
    }
    assert portal.types_after(before) == ["customer.subscription.updated"]
    previous = portal.sandbox.events()[-1]["data"]["previous_attributes"]
    assert previous["cancel_at"] is None
    assert previous["cancellation_details"] == {"comment": None, "feedback": None, "reason": None}
    page = portal.page()
    assert "You keep your plan until 15 February 2027. It does not renew." in page
    assert portal.post(step).status_code == 409


def test_a_reason_that_was_not_offered_is_not_kept(portal: Portal) -> None:
    portal.post(f"subscriptions/{portal.subscription}/cancel", {"feedback": "low_quality"})
    assert portal.plan()["cancellation_details"]["feedback"] is None
    assert portal.plan()["cancel_at"] is not None


def test_dont_cancel(portal: Portal) -> None:
    portal.post(f"subscriptions/{portal.subscription}/cancel", {"feedback": "unused"})
    assert "Don't cancel" in portal.page()
    before = portal.count()
    assert portal.post(f"subscriptions/{portal.subscription}/keep").status_code == 303
    plan = portal.plan()
    assert (plan["cancel_at"], plan["canceled_at"]) == (None, None)
    assert set(plan["cancellation_details"].values()) == {None}
    assert portal.types_after(before) == ["customer.subscription.updated"]
    assert "Cancel plan" in portal.page()


def test_cancelling_at_once(portal: Portal) -> None:
    made = portal.sandbox.get("/v1/billing_portal/configurations")["data"][0]["id"]
    path = f"/v1/billing_portal/configurations/{made}"
    portal.sandbox.post(path, {"features[subscription_cancel][mode]": "immediately"})
    step = f"subscriptions/{portal.subscription}/cancel"
    assert "Your plan ends at once" in portal.page(step)
    portal.post(step, {"feedback": "other"})
    assert portal.plan()["status"] == "canceled"
    assert portal.sandbox.event_types()[-1] == "customer.subscription.deleted"
    assert "You have no plan at the moment." in portal.page()
    assert portal.post(f"subscriptions/{portal.subscription}/keep").status_code == 409


def test_changing_the_card(portal: Portal) -> None:
    before, own = portal.count(), portal.plan()["default_payment_method"]
    response = portal.post("payment-methods/add", MASTERCARD)
    assert (response.status_code, response.location) == (303, f"{portal.path}?note=card")
    assert portal.types_after(before) == [
        "setup_intent.created",
        "payment_method.attached",
        "setup_intent.succeeded",
        "customer.updated",
    ]
    assert portal.plan()["default_payment_method"] == own, "a subscription's own card goes on paying"
    new = portal.default()
    assert new != own
    card = portal.sandbox.get(f"/v1/payment_methods/{new}")
    assert (card["card"]["brand"], card["customer"]) == ("mastercard", portal.customer)
    assert card["billing_details"]["email"] == "ada@example.com"
    intent = portal.sandbox.get("/v1/setup_intents", customer=portal.customer)["data"][0]
    assert (intent["status"], intent["payment_method"]) == ("succeeded", new)
    assert portal.sandbox.get(f"/v1/setup_intents/{intent['id']}") == intent
    assert "Mastercard •••• 4444" in portal.page()


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        (DECLINED_CARD, 402, "Your card was declined."),
        (GOOD_CARD | {"card_number": "4000 0000 0000 0069"}, 402, "Your card has expired."),
        (GOOD_CARD | {"card_number": "4111 1111 1111 1111"}, 402, "This sandbox takes test cards only."),
        (GOOD_CARD | {"card_number": "4242"}, 422, "This card number is not complete or not valid."),
        (GOOD_CARD | {"cvc": ""}, 422, "Enter the 3 digits of the security code."),
    ],
)
def test_a_card_that_is_refused_changes_nothing(portal: Portal, form: Json, status: int, words: str) -> None:
    before = portal.plan()["default_payment_method"]
    response = portal.post("payment-methods/add", form)
    page = response.get_data(as_text=True)
    assert response.status_code == status
    assert words in page
    assert "Your card was not changed" in page
    assert portal.plan()["default_payment_method"] == before
    listed = portal.sandbox.get("/v1/payment_methods", customer=portal.customer)["data"]
    assert [card["id"] for card in listed] == [before]


def test_a_refused_card_leaves_its_intent(portal: Portal) -> None:
    portal.post("payment-methods/add", DECLINED_CARD)
    intent = portal.sandbox.get("/v1/setup_intents", customer=portal.customer)["data"][0]
    assert (intent["status"], intent["last_setup_error"]["decline_code"]) == (
        "requires_payment_method",
        "generic_decline",
    )
    assert portal.sandbox.event_types()[-2:] == ["setup_intent.created", "setup_intent.setup_failed"]


def test_the_old_card_can_be_chosen_again_or_removed(portal: Portal) -> None:
    old = portal.plan()["default_payment_method"]
    portal.post("payment-methods/add", MASTERCARD)
    new = portal.default()
    assert portal.post(f"payment-methods/{old}/default").status_code == 303
    assert portal.default() == old
    refused = portal.post(f"payment-methods/{old}/remove")
    assert (refused.status_code, "it was not removed" in refused.get_data(as_text=True)) == (409, True)
    before = portal.count()
    assert portal.post(f"payment-methods/{new}/remove").status_code == 303
    assert portal.types_after(before) == ["payment_method.detached"]
    assert "4444" not in portal.page()


def test_nobody_reaches_what_is_another_customers(portal: Portal) -> None:
    other = portal.sandbox.post("/v1/customers", {"email": "bob@example.com"})["id"]
    theirs = portal.sandbox.paid(portal.sandbox.session(customer=other))["subscription"]
    card = portal.sandbox.get(f"/v1/subscriptions/{theirs}")["default_payment_method"]
    before = portal.count()
    for step in (
        f"subscriptions/{theirs}/cancel",
        f"subscriptions/{theirs}/keep",
        f"payment-methods/{card}/default",
        f"payment-methods/{card}/remove",
    ):
        assert portal.post(step).status_code == 409
    assert portal.count() == before


def test_changing_the_billing_details(portal: Portal) -> None:
    form = {"name": "Ada Ltd", "email": "bills@example.com", "line1": "1 Road", "city": "Bonn", "country": "de"}
    assert portal.post("customer", form | {"email": "nobody"}).status_code == 422
    assert portal.post("customer", form | {"country": "Germany"}).status_code == 422
    before = portal.count()
    assert portal.post("customer", form | {"phone": "not allowed here"}).status_code == 303
    assert portal.types_after(before) == ["customer.updated"]
    customer = portal.sandbox.get(f"/v1/customers/{portal.customer}")
    assert (customer["name"], customer["email"], customer["phone"]) == ("Ada Ltd", "bills@example.com", None)
    assert customer["address"] | {"line1": "1 Road", "city": "Bonn", "country": "DE"} == customer["address"]
    assert "1 Road, Bonn, DE" in portal.page()
    assert 'value="Ada Ltd"' in portal.page("customer")


def test_what_was_entered_is_text(portal: Portal) -> None:
    portal.post("customer", {"name": "<b>Ada</b>", "email": "ada@example.com"})
    page = portal.page()
    assert "&lt;b&gt;Ada" in page
    assert "<b>Ada" not in page


def test_an_address_is_good_for_a_short_time(portal: Portal, wall: Wall) -> None:
    unused = open_portal(portal.sandbox, portal.customer)
    wall.at += 240
    portal.page()
    wall.at += 120
    assert portal.sandbox.client.get(unused).status_code == 410
    wall.at += 3000
    portal.page()
    wall.at += 3500
    portal.page()
    wall.at += 3600
    for response in (portal.get(), portal.post(f"subscriptions/{portal.subscription}/cancel")):
        assert response.status_code == 410
        assert "nothing was changed" in response.get_data(as_text=True)
    assert portal.plan()["cancel_at"] is None
    assert portal.sandbox.client.get("/p/session/no").status_code == 410


def test_a_flow_goes_straight_to_its_step_and_home_afterwards(portal: Portal) -> None:
    subscription = {"flow_data[subscription_cancel][subscription]": portal.subscription}
    portal.path = open_portal(
        portal.sandbox, portal.customer, **{"flow_data[type]": "subscription_cancel"}, **subscription
    )
    step = f"subscriptions/{portal.subscription}/cancel"
    assert portal.get().location == f"{portal.path}/{step}"
    assert 'href="http://127.0.0.1:9/billing"' in portal.page(step)
    assert portal.post(step, {"feedback": "other"}).location == f"{portal.path}?note=ending"
    assert "Your plan is set to end." in portal.page("?note=ending")


def test_a_flow_leads_away_afterwards(portal: Portal) -> None:
    data = {
        "flow_data[type]": "payment_method_update",
        "flow_data[after_completion][type]": "redirect",
        "flow_data[after_completion][redirect][return_url]": "http://127.0.0.1:9/back?card=1",
    }
    path = open_portal(portal.sandbox, portal.customer, **data)
    client = portal.sandbox.client
    form = client.get(f"{path}/payment-methods/add")
    assert "form-action 'self' http://127.0.0.1:9" in form.headers["Content-Security-Policy"]
    assert client.post(f"{path}/payment-methods/add", data=DECLINED_CARD).status_code == 402
    assert client.post(f"{path}/payment-methods/add", data=GOOD_CARD).location == "http://127.0.0.1:9/back?card=1"


def test_a_flow_ends_with_words_of_its_own(portal: Portal) -> None:
    data = {
        "flow_data[type]": "customer_update",
        "flow_data[after_completion][type]": "hosted_confirmation",
        "flow_data[after_completion][hosted_confirmation][custom_message]": "All <set>.",
    }
    path = open_portal(portal.sandbox, portal.customer, **data)
    client = portal.sandbox.client
    assert client.get(f"{path}/done").status_code == 303
    response = client.post(f"{path}/customer", data={"name": "Ada", "email": "ada@example.com"})
    assert response.location == f"{path}/done?note=details"
    assert "All &lt;set&gt;." in client.get(response.location).get_data(as_text=True)


def test_portal_pages_need_no_script_and_keep_to_themselves(portal: Portal) -> None:
    for step in ("", "customer", "payment-methods/add", f"subscriptions/{portal.subscription}/cancel"):
        response = portal.get(step)
        page = response.get_data(as_text=True)
        assert "<script" not in page
        assert "style=" not in page
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        assert "form-action 'self'" in response.headers["Content-Security-Policy"]
