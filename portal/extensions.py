"""The Flask extensions, made once and bound to the app in `create_app`."""

from __future__ import annotations

from flask import Flask
from flask_migrate import Migrate
from flask_wtf.csrf import CSRFProtect

from portal.core.database import db, engine_options, refuse_dead_connections
from portal.settings import ROOT, Settings

csrf = CSRFProtect()
migrate = Migrate(directory=str(ROOT / "migrations"))


def init_extensions(app: Flask, settings: Settings) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options()
    db.init_app(app)
    with app.app_context():
        refuse_dead_connections(db.engine)
    migrate.init_app(app, db, compare_type=True)
    csrf.init_app(app)
