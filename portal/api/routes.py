"""The documentation page: the OpenAPI document for people, in the product's own look."""

from __future__ import annotations

from flask import Blueprint, current_app, render_template

from portal.api.documentation import build, pieces

bp = Blueprint("api", __name__)
BLUEPRINTS = [bp]


@bp.get("/docs/api")
def docs() -> str:
    page = build(current_app.extensions["turnpike_api"].document)
    return render_template("api/docs.html", page=page, pieces=pieces)
