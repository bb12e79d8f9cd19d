"""The sandbox's one clock: wall time plus an offset that is kept in the state and only ever grows."""

import time
from collections.abc import Callable

from portal.sandbox.store import Store

_OFFSET = "clock_offset_seconds"


class Clock:
    """Tells the time that every `created`, due and expiry decision of the sandbox uses."""

    def __init__(self, store: Store, wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self._wall = wall
        self._read = (-1, 0)

    def now(self) -> int:
        """Return the sandbox's time in whole seconds since 1970, UTC."""
        return int(self._wall()) + self.offset_seconds()

    def offset_seconds(self) -> int:
        """Return by how many seconds the sandbox runs ahead of the wall."""
        version, offset = self._read
        if version != self._store.version:
            version = self._store.version
            offset = int(self._store.read_state(_OFFSET, "0"))
            self._read = (version, offset)
        return offset

    def advance(self, seconds: int) -> None:
        """Move the clock forward; it never goes back, since what came due cannot be undone."""
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        self._store.write_state(_OFFSET, str(self.offset_seconds() + seconds))


class StoppedClock(Clock):
    """Stands at the instant at which something was due, so that what is carried out late is dated as if in time."""

    def __init__(self, store: Store, at: int) -> None:
        super().__init__(store)
        self._at = at

    def now(self) -> int:
        """Return the instant."""
        return self._at
