"""A sandbox over HTTP, driven by the official SDK."""

from collections.abc import Iterator

import pytest

from portal.sandbox import create_sandbox
from tests.contract.recording import Recording
from tests.live import serving
from tests.sandbox.driving import KEY, Driver


@pytest.fixture
def recording() -> Iterator[Recording]:
    """The official client on a stand-in of its own, with every body kept."""
    app = create_sandbox(api_key=KEY)
    with serving(app) as address:
        recorded = Recording(Driver(app), address)
        yield recorded
        recorded.http.close()
    app.extensions["sandbox"].close()
