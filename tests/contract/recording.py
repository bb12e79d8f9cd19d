"""The official client, driven over HTTP, with every body that came back kept."""

import json
from typing import Any

import stripe

from tests.contract.annotations import Checker, event_types
from tests.sandbox.driving import KEY, Driver


class RecordingClient(stripe.RequestsClient):
    """An HTTP client that keeps every body."""

    def __init__(self) -> None:
        super().__init__(timeout=20)
        self.bodies: list[tuple[str, dict[str, Any]]] = []

    def request(self, *args: Any, **kwargs: Any) -> Any:
        content, status, more = super().request(*args, **kwargs)
        if status == 200:
            method, url = args[:2]
            path = url.partition("/v")[2].partition("?")[0]
            self.bodies.append((f"{method} {path}", json.loads(content)))
        return content, status, more


class Recording:
    """A client, its sandbox, and what the SDK's annotations have to say of all that was answered and told."""

    def __init__(self, driver: Driver, address: str) -> None:
        self.driver = driver
        self.http = RecordingClient()
        self.v1 = stripe.StripeClient(KEY, base_addresses={"api": address, "files": address}, http_client=self.http).v1

    def problems(self) -> tuple[set[str], Checker]:
        """Return every difference from the annotations, and the checker with its counts."""
        checker = Checker()
        for where, body in self.http.bodies:
            checker.check(body, where)
        for event in self.driver.events():
            checker.check(event["data"]["object"], event["type"])
        unknown = set(self.driver.event_types()) - event_types()
        return set(checker.problems) | {f"no such event: {name}" for name in unknown}, checker
