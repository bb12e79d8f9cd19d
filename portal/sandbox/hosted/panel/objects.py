"""Objects by type, and one object with everything that leads to and from it."""

from flask import Flask, Response, request

from portal.sandbox import destinations
from portal.sandbox.errors import no_such
from portal.sandbox.hosted.panel.events import NEWEST, with_outcome
from portal.sandbox.hosted.panel.frame import Slice, add_page, newest_first, panel
from portal.sandbox.hosted.panel.linking import linked_json
from portal.sandbox.registry import RESOURCES, render
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Object

_SHOWN = 50
OVERLAP_SECONDS = 86400
# What a list says of an object beside its id, by the member it is told by.
_TELLING = ("name", "email", "number", "status", "code", "type", "url")


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the pages their addresses in the app."""
    add_page(app, sandbox, "/objects", lambda: _types(sandbox))
    add_page(app, sandbox, "/objects/<type_name>", lambda type_name: _list(sandbox, type_name))
    add_page(app, sandbox, "/objects/<type_name>/<object_id>", lambda **ids: _one(sandbox, **ids))
    add_page(app, sandbox, "/objects/<type_name>/<object_id>/secret", lambda **ids: _roll(sandbox, **ids), ("POST",))


def _types(sandbox: Sandbox) -> Response:
    sql = "SELECT type, count(*) AS number FROM objects WHERE type <> 'event' GROUP BY type ORDER BY type"
    return panel(sandbox, "panel_types.html", "objects", types=sandbox.store.query(sql))


def _list(sandbox: Sandbox, type_name: str) -> Response:
    if type_name not in RESOURCES:
        raise no_such("type of object", type_name, "id", in_path=True)
    return panel(sandbox, "panel_objects.html", "objects", type_name=type_name, listed=_slice(sandbox, type_name))


def _slice(sandbox: Sandbox, type_name: str) -> Slice:
    members = ", ".join(f"json_extract(body, '$.{name}') AS {name}" for name in _TELLING)
    # The members are our own constants.
    sql = f"SELECT seq, id, created, {members} FROM objects WHERE type = ? "  # noqa: S608  all of it is ours
    listed = newest_first(lambda more, values: sandbox.store.query(sql + more, [type_name, *values]))
    rows = [
        {
            "id": row["id"],
            "created": row["created"],
            "told": [str(row[name]) for name in _TELLING if row[name] is not None],
        }
        for row in listed.rows
    ]
    return Slice(rows, listed.back, listed.forth, listed.names)


def _find(sandbox: Sandbox, type_name: str, object_id: str) -> Object:
    obj = sandbox.store.get(type_name, object_id)
    if obj is None:
        raise no_such("object", object_id, "id", in_path=True)
    return obj


def _one(sandbox: Sandbox, type_name: str, object_id: str, secret: str | None = None) -> Response:
    call, store = sandbox.call(), sandbox.store
    with store.lock:
        obj = _find(sandbox, type_name, object_id)
        about = store.query(
            NEWEST + " AND json_extract(body, '$.data.object.id') = ? ORDER BY seq DESC LIMIT ?", (object_id, _SHOWN)
        )
        # The id stands in quotes, so that one which begins with it is not meant.
        naming = store.query(
            "SELECT id, type FROM objects WHERE instr(body, ?) > 0 AND id <> ? AND type <> 'event' ORDER BY seq LIMIT ?",
            (f'"{object_id}"', object_id, _SHOWN),
        )
        return panel(
            sandbox,
            "panel_object.html",
            "objects",
            type_name=type_name,
            object_id=object_id,
            customer=object_id if type_name == "customer" else obj.get("customer"),
            body=linked_json(store, render(call, obj)),
            events=with_outcome(store, about),
            naming=naming,
            secrets=len(destinations.secrets(obj, call.now())) if type_name in destinations.TYPES else 0,
            secret=secret,
        )


def _roll(sandbox: Sandbox, type_name: str, object_id: str) -> Response:
    """Give an endpoint a new secret and show it, this once."""
    if type_name not in destinations.TYPES:
        raise no_such("endpoint", object_id, "id", in_path=True)
    overlap = 0 if request.form.get("overlap") == "none" else OVERLAP_SECONDS
    with sandbox.store.transaction():
        rolled = destinations.roll_secret(sandbox.call(), _find(sandbox, type_name, object_id), overlap)
    return _one(sandbox, type_name, object_id, secret=rolled["_secret"])
