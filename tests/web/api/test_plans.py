"""What PostgreSQL thinks about before it answers: the statements of hot calls are planned a few times and then no more."""

from __future__ import annotations

from sqlalchemy import Engine, NullPool, create_engine, text

from portal.core.database import db
from portal.core.unit_of_work import unit_of_work
from tests.web.api.backend import Backend

# It plans each five times for the values at hand, and then compares. What is noticed meanwhile about a table (whenever it
# is looked through) makes it compare anew, so that a few times more say nothing: of those planned again and again it is each.
TRIED = 5
TIMES = 4 * TRIED
ROWS = 20_000
KEYS = text(
    "insert into usage_keys (team_id, key, request_hash, status, body, created_at)"
    " select :team_id, 'old-' || number, repeat('0', 64), 200, '{}', now() from generate_series(1, :rows) as number"
)
FOUND = text("select statement, custom_plans, generic_plans from pg_prepared_statements where name like 'hot%'")


def planned_anew(engine: Engine) -> dict[str, float]:
    """Of the connection that is lent next: for which share of its calls each statement was planned for the values at hand."""
    with engine.connect() as connection:
        return {
            row.statement: row.custom_plans / (row.generic_plans + row.custom_plans)
            for row in connection.execute(FOUND)
            if row.generic_plans + row.custom_plans > TRIED
        }


def grow(backend: Backend) -> None:
    """Keys enough for PostgreSQL to think that it matters how many are asked for, and it knows of them."""
    with backend.app.app_context(), unit_of_work() as session:
        session.execute(KEYS, {"team_id": backend.team_id, "rows": ROWS})
    owner = create_engine(backend.app.config["SETTINGS"].database_owner_url, poolclass=NullPool)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("analyze usage_keys"))


def test_the_statements_of_hot_calls_are_not_planned_again_and_again(backend: Backend) -> None:
    with backend.app.app_context():
        for engine in db.engines.values():
            engine.dispose()  # its connections have the statements of other tests
    grow(backend)
    for _ in range(TIMES):
        assert backend.use().status_code == 200
        held = backend.hold(amount=1).get_json()["id"]
        assert backend.settle(held, amount=1).status_code == 200
        uses = [{"idempotency_key": f"{held}-{number}", "meter": "send_email", "quantity": 1} for number in range(2)]
        assert backend.post("/usage/batch", {"uses": uses}).status_code == 200
    with backend.app.app_context():
        found = {
            statement: share for engine in db.engines.values() for statement, share in planned_anew(engine).items()
        }
    assert len(found) > 5
    assert {statement: share for statement, share in found.items() if share > 0.5} == {}
