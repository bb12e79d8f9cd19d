"""Small values of the core: identifiers, amounts, permissions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.accounts.models import initials_of
from portal.core.authz import PERMISSIONS, Action, Role, may
from portal.core.ids import is_id, new_id
from portal.core.money import amount_text, money_markup, money_words
from portal.core.redirects import leads_to, own_path
from portal.core.setup import whole


def test_identifiers_are_prefixed_unique_and_sortable_by_time() -> None:
    made = [new_id("team") for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(is_id("team", one) for one in made)
    assert not is_id("user", made[0])
    assert not is_id("team", "team_1")
    assert not is_id("team", made[0] + "\n")


@pytest.mark.parametrize(
    ("minor", "currency", "words"),
    [
        (0, "usd", "$0.00 USD"),
        (5, "usd", "$0.05 USD"),
        (128400, "usd", "$1,284.00 USD"),
        (-250, "usd", "\u2212$2.50 USD"),
        (1500, "jpy", "\u00a51,500 JPY"),
        (123, "eur", "\u20ac1.23 EUR"),
        (1234, "kwd", "KWD1.234 KWD"),
        (10**17 + 1, "usd", "$1,000,000,000,000,000.01 USD"),
    ],
)
def test_amounts_in_words(minor: int, currency: str, words: str) -> None:
    assert money_words(minor, currency) == words


def test_short_amounts_drop_only_a_zero_fraction() -> None:
    assert amount_text(9900, "usd", short=True) == "$99"
    assert amount_text(9950, "usd", short=True) == "$99.50"
    assert amount_text(1500, "jpy", short=True) == "\u00a51,500"


@given(st.integers(-(10**15), 10**15))
def test_no_digit_is_lost(minor: int) -> None:
    digits = "".join(char for char in amount_text(minor, "usd") if char.isdigit())
    assert int(digits) == abs(minor)


def test_markup_escapes_what_it_is_given() -> None:
    assert "<span" in money_markup(100, "usd")
    assert "&lt;" not in money_markup(100, "usd")


def test_whole_numbers_have_thousands_and_a_true_minus() -> None:
    assert whole(-1234567) == "\u22121,234,567"


def test_the_permission_table_names_every_role_and_only_known_actions() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert {action for actions in PERMISSIONS.values() for action in actions} <= set(Action)
    assert may("owner", "buy")
    assert not may("member", "buy")
    assert not may("billing", "manage_api_keys")


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Harbor Analytics", "HA"), ("owner", "OW"), ("\u00e9", "\u00c9"), ("", "?"), ("- Acme", "AC"), ("a b c", "AB")],
)
def test_initials(name: str, letters: str) -> None:
    assert initials_of(name) == letters


@pytest.mark.parametrize(
    "address",
    ["//evil", "https://evil", "https:evil", "/\\evil", "\\/evil", "javascript:x", "/a\r\nb", "", None, "/\u3002evil"],
)
def test_only_paths_of_our_own_are_redirected_to(address: str | None) -> None:
    assert own_path(address) is None


def test_a_plain_path_is_ours() -> None:
    assert own_path("/teams/team_1/billing?x=1") == "/teams/team_1/billing?x=1"


ORIGINS = ("https://app.example.com", "http://127.0.0.1:8000")


@pytest.mark.parametrize(
    "address",
    [
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com/done?order=4711&session={CHECKOUT_SESSION_ID}#top",
        "https://app.example.com?done",
        "http://127.0.0.1:8000/teams",
    ],
)
def test_an_address_on_the_list_is_taken(address: str) -> None:
    assert leads_to(address, ORIGINS)


@pytest.mark.parametrize(
    "address",
    [
        "", "/", "/done", "done", "//evil.example", "//app.example.com/", "https:evil.example", "https:/evil.example",
        "https:///evil.example", "https:app.example.com", "/\\evil.example", "https:\\\\app.example.com",
        "https://app.example.com\\@evil.example", "https://app.example.com@evil.example",
        "https://app.example.com:x@evil.example/", "https://app@evil.example", "https://user@app.example.com/",
        "https://app.example.com.evil.example", "https://app.example.community", "https://app.example.com:8443/",
        "https://app.example.com:443/", "http://app.example.com/", "https://sub.app.example.com/",
        "https://evil.example/https://app.example.com", "https://evil.example?https://app.example.com/",
        "https://evil.example#https://app.example.com/", "javascript:alert(1)", "JavaScript://app.example.com/%0aalert(1)",
        "data:text/html,hi", "ftp://app.example.com/", "HTTPS://app.example.com/", "https://APP.example.com/",
        "https://app.example.com/%0d%0aSet-Cookie:a=b", "https://app.example.com/%0D%0A", "https://app.example.com/%00",
        "https://app.example.com/%5cevil", "https://app.example.com/\r\nX: y", "https://app.example.com/\t",
        " https://app.example.com/", "https://app.example.com/ ", "https://app\u3002example.com/",
        "https://app.example.com\uff0eevil.example/", "https://\u0430pp.example.com/", "https://app.example.com/\u202e",
        "https://[app.example.com/", "https://app.example.com/" + "x" * 2_000, "https://xn--pp-8cd.example.com/",
        "https://app.example.com/\"><script>", "http://127.0.0.1:8000@evil.example/", "http://127.0.0.1:80001/",
        "http://0x7f.1:8000/", "http://2130706433:8000/",
    ],
    ids=repr,
)  # fmt: skip
def test_s42_an_address_that_could_lead_elsewhere_is_not(address: str) -> None:
    assert not leads_to(address, ORIGINS)
