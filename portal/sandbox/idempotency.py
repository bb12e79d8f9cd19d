"""Stored answers: the first answer to a key is given again, whatever it was, for a day."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from portal.sandbox.call import Call
from portal.sandbox.errors import idempotency_in_use, idempotency_mismatch, invalid

KEY_LENGTH_MAX = 255
KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class StoredAnswer:
    """The first answer to a key, and the id of the request that got it."""

    status: int
    body: bytes
    request_id: str


def request_hash(method: str, path: str, pairs: list[tuple[str, str]]) -> str:
    """Return what identifies a request under its key: endpoint and parameters, in any order."""
    return hashlib.sha256(repr((method, path, sorted(pairs))).encode()).hexdigest()


def check_key(key: str) -> None:
    """Raise 400 for a key that is too long."""
    if len(key) > KEY_LENGTH_MAX:
        raise invalid(f"An idempotency key may have {KEY_LENGTH_MAX} characters at most.")


def stored_answer(call: Call, key: str, hashed: str) -> StoredAnswer | None:
    """Return the answer kept for a key, None when the key is new, or raise when it belongs to another request.

    A key is forgotten a day after its first use by the sandbox's clock, the least that Stripe promises.
    """
    rows = call.store.query("SELECT * FROM idempotency_keys WHERE key = ?", (key,))
    if not rows or rows[0]["created"] + KEPT_SECONDS <= call.now():
        return None
    row = rows[0]
    if row["request_hash"] != hashed:
        raise idempotency_mismatch(key)
    return StoredAnswer(row["status"], row["body"], row["request_id"])


def store_answer(call: Call, key: str, hashed: str, status: int, body: bytes) -> None:
    """Keep the answer to a key, in the transaction of its effects."""
    call.store.execute(
        "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)",
        (key, hashed, call.request_id, status, body, call.now()),
    )


class KeysInFlight:
    """The keys whose requests are being carried out at this moment."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: set[str] = set()

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Keep a key for the length of a request, or raise 409 when another request has it."""
        with self._lock:
            if key in self._keys:
                raise idempotency_in_use(key)
            self._keys.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._keys.discard(key)
