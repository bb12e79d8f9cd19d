"""Tax ids of customers: through the API, in the hosted customer portal, and on invoices."""

import pytest

from tests.sandbox.driving import PORTAL, Driver, Json
from tests.sandbox.visiting import Portal, everything, visitor

FORM: Json = {"name": "Ada", "email": "ada@example.com"}


@pytest.fixture
def customer(sandbox: Driver) -> str:
    return str(sandbox.post("/v1/customers", {"email": "ada@example.com"})["id"])


@pytest.fixture
def portal(sandbox: Driver) -> Portal:
    price = sandbox.price()
    return visitor(sandbox, price, everything(price))


def numbers(sandbox: Driver, customer: str) -> list[str]:
    return [one["value"] for one in sandbox.get(f"/v1/customers/{customer}/tax_ids")["data"]]


@pytest.mark.parametrize(
    ("kind", "value", "country", "status"),
    [
        ("eu_vat", "DE123456789", "DE", "verified"),
        ("eu_vat", "EL123456789", "GR", "verified"),
        ("eu_vat", "DE111111111", "DE", "unverified"),
        ("eu_vat", "222222222", None, "pending"),
        ("gb_vat", "GB123456789", "GB", "verified"),
        ("us_ein", "12-3456789", "US", "unavailable"),
    ],
)
def test_a_tax_id(sandbox: Driver, customer: str, kind: str, value: str, country: str | None, status: str) -> None:
    path = f"/v1/customers/{customer}/tax_ids"
    made = sandbox.post(path, {"type": kind, "value": value})
    assert (made["type"], made["value"], made["country"]) == (kind, value, country)
    assert (made["verification"]["status"], made["owner"]["customer"]) == (status, customer)
    told = ["customer.tax_id.created"] + ["customer.tax_id.updated"] * (status in {"verified", "unverified"})
    assert sandbox.event_types()[1:] == told
    assert sandbox.get(f"{path}/{made['id']}") == made
    assert sandbox.get(f"/v1/tax_ids/{made['id']}") == made, "whoever's it is"
    expanded = sandbox.get(f"/v1/customers/{customer}", **{"expand[]": "tax_ids"})
    assert expanded["tax_ids"]["data"] == [made]
    assert sandbox.call("DELETE", f"{path}/{made['id']}") == {"id": made["id"], "object": "tax_id", "deleted": True}
    assert sandbox.event_types()[-1] == "customer.tax_id.deleted"
    assert numbers(sandbox, customer) == []
    assert sandbox.error("GET", f"/v1/tax_ids/{made['id']}")[0] == 404


def test_tax_ids_that_are_refused(sandbox: Driver, customer: str) -> None:
    path = f"/v1/customers/{customer}/tax_ids"
    for sent, param in (
        ({"type": "eu_vat", "value": "12"}, "value"),
        ({"type": "us_ein", "value": "000000000000"}, "value"),
        ({"type": "moon_vat", "value": "1"}, "type"),
        ({"type": "eu_vat"}, "value"),
    ):
        status, error = sandbox.error("POST", path, sent)
        assert (status, error["param"]) == (400, param)
    for number in range(5):
        sandbox.post(path, {"type": "ca_bn", "value": f"12345678{number}"})
    assert sandbox.error("POST", path, {"type": "ca_bn", "value": "123456789"})[0] == 400
    other = sandbox.post("/v1/customers", {})["id"]
    theirs = sandbox.get(path)["data"][0]["id"]
    assert sandbox.error("GET", f"/v1/customers/{other}/tax_ids/{theirs}")[0] == 404
    assert sandbox.error("DELETE", f"/v1/customers/{other}/tax_ids/{theirs}")[0] == 404


def test_an_invoice_names_the_tax_ids_of_its_day(sandbox: Driver) -> None:
    begun = sandbox.begin()
    sandbox.post(f"/v1/customers/{begun['customer']}/tax_ids", {"type": "eu_vat", "value": "DE123456789"})
    assert sandbox.latest_invoice(begun)["customer_tax_ids"] == []
    preview = sandbox.post("/v1/invoices/create_preview", {"subscription": begun["id"]})
    assert preview["customer_tax_ids"] == [{"type": "eu_vat", "value": "DE123456789"}]
    sandbox.pass_by(32)
    renewal = sandbox.latest_invoice(begun)
    assert renewal["customer_tax_ids"] == [{"type": "eu_vat", "value": "DE123456789"}]
    assert "DE123456789" in sandbox.client.get(f"/i/{renewal['id']}").get_data(as_text=True)
    assert sandbox.client.get(f"/i/{renewal['id']}/pdf").status_code == 200


def test_a_new_customer_brings_tax_ids(sandbox: Driver) -> None:
    sent = {"tax_id_data[0][type]": "ch_vat", "tax_id_data[0][value]": "CHE-123.456.789 MWST"}
    made = sandbox.post("/v1/customers", sent)
    assert numbers(sandbox, made["id"]) == ["CHE-123.456.789 MWST"]


def test_the_portal_takes_changes_and_forgets_a_tax_id(portal: Portal) -> None:
    sandbox = portal.sandbox
    for sent, left, told in (
        ({"tax_id_type": "eu_vat", "tax_id": "de123456789"}, ["DE123456789"], ["created", "updated"]),
        ({"tax_id_type": "eu_vat", "tax_id": "DE123456789"}, ["DE123456789"], []),
        ({"tax_id_type": "us_ein", "tax_id": "12-3456789"}, ["12-3456789"], ["deleted", "created"]),
        ({"tax_id_type": "us_ein", "tax_id": ""}, [], ["deleted"]),
    ):
        before = portal.count()
        assert portal.post("customer", FORM | sent).status_code == 303
        assert numbers(sandbox, portal.customer) == left
        types = [kind for kind in portal.types_after(before) if "tax_id" in kind]
        assert types == [f"customer.tax_id.{kind}" for kind in told]
    portal.post("customer", FORM | {"tax_id_type": "eu_vat", "tax_id": "DE111111111"})
    home = portal.page()
    assert "DE111111111" in home
    assert "Not found" in home
    page = portal.page("customer")
    assert 'value="DE111111111"' in page
    assert '<option value="eu_vat" selected>' in page


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"tax_id_type": "eu_vat", "tax_id": "12"}, "This is no EU VAT number. One looks like DE123456789."),
        ({"tax_id_type": "", "tax_id": "DE123456789"}, "Choose what kind of number it is."),
        ({"tax_id_type": "moon", "tax_id": "1"}, "Choose what kind of number it is."),
        ({"phone": "1" * 21}, "A phone number has 20 characters at most."),
        ({"shipping_line1": "1 Road"}, "Enter who gets what is sent there."),
        ({"shipping_name": "Ada", "shipping_country": "Germany"}, "Enter the two letters of the country"),
    ],
)
def test_details_that_are_refused(portal: Portal, sent: Json, said: str) -> None:
    before = portal.count()
    response = portal.post("customer", FORM | sent)
    assert response.status_code == 422
    assert said in response.get_data(as_text=True)
    assert portal.count() == before


def test_phone_and_shipping_address(portal: Portal) -> None:
    sent = {"phone": "+49 1", "shipping_name": "Store", "shipping_line1": "2 Lane", "shipping_country": "de"}
    assert portal.post("customer", FORM | sent).status_code == 303
    customer = portal.sandbox.get(f"/v1/customers/{portal.customer}")
    assert (customer["phone"], customer["shipping"]["name"]) == ("+49 1", "Store")
    assert customer["shipping"]["address"]["country"] == "DE"
    page = portal.page()
    assert "+49 1" in page
    assert "Store, 2 Lane, DE" in page
    portal.post("customer", FORM)
    assert portal.sandbox.get(f"/v1/customers/{portal.customer}")["shipping"] is None


def test_only_what_is_allowed_is_asked_for_and_taken(sandbox: Driver) -> None:
    portal = visitor(sandbox, sandbox.price(), PORTAL)
    page = portal.page("customer")
    for name in ("tax_id", "phone", "shipping_name"):
        assert f'name="{name}"' not in page
    sent = {"tax_id_type": "eu_vat", "tax_id": "DE123456789", "phone": "1", "shipping_name": "Store"}
    assert portal.post("customer", FORM | sent).status_code == 303
    assert numbers(sandbox, portal.customer) == []
    customer = sandbox.get(f"/v1/customers/{portal.customer}")
    assert (customer["phone"], customer["shipping"]) == (None, None)
