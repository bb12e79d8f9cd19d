"""Whatever is sent, the answer is a clear error and never a failure of the sandbox."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.sandbox import create_sandbox
from portal.sandbox.endpoints import Endpoint
from portal.sandbox.parameters import Array, Choice, Hash, Param
from portal.sandbox.resources import ENDPOINTS
from tests.sandbox.driving import KEY, Driver

_VALUES = st.one_of(
    st.sampled_from(["", "true", "false", "0", "1", "-1", "9" * 30, "usd", "now", "card", "pm_card_visa", "\x00", "%"]),
    st.text(max_size=12),
)


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    app = create_sandbox(api_key=KEY)
    made = Driver(app)
    made.paid(made.session())
    yield made
    app.extensions["sandbox"].close()


def _names(fields: dict[str, Param], prefix: str = "") -> list[tuple[str, Param]]:
    """Return every name an endpoint takes, as it is sent."""
    names: list[tuple[str, Param]] = []
    for key, param in fields.items():
        name = f"{prefix}[{key}]" if prefix else key
        inner = param.item if isinstance(param, Array) else param
        name = f"{name}[0]" if isinstance(param, Array) else name
        names.append((name, inner))
        if isinstance(inner, Hash):
            names += _names(dict(inner.fields), name)
    return names


@settings(max_examples=400, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_breaks_the_sandbox(driver: Driver, data: st.DataObject) -> None:
    endpoint: Endpoint = data.draw(st.sampled_from(ENDPOINTS))
    known = [*_names(dict(endpoint.parameters)), ("expand[]", Choice()), ("metadata[a]", Choice())]
    sent: dict[str, str] = {}
    for name, param in data.draw(st.lists(st.sampled_from(known), max_size=6)):
        words = (
            st.sampled_from(list(param.options)) if isinstance(param, Choice) and param.options else _known_ids(driver)
        )
        sent[name] = data.draw(st.one_of(words, _VALUES))
    path = re.sub(r"\{\w+\}", lambda _: data.draw(_known_ids(driver)), endpoint.path)
    response = driver.send(endpoint.method, path, sent)
    assert response.status_code in {200, 400, 402, 404}, (endpoint, path, sent, response.data)


def _known_ids(driver: Driver) -> st.SearchStrategy[str]:
    """Return the ids that exist now, drawn by a number: how many there are grows with what was sent before."""
    ids = _ids(driver)
    return st.integers(0, 63).map(lambda number: ids[number % len(ids)])


def _ids(driver: Driver) -> list[str]:
    store = driver.app.extensions["sandbox"].store
    newest = "SELECT id FROM objects WHERE seq IN (SELECT max(seq) FROM objects GROUP BY type) ORDER BY type"
    return [row["id"] for row in store.query(newest)]
