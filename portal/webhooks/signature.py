"""Stripe's webhook signature, checked by ourselves: several secrets, and a time that is neither old nor ahead.

The scheme (Stripe, "Verify webhook signatures manually"): the header holds `t=<epoch>` and one or more `v1=<hex>`,
each an HMAC-SHA256 of `<t>.<raw body>`. The SDK takes one secret, accepts times in the future and raises on odd bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

TOLERANCE_SECONDS = 300
HEADER_CHARACTERS_MAX = 4096


class BadSignature(Exception):
    """The request does not come from Stripe, or too long ago; the message says which for the log."""


def verify(body: bytes, header: str | None, secrets: Iterable[str], now: float) -> None:
    """Raise `BadSignature` unless one of `secrets` signed `body` within five minutes of `now` (real epoch seconds)."""
    timestamp, candidates = _parse(header)
    if abs(now - timestamp) > TOLERANCE_SECONDS:
        raise BadSignature("the timestamp is too old or in the future")
    payload = str(timestamp).encode() + b"." + body
    expected = [hmac.digest(secret.encode(), payload, "sha256").hex() for secret in secrets]
    # No early exit: every pair is compared, each in constant time.
    matches = [hmac.compare_digest(ours.encode(), theirs) for ours in expected for theirs in candidates]
    if not any(matches):
        raise BadSignature("no signature matches")


def _parse(header: str | None) -> tuple[int, list[bytes]]:
    if not header or len(header) > HEADER_CHARACTERS_MAX:
        raise BadSignature("the header is missing or too long")
    parts = [part.partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name.strip() == "t"]
    candidates = [value.strip().encode("utf-8", "surrogateescape") for name, _, value in parts if name.strip() == "v1"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit() or len(times[0]) > 12:
        raise BadSignature("the timestamp is missing or not a number")
    if not candidates:
        raise BadSignature("there is no v1 signature")
    return int(times[0]), candidates


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The header Stripe would send; for tests and for programs that replay events."""
    digest = hmac.new(secret.encode(), str(timestamp).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"
