"""The spelling of an API key: recognisable without a database, and of no use to whoever sees its stored part."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest

from portal.accounts.api_key_format import ALPHABET, looks_like_key, new_key, read_key


@pytest.mark.parametrize(("livemode", "mark"), [(True, "tp_live_"), (False, "tp_test_")])
def test_a_new_key_is_spelled_as_promised_and_reads_back(livemode: bool, mark: str) -> None:
    key = new_key(livemode=livemode)
    assert re.fullmatch(mark + r"[0-9A-Za-z]{44}_[0-9A-Za-z]{6}", key.secret)
    assert key.secret.startswith(key.prefix)
    assert key.secret.endswith(key.last4)
    assert key.digest == hashlib.sha256(key.secret.encode()).hexdigest()
    assert read_key(key.secret) == key


def test_what_is_stored_leaves_the_secret_part_unknown() -> None:
    key = new_key(livemode=False)
    unknown = key.secret.removeprefix(key.prefix).partition("_")[0]
    assert len(ALPHABET) ** len(unknown) > 2**128
    assert unknown not in f"{key!r} {key.prefix} {key.last4} {key.digest}"


def test_keys_differ() -> None:
    keys = {new_key(livemode=False).secret for _ in range(200)}
    assert len(keys) == 200


def test_every_single_typing_error_is_noticed() -> None:
    secret = new_key(livemode=False).secret
    for place, letter in enumerate(secret):
        other = "b" if letter == "a" else "a"
        assert read_key(secret[:place] + other + secret[place + 1 :]) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: secret[:0],
        lambda secret: secret[:8],
        lambda secret: secret[:-1],
        lambda secret: secret + "a",
        lambda secret: secret + "\n",
        lambda secret: " " + secret,
        lambda secret: secret.upper(),
        lambda secret: secret.replace("tp_test_", "tp_live_"),
        lambda secret: secret.replace("tp_test_", "sk_test_"),
        lambda secret: secret[:20] + "\u00e9" + secret[21:],
        lambda secret: secret[:20] + "\x00" + secret[21:],
        lambda secret: secret[:20] + "\u0663" + secret[21:],
    ],
)
def test_what_is_no_key_is_none(change: Callable[[str], str]) -> None:
    assert read_key(change(new_key(livemode=False).secret)) is None


def test_a_key_somebody_mistyped_is_still_known_for_one() -> None:
    assert looks_like_key("tp_live_oops")
    assert not looks_like_key("tp_staging_1")
