"""Products and prices."""

import pytest

from tests.sandbox.driving import Driver


def test_products_may_choose_their_id(sandbox: Driver) -> None:
    assert sandbox.post("/v1/products", {"id": "tp_pro", "name": "Pro"})["id"] == "tp_pro"
    status, error = sandbox.error("POST", "/v1/products", {"id": "tp_pro", "name": "Pro"})
    assert (status, error["code"]) == (400, "resource_already_exists")
    assert sandbox.post("/v1/products", {"name": "Pro"})["id"].startswith("prod_")
    customer = sandbox.post("/v1/customers")["id"]
    assert sandbox.error("POST", "/v1/products", {"id": customer, "name": "Pro"})[0] == 400


def test_a_product_with_prices_stays(sandbox: Driver) -> None:
    price = sandbox.price()
    assert sandbox.error("DELETE", f"/v1/products/{price['product']}")[0] == 400
    empty = sandbox.post("/v1/products", {"name": "Empty"})["id"]
    assert sandbox.call("DELETE", f"/v1/products/{empty}")["deleted"] is True
    assert sandbox.error("GET", f"/v1/products/{empty}")[0] == 404


def test_the_default_price_is_one_of_its_own(sandbox: Driver) -> None:
    price, other = sandbox.price(), sandbox.price()
    path = f"/v1/products/{price['product']}"
    assert sandbox.post(path, {"default_price": price["id"]})["default_price"] == price["id"]
    assert sandbox.error("POST", path, {"default_price": other["id"]})[0] == 400


def test_a_lookup_key_moves_only_when_told(sandbox: Driver) -> None:
    old = sandbox.price(lookup_key="pro")
    data = {"product": old["product"], "currency": "usd", "unit_amount": 3900, "lookup_key": "pro"}
    assert sandbox.error("POST", "/v1/prices", data)[1]["param"] == "lookup_key"
    new = sandbox.post("/v1/prices", data | {"transfer_lookup_key": "true"})
    assert new["lookup_key"] == "pro"
    assert sandbox.get(f"/v1/prices/{old['id']}")["lookup_key"] is None
    assert [price["id"] for price in sandbox.get("/v1/prices", **{"lookup_keys[]": "pro"})["data"]] == [new["id"]]
    moved = [event for event in sandbox.events() if event["type"] == "price.updated"]
    assert moved[0]["data"]["previous_attributes"] == {"lookup_key": "pro"}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"unit_amount": "-1"},
        {"unit_amount": "100000000"},
        {"unit_amount": "1", "unit_amount_decimal": "1"},
        {"unit_amount": "1", "currency": "dollars"},
        {"unit_amount": "1", "recurring[interval]": "fortnight"},
        {"unit_amount": "1", "recurring[interval_count]": "2"},
        {"unit_amount": "1", "recurring[interval]": "month", "recurring[usage_type]": "metered"},
        {"unit_amount": "1", "billing_scheme": "tiered"},
        {"unit_amount": "1", "product_data[name]": "Both"},
    ],
)
def test_prices_that_are_refused(sandbox: Driver, data: dict[str, str]) -> None:
    product = sandbox.post("/v1/products", {"name": "Pro"})["id"]
    assert sandbox.error("POST", "/v1/prices", {"product": product, "currency": "usd"} | data)[0] == 400


def test_a_price_may_bring_its_product(sandbox: Driver) -> None:
    price = sandbox.post(
        "/v1/prices", {"currency": "USD", "unit_amount_decimal": "500", "product_data[name]": "Credits"}
    )
    assert (price["unit_amount"], price["unit_amount_decimal"], price["currency"]) == (500, "500", "usd")
    assert sandbox.get(f"/v1/products/{price['product']}")["name"] == "Credits"


def test_what_a_price_costs_never_changes(sandbox: Driver) -> None:
    price = sandbox.price()
    assert sandbox.error("POST", f"/v1/prices/{price['id']}", {"unit_amount": 1})[1]["code"] == "parameter_unknown"
    assert sandbox.post(f"/v1/prices/{price['id']}", {"active": "false"})["active"] is False
