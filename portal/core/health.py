"""`/healthz`: the process answers. `/readyz`: it can serve, which needs the database at the newest migration."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from portal.core import clock, jobs
from portal.core.database import db
from portal.settings import ROOT

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> ResponseReturnValue:
    return jsonify(status="ok")


@bp.get("/readyz")
def readyz() -> ResponseReturnValue:
    """503 only for what stops us from serving; Redis is a convenience and Stripe is somebody else's."""
    checks = {"database": _database(), "redis": jobs.redis_state()}
    ready = checks["database"] == "ok"
    return jsonify(status="ok" if ready else "unavailable", checks=checks), 200 if ready else 503


def _database() -> str:
    try:
        db.session.execute(text("set local statement_timeout = '1s'"))
        found = db.session.execute(text("select version_num from alembic_version")).scalar()
        moved = current_app.config["SETTINGS"].production and clock.offset()
    except SQLAlchemyError:
        db.session.rollback()
        return "unreachable, or not migrated"
    if found != migration_head():
        return f"at migration {found}, the code needs {migration_head()}"
    return "the clock is moved, which no production instance may have" if moved else "ok"


def migration_head() -> str | None:
    config = Config()
    config.set_main_option("script_location", str(Path(ROOT) / "migrations"))
    return ScriptDirectory.from_config(config).get_current_head()
