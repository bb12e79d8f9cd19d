"""The Flask extensions, made once and bound to the app in `create_app`."""

from __future__ import annotations

from flask import Flask
from flask_migrate import Migrate
from flask_wtf.csrf import CSRFProtect

from portal.core.database import STATEMENTS, db, engine_options, refuse_dead_connections, statement_engine_options
from portal.settings import ROOT, Settings

csrf = CSRFProtect()
migrate = Migrate(directory=str(ROOT / "migrations"))


def init_extensions(app: Flask, settings: Settings) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings.web_threads)
    of_statements = {"url": settings.database_url, **statement_engine_options(settings.web_threads)}
    app.config["SQLALCHEMY_BINDS"] = {STATEMENTS: of_statements}
    db.init_app(app)
    with app.app_context():
        for engine in db.engines.values():
            refuse_dead_connections(engine)
    migrate.init_app(app, db, compare_type=True)
    csrf.init_app(app)
