"""The net under logs: what it takes out, and what it must leave."""

from __future__ import annotations

import pytest

from portal.core.scrub import HIDDEN, scrub, scrub_all


@pytest.mark.parametrize(
    "secret",
    [
        "person@example.com",
        "first.last+tag@mail.example.co.uk",
        "sk_test_51Abc",
        "rk_live_51Abc",
        "whsec_abcDEF123",
        "tp_test_0123456789abcdef_0a1b2c",
        "4242424242424242",
        "4242 4242 4242 4242",
        "3782-822463-10005",
        "Bearer abc.def-ghi",
        "basic dXNlcjpwYXNz",
    ],
)
def test_s70_taken_out_wherever_it_stands(secret: str) -> None:
    for text in (secret, f"before {secret} after", f"'{secret}'", f'{{"a": "{secret}"}}', f"x={secret},"):
        assert secret not in scrub(text)
        assert HIDDEN in scrub(text)


def test_s70_a_database_that_shows_the_row_it_complains_about() -> None:
    text = 'duplicate key value violates "uq_users"\nDETAIL:  Key (name)=(Canary Person) already exists.\nCONTEXT: x'
    assert "Canary" not in scrub(text)
    assert "uq_users" in scrub(text)
    assert "CONTEXT: x" in scrub(text)
    assert "Canary" not in scrub(text.replace("\n", "\\n"))


@pytest.mark.parametrize(
    "text",
    [
        "team_01JD3M8W6Q4Z9V0K2T5R7X1YBC",
        "in_1QABCdef",
        "2026-11-25T19:16:31.099377Z",
        "4242424242424241",
        "1790000000",
        "turnpike@0",
        "sk_ is how secret keys begin",
        "cus_9s6XKzkNRiz8i3",
        "amount=1234567890123456",
    ],
)
def test_what_is_needed_to_find_an_error_stays(text: str) -> None:
    assert scrub(text) == text


def test_structures_are_gone_through() -> None:
    found = scrub_all({"a": ["x@example.com", {"b": ("whsec_1", 5)}], "c": None})
    assert found == {"a": [HIDDEN, {"b": [HIDDEN, 5]}], "c": None}
