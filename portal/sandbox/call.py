"""What code that carries out a request needs to know about it."""

from dataclasses import dataclass, replace

from portal.sandbox.clock import Clock, StoppedClock
from portal.sandbox.store import Store

API_VERSION = "2026-10-28.endive"
ACCOUNT_ID = "acct_1SandboxTurnpike0000"
ACCOUNT_NAME = "Sandbox"
# Days after the first failure on which a payment is tried again, and what becomes of the plan after the last.
RETRY_DAYS = (1, 3, 5, 7)
AFTER_RETRIES = "cancel"


@dataclass(frozen=True)
class Configuration:
    """The settings of one sandbox. `public_url` begins every hosted page's address and has no slash at its end."""

    api_key: str
    public_url: str
    retry_days: tuple[int, ...] = RETRY_DAYS
    after_retries: str = AFTER_RETRIES


@dataclass(frozen=True)
class Call:
    """One request to the API, or one act of a hosted page or of the clock (which have no request id).

    `version` is the API version that the request named, or None when it named none. `test_clock` is the test clock by
    whose time this is carried out, or None for the sandbox's own.
    """

    store: Store
    clock: Clock
    configuration: Configuration
    version: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    test_clock: str | None = None

    def now(self) -> int:
        """Return the sandbox's time in epoch seconds."""
        return self.clock.now()

    def dated(self, at: int) -> "Call":
        """Return the same call at another instant, for what was due then."""
        return replace(self, clock=StoppedClock(self.store, at))

    def link(self, path: str) -> str:
        """Return the public address of one of the sandbox's own pages."""
        return self.configuration.public_url + path
