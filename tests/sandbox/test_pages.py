"""The hosted pages: what they show, what they refuse, and their headers."""

import re

import pytest

from portal.sandbox.cards import BY_NUMBER, passes_luhn
from portal.sandbox.hosted.pages import origin
from portal.sandbox.wording import money
from tests.sandbox.driving import GOOD_CARD, Driver, Wall


def test_the_checkout_page(sandbox: Driver) -> None:
    customer = sandbox.post("/v1/customers", {"email": "ada@example.com"})["id"]
    more = {"line_items[0][quantity]": 2, "subscription_data[trial_period_days]": 14}
    session = sandbox.session(sandbox.price(9900), customer=customer, **more)
    response = sandbox.client.get(f"/c/pay/{session['id']}")
    page = re.sub(r"\s+", " ", response.get_data(as_text=True))
    assert response.status_code == 200
    for words in (
        "Sandbox.",
        "Subscribe to Pro",
        "14 days free, then $198.00 every month",
        "2 \u00d7 $99.00 / month",
        "The trial ends on 29 January 2027",
        "ada@example.com",
        "Start trial",
        "4000 0000 0000 0002",
        'href="http://127.0.0.1:9/pricing"',
    ):
        assert words in page, words
    assert 'name="email"' not in page


def test_pages_need_no_script_and_keep_to_themselves(sandbox: Driver) -> None:
    session = sandbox.session()
    paid = sandbox.paid(sandbox.session())
    for path in (f"/c/pay/{session['id']}", f"/i/{paid['invoice']}", "/", "/nothing"):
        response = sandbox.client.get(path)
        page = response.get_data(as_text=True)
        assert "<script" not in page
        assert "style=" not in page
        assert "http://127.0.0.1:12111/static" not in page
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert ("http://127.0.0.1:9" in policy) == path.startswith("/c/pay")


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("http://127.0.0.1:8000/a?b=c", "http://127.0.0.1:8000"),
        ("https://portal.example.com/x", "https://portal.example.com"),
        ("http://[::1]:8000/", "http:"),
    ],
)
def test_origins(url: str, source: str) -> None:
    assert origin(url) == source


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"card_number": ""}, {"card_number"}),
        ({"card_number": "4242"}, {"card_number"}),
        ({"card_number": "4242 4242 4242 4241"}, {"card_number"}),
        ({"card_number": "four"}, {"card_number"}),
        ({"card_number": "\u0664" * 16}, {"card_number"}),
        ({"exp": "13/30"}, {"exp"}),
        ({"exp": "12/20"}, {"exp"}),
        ({"exp": "12/2026"}, {"exp"}),
        ({"exp": ""}, {"exp"}),
        ({"cvc": "12"}, {"cvc"}),
        ({"cvc": "1234"}, {"cvc"}),
        ({"card_number": "378282246310005"}, {"cvc"}),
        ({"email": "nobody"}, {"email"}),
        ({"email": "", "card_number": "", "exp": "", "cvc": ""}, {"email", "card_number", "exp", "cvc"}),
    ],
)
def test_fields_that_are_wrong(sandbox: Driver, fields: dict[str, str], wrong: set[str]) -> None:
    response = sandbox.pay(sandbox.session(), **fields)
    page = response.get_data(as_text=True)
    assert response.status_code == 422
    assert set(re.findall(r'id="(\w+)-error"', page)) == wrong
    assert "Nothing was charged." in page
    assert "subscription" not in sandbox.count()


@pytest.mark.parametrize("exp", ["01/27", "1/27", "0127", "01 / 2027", "01-27"])
def test_ways_to_write_an_expiry(sandbox: Driver, wall: Wall, exp: str) -> None:
    wall.at = 1_798_761_600  # 1 January 2027: a card that expires this month is still good
    paid = sandbox.paid(sandbox.session(), exp=exp)
    subscription = sandbox.get(f"/v1/subscriptions/{paid['subscription']}", **{"expand[]": "default_payment_method"})
    card = subscription["default_payment_method"]["card"]
    assert (card["exp_month"], card["exp_year"]) == (1, 2027)


def test_what_was_entered_comes_back_without_the_card(sandbox: Driver) -> None:
    entered = {"email": 'a"<b>@c.de', "name": "<i>Ann</i>", "exp": "bad", "cvc": "987"}
    page = sandbox.pay(sandbox.session(), **entered).get_data(as_text=True)
    assert "&lt;i&gt;Ann&lt;/i&gt;" in page
    assert "<i>Ann" not in page
    assert "987" not in page
    assert 'value="4242' not in page


def test_the_card_number_is_never_kept(sandbox: Driver) -> None:
    sandbox.paid(sandbox.session())
    store = sandbox.app.extensions["sandbox"].store
    everything = " ".join(row["body"] for row in store.query("SELECT body FROM objects"))
    assert GOOD_CARD["card_number"].replace(" ", "") not in everything


def test_closed_sessions(sandbox: Driver) -> None:
    paid = sandbox.paid(sandbox.session())
    page = sandbox.client.get(f"/c/pay/{paid['id']}")
    assert (page.status_code, "Already paid" in page.get_data(as_text=True)) == (200, True)
    assert sandbox.client.get("/c/pay/cs_test_no").status_code == 404
    assert sandbox.pay({"id": "cs_test_no"}).status_code == 404


def test_the_invoice_page(sandbox: Driver) -> None:
    paid = sandbox.paid(sandbox.session(sandbox.price(129000)))
    invoice = sandbox.get(f"/v1/invoices/{paid['invoice']}")
    path = invoice["hosted_invoice_url"].removeprefix("http://127.0.0.1:12111")
    page = sandbox.client.get(path).get_data(as_text=True)
    assert invoice["number"] in page
    assert "$1,290.00" in page
    assert f'href="{path}/pdf"' in page
    assert sandbox.client.get("/i/in_no").status_code == 404


@pytest.mark.parametrize(
    ("balance", "waiting", "words"),
    [
        (-1000, 100, ("Paid from credit", "-$10.00", "$20.00")),
        (700, 100, ("Owed from before", "$7.00", "$37.00")),
        (0, -4000, ("Kept as credit", "$11.00", "$0.00")),
        (0, -2870, ("Carried to the next invoice", "-$0.30", "$0.00")),
    ],
)
def test_an_invoice_says_what_the_balance_did(
    sandbox: Driver, balance: int, waiting: int, words: tuple[str, ...]
) -> None:
    begun = sandbox.begin()
    sandbox.post(f"/v1/customers/{begun['customer']}", {"balance": balance})
    sandbox.post("/v1/invoiceitems", {"customer": begun["customer"], "amount": waiting, "currency": "usd"})
    sandbox.pass_by(31)
    invoice = sandbox.latest_invoice(begun)["id"]
    page = sandbox.client.get(f"/i/{invoice}").get_data(as_text=True)
    file = sandbox.client.get(f"/i/{invoice}/pdf").data.decode("cp1252")
    for text in (*words, "Other"):
        assert text in page
        assert text in file


def test_the_front_page(sandbox: Driver) -> None:
    sandbox.paid(sandbox.session())
    page = sandbox.client.get("/").get_data(as_text=True)
    assert "checkout.session.completed" in page
    assert "Not sent" in page
    with sandbox.client.get("/static/sandbox.css") as css:
        assert css.status_code == 200


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [(0, "usd", "$0.00"), (5, "usd", "$0.05"), (129000, "usd", "$1,290.00"), (-2900, "eur", "-€29.00"),
     (500, "jpy", "¥500"), (1000, "sek", "SEK 10.00")],
)  # fmt: skip
def test_money(amount: int, currency: str, words: str) -> None:
    assert money(amount, currency) == words


def test_the_test_cards_are_valid_numbers() -> None:
    assert all(passes_luhn(number) for number in BY_NUMBER)
    assert not passes_luhn("4242424242424241")
