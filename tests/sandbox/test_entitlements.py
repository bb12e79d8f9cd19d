"""Entitlements: features of products become what customers may do, as long as they subscribe."""

import pytest

from tests.sandbox.driving import Driver, Json

FEATURES = "/v1/entitlements/features"
UPDATED = "entitlements.active_entitlement_summary.updated"


def feature(sandbox: Driver, key: str) -> str:
    return str(sandbox.post(FEATURES, {"lookup_key": key, "name": key.capitalize()})["id"])


def priced(sandbox: Driver, *keys: str) -> Json:
    """A monthly price of a product with new features under these keys."""
    price = sandbox.price()
    for key in keys:
        sandbox.post(f"/v1/products/{price['product']}/features", {"entitlement_feature": feature(sandbox, key)})
    return price


def may(sandbox: Driver, customer: str) -> list[str]:
    found = sandbox.get("/v1/entitlements/active_entitlements", customer=customer, limit=100)["data"]
    return sorted(one["lookup_key"] for one in found)


def told(sandbox: Driver) -> list[list[str]]:
    """What each summary that was sent says, the oldest first."""
    events = [event for event in sandbox.events() if event["type"] == UPDATED]
    return [sorted(one["lookup_key"] for one in event["data"]["object"]["entitlements"]["data"]) for event in events]


def test_features_and_their_keys(sandbox: Driver) -> None:
    made = sandbox.post(FEATURES, {"lookup_key": "api", "name": "API access", "metadata[tier]": "2"})
    assert (made["active"], made["metadata"]) == (True, {"tier": "2"})
    assert sandbox.error("POST", FEATURES, {"lookup_key": "api", "name": "Again"})[1]["param"] == "lookup_key"
    path = f"{FEATURES}/{made['id']}"
    assert sandbox.post(path, {"name": "API", "active": "false"})["name"] == "API"
    assert sandbox.error("POST", path, {"active": "true"})[0] == 400
    again = feature(sandbox, "api")
    assert [one["id"] for one in sandbox.get(FEATURES, archived="false")["data"]] == [again]
    assert [one["id"] for one in sandbox.get(FEATURES, archived="true")["data"]] == [made["id"]]
    assert len(sandbox.get(FEATURES, lookup_key="api")["data"]) == 2


def test_a_product_has_a_feature_once(sandbox: Driver) -> None:
    price, other = priced(sandbox, "api"), sandbox.price()
    path = f"/v1/products/{price['product']}/features"
    attached = sandbox.get(path)["data"][0]
    assert attached["entitlement_feature"]["lookup_key"] == "api"
    again = {"entitlement_feature": attached["entitlement_feature"]["id"]}
    assert sandbox.error("POST", path, again)[1]["code"] == "resource_already_exists"
    assert sandbox.error("POST", path, {"entitlement_feature": "feat_no"})[1]["code"] == "resource_missing"
    assert sandbox.error("GET", f"/v1/products/{other['product']}/features/{attached['id']}")[0] == 404
    assert sandbox.error("DELETE", f"/v1/products/{other['product']}/features/{attached['id']}")[0] == 404
    assert sandbox.get(f"{path}/{attached['id']}") == attached
    assert sandbox.call("DELETE", f"{path}/{attached['id']}")["deleted"] is True
    assert sandbox.get(path)["data"] == []
    sandbox.post(f"{FEATURES}/{again['entitlement_feature']}", {"active": "false"})
    assert sandbox.error("POST", path, again)[1]["param"] == "entitlement_feature"


def test_who_subscribes_may_and_who_ends_may_not(sandbox: Driver) -> None:
    paid = sandbox.paid(sandbox.session(priced(sandbox, "api", "export")))
    customer = paid["customer"]
    assert may(sandbox, customer) == ["api", "export"]
    types = sandbox.event_types()
    assert types.index("customer.subscription.created") + 1 == types.index(UPDATED)
    sandbox.call("DELETE", f"/v1/subscriptions/{paid['subscription']}")
    assert may(sandbox, customer) == []
    assert told(sandbox) == [["api", "export"], []]
    last = [event for event in sandbox.events() if event["type"] == UPDATED][-1]["data"]
    assert len(last["previous_attributes"]["entitlements"]["data"]) == 2
    assert (last["object"]["customer"], "id" in last["object"]) == (customer, False)


def test_a_feature_of_two_plans_stays_until_both_end(sandbox: Driver) -> None:
    first, second = priced(sandbox, "api"), sandbox.price()
    shared = sandbox.get(FEATURES)["data"][0]["id"]
    sandbox.post(f"/v1/products/{second['product']}/features", {"entitlement_feature": shared})
    customer = sandbox.post("/v1/customers", {"payment_method": "pm_card_visa"})["id"]
    card = sandbox.get("/v1/payment_methods", customer=customer)["data"][0]["id"]
    orders = [
        sandbox.post(
            "/v1/subscriptions",
            {"customer": customer, "items[0][price]": price["id"], "default_payment_method": card},
        )["id"]
        for price in (first, second)
    ]
    for ended, left in zip(orders, (["api"], []), strict=True):
        sandbox.call("DELETE", f"/v1/subscriptions/{ended}")
        assert may(sandbox, customer) == left
    assert told(sandbox) == [["api"], []]


@pytest.mark.parametrize("attach", [True, False])
def test_what_changes_on_a_product_comes_with_the_next_period(sandbox: Driver, attach: bool) -> None:
    price = priced(sandbox, "api")
    customer = sandbox.paid(sandbox.session(price))["customer"]
    path = f"/v1/products/{price['product']}/features"
    if attach:
        sandbox.post(path, {"entitlement_feature": feature(sandbox, "export")})
    else:
        sandbox.call("DELETE", f"{path}/{sandbox.get(path)['data'][0]['id']}")
    assert may(sandbox, customer) == ["api"]
    subscription = sandbox.get("/v1/subscriptions", customer=customer)["data"][0]["id"]
    sandbox.post(f"/v1/subscriptions/{subscription}", {"metadata[seen]": "1"})
    assert may(sandbox, customer) == ["api"]
    sandbox.pass_by(32)
    later = ["api", "export"] if attach else []
    assert may(sandbox, customer) == later
    assert told(sandbox) == [["api"], later]


def test_a_first_payment_that_failed_gives_nothing(sandbox: Driver) -> None:
    price = priced(sandbox, "api")
    customer = sandbox.post("/v1/customers")["id"]
    cards = [
        sandbox.post(f"/v1/payment_methods/pm_card_{name}/attach", {"customer": customer})["id"]
        for name in ("chargeCustomerFail", "visa")
    ]
    order = {"customer": customer, "items[0][price]": price["id"], "default_payment_method": cards[0]}
    begun = sandbox.post("/v1/subscriptions", order)
    assert (begun["status"], may(sandbox, customer)) == ("incomplete", [])
    sandbox.post(f"/v1/invoices/{begun['latest_invoice']}/pay", {"payment_method": cards[1]})
    assert may(sandbox, customer) == ["api"]
    sandbox.post(f"/v1/subscriptions/{begun['id']}", {"default_payment_method": cards[0]})
    sandbox.pass_by(32)
    assert sandbox.get(f"/v1/subscriptions/{begun['id']}")["status"] == "past_due"
    assert may(sandbox, customer) == ["api"]


def test_a_pause_takes_and_going_on_gives(sandbox: Driver) -> None:
    paid = sandbox.paid(sandbox.session(priced(sandbox, "api")))
    path = f"/v1/subscriptions/{paid['subscription']}"
    sandbox.post(f"{path}/pause")
    assert may(sandbox, paid["customer"]) == []
    sandbox.post(f"{path}/resume")
    assert may(sandbox, paid["customer"]) == ["api"]


def test_the_summary_holds_ten_and_the_list_all(sandbox: Driver) -> None:
    keys = [f"f{number:02d}" for number in range(12)]
    customer = sandbox.paid(sandbox.session(priced(sandbox, *keys)))["customer"]
    summary = next(event for event in sandbox.events() if event["type"] == UPDATED)["data"]["object"]
    assert (len(summary["entitlements"]["data"]), summary["entitlements"]["has_more"]) == (10, True)
    assert may(sandbox, customer) == keys


def test_it_is_told_thin_and_in_the_customers_story(sandbox: Driver) -> None:
    customer = sandbox.paid(sandbox.session(priced(sandbox, "api")))["customer"]
    event = next(event for event in sandbox.events() if event["type"] == UPDATED)
    stored = sandbox.app.extensions["sandbox"].store.get("event", event["id"])
    thin = sandbox.get(f"/v2/core/events/{stored['_thin_id']}")
    assert thin["type"] == f"v1.{UPDATED}"
    for page in ("/", "/events", f"/events/{event['id']}", f"/stories/{customer}", "/objects"):
        assert sandbox.client.get(page).status_code == 200
    assert "What the customer may do changed" in sandbox.client.get(f"/stories/{customer}").get_data(as_text=True)
