"""One running sandbox: its state, clock, deliveries, and what comes due as time goes by."""

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from portal.sandbox import destinations, due
from portal.sandbox.call import Call, Configuration
from portal.sandbox.chaos.calls import CallChaos
from portal.sandbox.clock import Clock
from portal.sandbox.delivery import RETRY_DELAYS_SECONDS, Deliverer
from portal.sandbox.idempotency import KeysInFlight
from portal.sandbox.store import Store

_LOG = logging.getLogger("sandbox")


@dataclass(frozen=True)
class Origin:
    """Where an act comes from: a request to the API, or (all None) a page or the clock."""

    version: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None


class Sandbox:
    """Holds what all requests share. `wall` gives seconds since 1970 and may be a test's own clock."""

    def __init__(
        self,
        state: str,
        configuration: Configuration,
        wall: Callable[[], float] = time.time,
        retry_delays: tuple[float, ...] = RETRY_DELAYS_SECONDS,
    ) -> None:
        self.configuration = configuration
        self.store = Store(state)
        self.clock = Clock(self.store, wall)
        self.keys_in_flight = KeysInFlight()
        self.chaos = CallChaos(self.store, wall)
        self.deliverer = Deliverer(self.store, self.call, self.settle, retry_delays)
        self.store.on_commit = self._after_commit
        self._settled = (0, -1)

    def call(self, origin: Origin | None = None) -> Call:
        """Return what the code that carries out an act needs."""
        origin = origin or Origin()
        return Call(
            store=self.store,
            clock=self.clock,
            configuration=self.configuration,
            version=origin.version,
            request_id=origin.request_id,
            idempotency_key=origin.idempotency_key,
        )

    def settle(self) -> None:
        """Carry out whatever has come due by the sandbox's clock.

        In the same second and state as at the last look there is nothing new, which is what most reads meet. Whoever
        asks for something else must not be answered with what goes wrong here: that is logged.
        """
        moment = (self.clock.now(), self.store.version)
        if moment == self._settled:
            return
        try:
            due.run_due(self.call())
        except sqlite3.ProgrammingError:
            raise  # The store was closed: the sandbox is gone.
        except Exception:  # noqa: BLE001  (see above)
            _LOG.exception("looking for what is due failed")
        self._settled = moment

    def close(self) -> None:
        """Stop delivering and close the state."""
        self.deliverer.stop()
        self.store.close()

    def _after_commit(self) -> None:
        # Without an endpoint there is nothing to send, and no thread is started.
        if destinations.enabled(self.call()):
            self.deliverer.start()
            self.deliverer.wake()
