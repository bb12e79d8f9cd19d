"""Backends of two teams; the first has 100 credits."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.cast import Cast
from tests.web.api.backend import Backend, backend_of


@pytest.fixture
def backend(app: Flask, cast: Cast) -> Backend:
    made = backend_of(app, cast.team_id, cast.owner)
    made.give(100)
    return made


@pytest.fixture
def other_backend(app: Flask, cast: Cast) -> Backend:
    return backend_of(app, cast.other_team_id, cast.outsider)
