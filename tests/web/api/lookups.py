"""The look-up of a key, stopped where a test wants others to come meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy.exc import OperationalError

from portal.accounts.api_keys import KnownKey, find_key
from portal.api import authentication
from tests.threads import SECONDS_MAX, until
from tests.web.api.backend import Backend


@dataclass
class Lookups:
    """`number` have begun. The first has read its key when `begun` is set, and goes on with `go_on`."""

    secret: str
    address: str = "127.0.0.1"
    number: int = 0
    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def until_waiting(self, count: int) -> None:
        together = authentication._shown

        def waiting() -> int:
            with together._guard:
                return len(together._waiting.get((self.secret, self.address), ()))

        until(lambda: waiting() == count)


@contextmanager
def looking_up(
    monkeypatch: pytest.MonkeyPatch, backend: Backend, *, breaks_at: int | None = None, address: str = "127.0.0.1"
) -> Iterator[Lookups]:
    """The first look-up of the backend's key waits once it has read; that of the number `breaks_at` has no database.

    The calls are to come from `address`.
    """
    lookups = Lookups(backend.secret, address)

    def find(text: str) -> KnownKey | None:
        lookups.number += 1
        if lookups.number == breaks_at:
            raise OperationalError("select", None, Exception("away"))
        found = find_key(text)
        if lookups.number == 1:
            lookups.begun.set()
            assert lookups.go_on.wait(SECONDS_MAX)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(authentication, "find_key", find)
        yield lookups
