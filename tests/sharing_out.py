"""Which tests of a run go to the same worker: those of a file, and everything that drives the browser.

What a module has set up is then set up once, and there is one stack and one Chromium. pytest-xdist's own way of saying so,
its groups, has no effect under pytest 9.2.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

BROWSER = "tests/browser/"


class ByFile(LoadScopeScheduling):
    """In the order of the collection: by number of tests, as the library would, the longest tests would come last."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return BROWSER if nodeid.startswith(BROWSER) else nodeid.partition("::")[0]
