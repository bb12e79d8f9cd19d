"""The yardstick: a Flask application that keeps a body in one INSERT, commits and answers. It checks nothing.

Under the same server with the same configuration, on the same database, with a connection of its own for each thread:
as little as keeping a body takes in Flask.
"""

from __future__ import annotations

import os
import threading

import psycopg
from flask import Flask, request

app = Flask(__name__)
mine = threading.local()


@app.post("/")
def keep() -> dict[str, bool]:
    if not hasattr(mine, "connection"):
        mine.connection = psycopg.connect(os.environ["BARE_DATABASE"])
    mine.connection.execute("insert into bare_bodies (body) values (%s)", [request.get_data()])
    mine.connection.commit()
    return {"received": True}
