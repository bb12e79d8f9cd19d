"""How requests are read and errors are told."""

import base64
import json
from typing import Any

import pytest

from portal.sandbox.errors import ApiError
from portal.sandbox.wire import build_tree, decode_pairs
from tests.sandbox.driving import KEY, Driver

ENDIVE = "2026-10-28.endive"


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        (b"", {}),
        (b"a=1&b=", {"a": "1", "b": ""}),
        (b"a=1&a=2", {"a": "2"}),
        (b"items[0][price]=p&items[1][price]=q", {"items": {"0": {"price": "p"}, "1": {"price": "q"}}}),
        (b"expand[]=a&expand[]=b", {"expand": {"0": "a", "1": "b"}}),
        (b"items%5B0%5D%5Bprice%5D=p", {"items": {"0": {"price": "p"}}}),
        (b"name=Ann+B%C3%A9", {"name": "Ann Bé"}),
        (b"a[b=1&[c]=2&d]=3", {"a[b": "1", "[c]": "2", "d]": "3"}),
        (b"metadata[a b]=1", {"metadata": {"a b": "1"}}),
    ],
)
def test_form_bodies(body: bytes, tree: dict[str, Any]) -> None:
    assert build_tree(decode_pairs(body)) == tree


@pytest.mark.parametrize(
    "body",
    [
        b"a=%ff",
        b"%80=1",
        b"a=1&a[b]=2",
        b"a[b]=2&a=1",
        b"a[b][c]=1&a[b]=2",
        b"a" + b"[x]" * 20 + b"=1",
        b"&".join(b"a%d=1" % number for number in range(3000)),
    ],
)
def test_bodies_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        build_tree(decode_pairs(body))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "code", "param"),
    [
        ("POST", "/v1/customers", {"emial": "a@b.co"}, 400, "parameter_unknown", "emial"),
        ("POST", "/v1/customers", {"address[zip]": "1"}, 400, "parameter_unknown", "address[zip]"),
        ("GET", "/v1/customers", {"offset": "1"}, 400, "parameter_unknown", "offset"),
        ("POST", "/v1/products", {}, 400, "parameter_missing", "name"),
        ("POST", "/v1/customers", {"email": "nobody"}, 400, "email_invalid", "email"),
        ("POST", "/v1/customers", {"balance": "ten"}, 400, "parameter_invalid_integer", "balance"),
        ("POST", "/v1/customers", {"balance": "1.5"}, 400, "parameter_invalid_integer", "balance"),
        ("POST", "/v1/customers", {"tax_exempt": "maybe"}, 400, None, "tax_exempt"),
        ("POST", "/v1/customers", {"address": "1 Road"}, 400, None, "address"),
        ("POST", "/v1/customers", {"preferred_locales[a]": "en"}, 400, None, "preferred_locales"),
        ("POST", "/v1/products", {"name": ""}, 400, "parameter_invalid_empty", "name"),
        ("POST", "/v1/products", {"name": "x" * 5001}, 400, None, "name"),
        ("POST", "/v1/products", {"name": "a\x00b"}, 400, None, "name"),
        ("POST", "/v1/products", {"name": "P", "active": "yes"}, 400, None, "active"),
        ("POST", "/v1/products", {"name": "P", "url": "javascript:alert(1)"}, 400, "url_invalid", "url"),
        ("GET", "/v1/customers", {"limit": "0"}, 400, "parameter_invalid_integer", "limit"),
        ("GET", "/v1/customers", {"limit": "101"}, 400, "parameter_invalid_integer", "limit"),
        ("GET", "/v1/customers", {"created[after]": "1"}, 400, "parameter_unknown", "created[after]"),
        ("GET", "/v1/customers", {"starting_after": "cus_no"}, 400, "resource_missing", "starting_after"),
        ("GET", "/v1/customers/cus_no", {}, 404, "resource_missing", "id"),
        ("GET", "/v1/customers/prod_no", {}, 404, "resource_missing", "id"),
        ("POST", "/v1/prices", {"product": "prod_no", "currency": "usd", "unit_amount": "1"}, 400, "resource_missing", "product"),
        ("GET", "/v1/nothing", {}, 404, None, None),
        ("GET", "/v1/customers/", {}, 404, None, None),
        ("GET", "/v2/core/events", {}, 404, None, None),
        ("DELETE", "/v1/events", {}, 405, None, None),
        ("PUT", "/v1/customers", {}, 405, None, None),
    ],
)  # fmt: skip
def test_errors(
    sandbox: Driver, method: str, path: str, data: dict[str, str], status: int, code: str | None, param: str | None
) -> None:
    got, error = sandbox.error(method, path, data)
    assert (got, error.get("code"), error.get("param")) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert ("doc_url" in error) == (code is not None)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer sk_test_other", 401),
        ("Bearer sk_test_ключ", 401),
        (f"Token {KEY}", 401),
        ("Basic !!!", 401),
        (f"Bearer {KEY}", 200),
        (f"bearer {KEY}", 200),
        ("Basic " + base64.b64encode(f"{KEY}:".encode()).decode(), 200),
    ],
)
def test_keys(sandbox: Driver, authorization: str | None, status: int) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode().decode("latin-1")}
    response = sandbox.client.get("/v1/customers", headers=headers)
    assert response.status_code == status
    if status == 401:
        assert json.loads(response.data)["error"]["type"] == "invalid_request_error"
        assert KEY not in response.get_data(as_text=True)


def test_headers_of_every_answer(sandbox: Driver) -> None:
    response = sandbox.send("GET", "/v1/customers")
    assert response.headers["Request-Id"].startswith("req_")
    assert response.headers["Stripe-Version"] == ENDIVE
    assert response.mimetype == "application/json"
    old = sandbox.send("GET", "/v1/customers", Stripe_Version="2023-10-16")
    assert old.headers["Stripe-Version"] == "2023-10-16"
    assert sandbox.error("GET", "/v1/customers", Stripe_Version="newest")[0] == 400


@pytest.mark.parametrize("mimetype", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_only_forms_are_read(sandbox: Driver, mimetype: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    response = sandbox.client.post("/v1/customers", data=b'{"email": "a@b.co"}', content_type=mimetype, headers=headers)
    assert response.status_code == 400


def test_large_bodies_are_refused(sandbox: Driver) -> None:
    status, error = sandbox.error("POST", "/v1/customers", {"description": "x" * (1024 * 1024)})
    assert (status, error["type"]) == (413, "invalid_request_error")


@pytest.mark.parametrize(
    ("version", "refused"), [(None, False), ("2023-10-16", False), ("2026-03-25.dahlia", False), (ENDIVE, True)]
)
def test_payment_method_types_by_version(sandbox: Driver, version: str | None, refused: bool) -> None:
    headers = {"Stripe_Version": version} if version else {}
    data = {"amount": "500", "currency": "usd", "payment_method_types[0]": "card"}
    response = sandbox.send("POST", "/v1/payment_intents", data, **headers)
    assert response.status_code == (400 if refused else 200)
    if refused:
        assert json.loads(response.data)["error"]["code"] == "payment_method_types_no_longer_supported"


def test_metadata(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"metadata[a]": "1", "metadata[b]": "2"})
    path = f"/v1/customers/{customer['id']}"
    assert sandbox.post(path, {"metadata[b]": "", "metadata[c]": "3"})["metadata"] == {"a": "1", "c": "3"}
    assert sandbox.post(path, {"name": "Ann"})["metadata"] == {"a": "1", "c": "3"}
    assert sandbox.post(path, {"metadata": ""})["metadata"] == {}


@pytest.mark.parametrize(
    ("count", "key_length", "value_length", "status"),
    [(50, 40, 500, 200), (51, 10, 1, 400), (1, 41, 1, 400), (1, 10, 501, 400)],
)
def test_metadata_limits(sandbox: Driver, count: int, key_length: int, value_length: int, status: int) -> None:
    data = {f"metadata[{number:0{key_length}d}]": "x" * value_length for number in range(count)}
    assert sandbox.send("POST", "/v1/customers", data).status_code == status


def test_metadata_limits_hold_over_updates(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {f"metadata[k{number}]": "x" for number in range(50)})
    path = f"/v1/customers/{customer['id']}"
    assert sandbox.error("POST", path, {"metadata[one]": "more"})[0] == 400
    assert len(sandbox.post(path, {"metadata[one]": "more", "metadata[k0]": ""})["metadata"]) == 50


def test_a_deleted_customer(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"email": "a@b.co"})
    path = f"/v1/customers/{customer['id']}"
    gone = {"id": customer["id"], "object": "customer", "deleted": True}
    assert sandbox.call("DELETE", path) == gone
    assert sandbox.get(path) == gone
    assert sandbox.get("/v1/customers")["data"] == []
    assert sandbox.error("POST", path, {"name": "Ann"})[0] == 404
    assert sandbox.error("DELETE", path)[0] == 404
