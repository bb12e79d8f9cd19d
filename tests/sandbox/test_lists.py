"""Lists: cursors, filters, expansion."""

import pytest

from tests.sandbox.driving import Driver, Wall


def _ids(listed: dict[str, list[dict[str, str]]]) -> list[str]:
    return [entry["id"] for entry in listed["data"]]


@pytest.fixture
def made(sandbox: Driver) -> list[str]:
    """Seven customers, newest first."""
    return [sandbox.post("/v1/customers", {"email": f"c{number}@b.co"})["id"] for number in range(7)][::-1]


def test_cursors(sandbox: Driver, made: list[str]) -> None:
    first = sandbox.get("/v1/customers", limit=3)
    assert (_ids(first), first["has_more"], first["url"]) == (made[:3], True, "/v1/customers")
    second = sandbox.get("/v1/customers", limit=3, starting_after=made[2])
    assert (_ids(second), second["has_more"]) == (made[3:6], True)
    last = sandbox.get("/v1/customers", limit=3, starting_after=made[5])
    assert (_ids(last), last["has_more"]) == (made[6:], False)
    back = sandbox.get("/v1/customers", limit=3, ending_before=made[5])
    assert (_ids(back), back["has_more"]) == (made[2:5], True)
    top = sandbox.get("/v1/customers", limit=3, ending_before=made[2])
    assert (_ids(top), top["has_more"]) == (made[:2], False)
    assert sandbox.error("GET", "/v1/customers", {"starting_after": made[0], "ending_before": made[1]})[0] == 400


def test_ten_by_default(sandbox: Driver) -> None:
    for _ in range(11):
        sandbox.post("/v1/customers")
    listed = sandbox.get("/v1/customers")
    assert (len(listed["data"]), listed["has_more"]) == (10, True)


def test_created(sandbox: Driver, wall: Wall) -> None:
    old = sandbox.post("/v1/customers")["id"]
    wall.at += 100
    new = sandbox.post("/v1/customers")["id"]
    assert _ids(sandbox.get("/v1/customers", **{"created[gte]": wall.at})) == [new]
    assert _ids(sandbox.get("/v1/customers", **{"created[lt]": wall.at})) == [old]
    assert _ids(sandbox.get("/v1/customers", created=wall.at)) == [new]


def test_filters(sandbox: Driver, made: list[str]) -> None:
    assert _ids(sandbox.get("/v1/customers", email="c3@b.co")) == [made[3]]
    monthly = sandbox.price(lookup_key="m")
    once = sandbox.price(interval=None, lookup_key="o")
    sandbox.post(f"/v1/prices/{once['id']}", {"active": "false"})
    for params, expected in [
        ({"active": "true"}, [monthly]),
        ({"active": "false"}, [once]),
        ({"type": "recurring"}, [monthly]),
        ({"product": once["product"]}, [once]),
        ({"lookup_keys[0]": "m", "lookup_keys[1]": "o"}, [once, monthly]),
        ({"lookup_keys[]": "o", "active": "true"}, []),
        ({"recurring[interval]": "month"}, [monthly]),
        ({"recurring[interval]": "year"}, []),
    ]:
        assert _ids(sandbox.get("/v1/prices", **params)) == [price["id"] for price in expected], params


def test_expansion(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"email": "a@b.co"})["id"]
    session = sandbox.paid(sandbox.session(customer=customer))
    path = f"/v1/subscriptions/{session['subscription']}"
    plain = sandbox.get(path)
    assert isinstance(plain["latest_invoice"], str)
    params = {
        "expand[0]": "customer",
        "expand[1]": "latest_invoice.payments.data.payment",
        "expand[2]": "items.data.price.product",
        "expand[3]": "latest_invoice.confirmation_secret",
    }
    assert sandbox.error("GET", path, params)[0] == 400  # payments.data.payment is a hash on the way, no object
    params["expand[1]"] = "latest_invoice.payments"
    whole = sandbox.get(path, **params)
    assert whole["customer"]["email"] == "a@b.co"
    payment = whole["latest_invoice"]["payments"]["data"][0]
    assert (payment["status"], payment["payment"]["type"]) == ("paid", "payment_intent")
    assert whole["items"]["data"][0]["price"]["product"]["name"] == "Pro"
    assert whole["latest_invoice"]["confirmation_secret"]["client_secret"].startswith("pi_")
    assert "payments" not in sandbox.get(f"/v1/invoices/{session['invoice']}")
    listed = sandbox.get("/v1/invoice_payments", **{"expand[]": "data.payment.payment_intent"})
    assert listed["data"][0]["payment"]["payment_intent"]["status"] == "succeeded"


@pytest.mark.parametrize(
    "path",
    ["nothing", "metadata", "items", "customer.nothing", "data.customer", "latest_invoice.payments.data.payment.payment_intent"],
)  # fmt: skip
def test_what_cannot_be_expanded(sandbox: Driver, path: str) -> None:
    session = sandbox.paid(sandbox.session())
    status, error = sandbox.error("GET", f"/v1/subscriptions/{session['subscription']}", {"expand[]": path})
    assert (status, error["param"]) == (400, "expand")


def test_a_bad_expansion_stops_the_request_before_it_starts(sandbox: Driver) -> None:
    assert sandbox.error("POST", "/v1/customers", {"expand[]": "total_count"}, Idempotency_Key="k")[0] == 400
    assert "customer" not in sandbox.count()


def test_total_count_of_lists_is_no_longer_expanded(sandbox: Driver) -> None:
    assert sandbox.error("GET", "/v1/customers", {"expand[]": "total_count"})[0] == 400
