"""Clients that write all the time and send again, under the same key, whatever has not been acknowledged."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from werkzeug.test import TestResponse

from tests.stage import Stage
from tests.web.api.backend import Backend
from tests.web.door import EVENT

USERS = 3
METER = {"meter": "send_email", "quantity": 1}


@dataclass
class Writers:
    """Three threads that report uses, and one that delivers `events` among many of a kind that nobody applies."""

    stage: Stage
    backend: Backend
    events: list[dict[str, Any]]
    uses: dict[str, list[str]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    _enough: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """They write during the block; afterwards everything that they have begun to send is acknowledged."""
        with ThreadPoolExecutor(USERS + 1) as pool:
            running: list[Future[None]] = [pool.submit(self._report, number) for number in range(USERS)]
            running.append(pool.submit(self._deliver))
            try:
                yield
            finally:
                self._enough.set()
            for one in running:
                one.result()

    def acknowledged(self) -> int:
        return min(len(self.uses), len(self.kept))

    def refused(self) -> int:
        return self.statuses[503]

    def _report(self, number: int) -> None:
        client = self.stage.app.test_client()
        headers = {"Authorization": f"Bearer {self.backend.secret}"}
        count = 0
        while not self._enough.is_set():
            key = f"user-{number}-{(count := count + 1)}"

            def post(key: str = key) -> TestResponse:
                return client.post("/api/v1/usage", json=METER, headers=headers | {"Idempotency-Key": key})

            self.uses[key] = [self._insist(post).get_json()["id"]]
            if not count % 5:  # the answer was lost, as far as the sender knows
                self.uses[key].append(self._insist(post).get_json()["id"])

    def _deliver(self) -> None:
        left = list(self.events)
        count = 0
        while left or not self._enough.is_set():
            count += 1
            nobodys = json.loads(json.dumps(EVENT)) | {"id": f"evt_writer_{count}", "type": "price.updated"}
            event = left.pop(0) if left and not count % 3 else nobodys

            def post(event: dict[str, Any] = event) -> TestResponse:
                return self.stage.send(event)

            self._insist(post)
            self.kept.add(event["id"])

    def _insist(self, post: Callable[[], TestResponse]) -> TestResponse:
        while True:
            answer = post()
            self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                return answer
            assert answer.status_code == 503, answer.get_data(as_text=True)
