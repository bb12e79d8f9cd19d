"""Delivery of events to webhook endpoints, off the request thread.

What is to be sent stands in the state file, so that a restart goes on where it stopped. Each delivery is tried again
with growing pauses until an endpoint answers 2xx; pauses and signatures use wall time, whatever the sandbox's clock
says, because the receiver checks a signature's age against its own.
"""

import hashlib
import hmac
import http.client
import logging
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from portal.sandbox import destinations
from portal.sandbox.call import Call
from portal.sandbox.chaos import deliveries as chaos
from portal.sandbox.older_versions import OLDER_VERSIONS, in_version
from portal.sandbox.registry import render
from portal.sandbox.store import Object, Store
from portal.sandbox.thin import notification
from portal.sandbox.wire import dumps

_LOG = logging.getLogger("sandbox")
RETRY_DELAYS_SECONDS = (1.0, 3.0, 10.0, 30.0, 120.0, 600.0, 3600.0)
TIMEOUT_SECONDS = 10.0
KEPT_BODY_BYTES = 1024
SENDERS = 8
SENDERS_PER_ENDPOINT = 6
IDLE_SECONDS = 1.0


def signature(secrets: list[str], timestamp: int, body: bytes) -> str:
    """Return the value of the `Stripe-Signature` header for a body: there are two secrets while one is rolled."""
    signed = f"{timestamp}.".encode() + body
    digests = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={timestamp}", *(f"v1={digest}" for digest in digests)])


@dataclass(frozen=True)
class Outcome:
    """What one attempt met: a status and the beginning of the body, or the error that came instead."""

    status: int | None
    body: str
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """Say whether the endpoint took the event; a redirect is not followed and does not count."""
        return self.status is not None and 200 <= self.status < 300


def post(url: str, body: bytes, headers: dict[str, str]) -> Outcome:
    """Send one signed body. Redirects are not followed and proxies not used; every failure is an outcome."""
    try:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request("POST", target, body=body, headers=headers)
            response = connection.getresponse()
            return Outcome(response.status, response.read(KEPT_BODY_BYTES).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Outcome(None, "", f"{type(error).__name__}: {error}"[:500])


class Deliverer:
    """A thread that hands due deliveries to a few senders."""

    def __init__(
        self,
        store: Store,
        call: Callable[[], Call],
        tick: Callable[[], None],
        retry_delays: tuple[float, ...] = RETRY_DELAYS_SECONDS,
    ) -> None:
        self._store = store
        self._call = call
        self._tick = tick
        self._retry_delays = retry_delays
        self._wakeup = threading.Condition()
        self._woken = False
        self._stopping = False
        self._started = False
        self._jobs: queue.SimpleQueue[sqlite3.Row] = queue.SimpleQueue()
        self._in_flight: dict[int, str] = {}

    def start(self) -> None:
        """Begin to deliver; a second call does nothing."""
        with self._wakeup:
            if self._started or self._stopping:
                return
            self._started = True
        threading.Thread(target=self._run, name="sandbox-delivery", daemon=True).start()
        for number in range(SENDERS):
            threading.Thread(target=self._send_all, name=f"sandbox-sender-{number}", daemon=True).start()

    def stop(self) -> None:
        """Hand out nothing more; what is on its way is tried again after the next start."""
        with self._wakeup:
            self._stopping = True
            self._wakeup.notify_all()

    def wake(self) -> None:
        """Look for due deliveries now."""
        with self._wakeup:
            self._woken = True
            self._wakeup.notify_all()

    def _run(self) -> None:
        while not self._stopping:
            pause = IDLE_SECONDS
            try:
                self._tick()
                self._hand_out()
                pause = self._pause()
            except sqlite3.ProgrammingError:
                return  # The store was closed under us: the sandbox is gone.
            except Exception:  # noqa: BLE001  (without this thread nothing would ever be delivered again)
                _LOG.exception("looking for deliveries failed")
            with self._wakeup:
                self._wakeup.wait_for(lambda: self._woken or self._stopping, timeout=pause)
                self._woken = False

    def _pause(self) -> float:
        rows = self._store.query("SELECT min(next_at) AS at FROM deliveries WHERE state = 'pending'")
        soonest = rows[0]["at"]
        if soonest is None:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, max(0.02, float(soonest) - time.time()))

    def _hand_out(self) -> None:
        due = self._store.query(
            "SELECT * FROM deliveries WHERE state = 'pending' AND next_at <= ? ORDER BY id LIMIT 500", (time.time(),)
        )
        with self._wakeup:
            busy = Counter(self._in_flight.values())
            for delivery in due:
                endpoint_id = delivery["endpoint_id"]
                # One endpoint that hangs must leave senders free for the others.
                if delivery["id"] in self._in_flight or busy[endpoint_id] >= SENDERS_PER_ENDPOINT:
                    continue
                busy[endpoint_id] += 1
                self._in_flight[delivery["id"]] = endpoint_id
                self._jobs.put(delivery)

    def _send_all(self) -> None:
        while not self._stopping:
            try:
                delivery = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                continue
            try:
                self._attempt(delivery)
            except sqlite3.ProgrammingError:
                return
            except Exception:  # noqa: BLE001  (one sender less for each of these, and in the end there were none)
                _LOG.exception("the delivery %d failed", delivery["id"])
                self._rest()
            finally:
                with self._wakeup:
                    self._in_flight.pop(delivery["id"], None)
                self.wake()

    def _rest(self) -> None:
        """Wait a little, so that what has just failed, and is held here meanwhile, is not tried again at once."""
        with self._wakeup:
            self._wakeup.wait_for(lambda: self._stopping, timeout=IDLE_SECONDS)

    def _attempt(self, delivery: sqlite3.Row) -> None:
        event = self._store.get("event", delivery["event_id"])
        endpoint = destinations.find(self._store, delivery["endpoint_id"])
        if event is None or endpoint is None or endpoint["status"] != "enabled":
            self._store.execute("UPDATE deliveries SET state = 'canceled' WHERE id = ?", (delivery["id"],))
            return
        started = time.monotonic()
        disturbance = chaos.of_delivery(self._store, delivery["id"])
        lost = disturbance.loses(delivery["attempts"])
        outcome = Outcome(None, "", lost) if lost else self._post_event(event, endpoint, disturbance)
        self._record(delivery, outcome, round((time.monotonic() - started) * 1000), disturbance.copies)

    def _post_event(self, event: Object, endpoint: Object, disturbance: chaos.Disturbance) -> Outcome:
        try:
            body = dumps(self._told(event, endpoint, disturbance))
        except sqlite3.ProgrammingError:
            raise  # The store was closed under us.
        except Exception as error:  # noqa: BLE001  (one event that cannot be told must not end its sender)
            _LOG.exception("the event %s cannot be told to %s", event["id"], endpoint["id"])
            return Outcome(None, "", f"{type(error).__name__}: {error}"[:500])
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Turnpike-Sandbox/1.0",
            "Stripe-Signature": signature(destinations.secrets(endpoint, self._call().now()), int(time.time()), body),
        }
        return post(destinations.address(endpoint), body, headers)

    def _told(self, event: Object, endpoint: Object, disturbance: chaos.Disturbance) -> Object:
        """The event as this endpoint is told it."""
        if disturbance.thin or destinations.is_thin(endpoint):
            return notification(event)
        whole = render(self._call(), event)
        version = disturbance.api_version or endpoint.get("api_version")
        return in_version(self._call(), whole, version) if version in OLDER_VERSIONS else whole

    def _record(self, delivery: sqlite3.Row, outcome: Outcome, duration_ms: int, copies: int) -> None:
        attempts = delivery["attempts"] + 1
        if outcome.accepted:
            state, next_at = ("pending" if copies > 0 else "delivered"), time.time()
        elif attempts > len(self._retry_delays):
            state, next_at = "failed", time.time()
        else:
            state, next_at = "pending", time.time() + self._retry_delays[attempts - 1]
        with self._store.transaction():
            self._store.execute(
                "INSERT INTO attempts (delivery_id, at, status, body, duration_ms, error) VALUES (?, ?, ?, ?, ?, ?)",
                (delivery["id"], time.time(), outcome.status, outcome.body, duration_ms, outcome.error),
            )
            self._store.execute(
                "UPDATE deliveries SET state = ?, attempts = ?, next_at = ? WHERE id = ?",
                (state, attempts, next_at, delivery["id"]),
            )
            if outcome.accepted:
                chaos.copy_sent(self._store, delivery["id"])
                chaos.let_go_before(self._store, delivery["endpoint_id"], delivery["id"], time.time())
