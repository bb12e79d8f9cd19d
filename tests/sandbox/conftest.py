"""A sandbox in memory for each test."""

from collections.abc import Iterator

import pytest

from portal.sandbox import create_sandbox
from tests.sandbox.driving import KEY, Driver, Receiver, Wall, receiving


@pytest.fixture
def wall() -> Wall:
    """The wall clock of the sandbox under test."""
    return Wall()


@pytest.fixture
def sandbox(wall: Wall) -> Iterator[Driver]:
    """A sandbox that delivers nothing."""
    app = create_sandbox(api_key=KEY, clock=wall)
    yield Driver(app)
    app.extensions["sandbox"].close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where a sandbox under test delivers its events."""
    with receiving() as running:
        yield running
