"""The yardstick of the stand-in's reads: a Flask application that answers with an object of the same size, always the same."""

from __future__ import annotations

import os

from flask import Flask, Response

app = Flask(__name__)
BODY = b"x" * int(os.environ["BARE_BYTES"])


@app.get("/<path:_path>")
def read(_path: str) -> Response:
    return Response(BODY, mimetype="application/json")
