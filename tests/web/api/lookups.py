"""The look-up of a key, stopped where a test wants others to come meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

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


Answers = tuple[TestResponse, list[TestResponse]]


def read_at_once(
    backend: Backend, lookups: Lookups, later: int, meanwhile: Callable[[], object] = lambda: None
) -> Answers:
    """What a call is answered, and those that come while its key is looked up; in between `meanwhile` happens."""

    def read() -> TestResponse:
        return backend.call("GET", "/credits", environ_base={"REMOTE_ADDR": lookups.address})

    with ThreadPoolExecutor(1 + later) as pool:
        first = pool.submit(read)
        assert lookups.begun.wait(SECONDS_MAX)
        meanwhile()
        others = [pool.submit(read) for _ in range(later)]
        lookups.until_waiting(later)
        lookups.go_on.set()
        return first.result(), [other.result() for other in others]


@contextmanager
def looking_up(monkeypatch: pytest.MonkeyPatch, backend: Backend, *, breaks_at: int | None = None) -> Iterator[Lookups]:
    """The first look-up of the backend's key waits once it has read; that of the number `breaks_at` has no database."""
    lookups = Lookups(backend.secret)

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
