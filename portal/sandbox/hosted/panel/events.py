"""The log of events, and one event with its payload, every attempt to deliver it, and a button to send it again."""

import sqlite3
from typing import Any

from flask import Flask, Response, request

from portal.sandbox import deliveries, destinations
from portal.sandbox.chaos.deliveries import faults_of
from portal.sandbox.errors import invalid
from portal.sandbox.hosted.panel import addresses
from portal.sandbox.hosted.panel.frame import Slice, add_page, done, newest_first, panel
from portal.sandbox.hosted.panel.linking import linked_json, types_of
from portal.sandbox.registry import fetch, render
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.store import Store

NEWEST = """
SELECT seq, id, created, json_extract(body, '$.type') AS type, json_extract(body, '$.data.object.id') AS object_id,
       json_extract(body, '$.data.object.object') AS object_type,
       (SELECT count(*) FROM deliveries WHERE event_id = objects.id) AS endpoints,
       (SELECT count(*) FROM deliveries WHERE event_id = objects.id AND state = 'delivered') AS delivered,
       (SELECT count(*) FROM deliveries WHERE event_id = objects.id AND state = 'failed') AS failed,
       (SELECT sum(attempts) FROM deliveries WHERE event_id = objects.id) AS attempts,
       (SELECT coalesce(attempts.error, 'HTTP ' || attempts.status) FROM attempts
        JOIN deliveries ON deliveries.id = attempts.delivery_id
        WHERE deliveries.event_id = objects.id ORDER BY attempts.id DESC LIMIT 1) AS last_outcome
FROM objects WHERE type = 'event'
"""


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the pages their addresses in the app."""
    add_page(app, sandbox, "/events", lambda: _log(sandbox))
    add_page(app, sandbox, "/events/<event_id>", lambda event_id: _one(sandbox, event_id))
    add_page(app, sandbox, "/events/<event_id>/resend", lambda event_id: _resend(sandbox, event_id), ("POST",))


def with_outcome(store: Store, rows: list[sqlite3.Row]) -> list[dict[str, Any]]:
    """Return events as a table shows them: whether their object is still there, and how their delivery went."""
    there = types_of(store, {row["object_id"] for row in rows if row["object_id"]})
    return [dict(row) | {"there": row["object_id"] in there, "outcome": _outcome(row)} for row in rows]


def _outcome(row: sqlite3.Row) -> tuple[str, str]:
    if not row["endpoints"]:
        return "Not sent", ""
    if row["delivered"] == row["endpoints"]:
        return "Delivered", "ok"
    return ("Failed", "bad") if row["failed"] else ("Waiting", "")


def _log(sandbox: Sandbox) -> Response:
    kind, request_id = request.args.get("type", "").strip(), request.args.get("request", "").strip()
    where, given = "", []
    if kind:
        where, given = " AND json_extract(body, '$.type') GLOB ?", [kind]
    if request_id:
        where, given = where + " AND json_extract(body, '$.request.id') = ?", [*given, request_id]
    store = sandbox.store
    listed = newest_first(
        lambda more, values: store.query(NEWEST + where + more, [*given, *values]), type=kind, request=request_id
    )
    kinds = store.query(
        "SELECT DISTINCT json_extract(body, '$.type') AS type FROM objects WHERE type = 'event' ORDER BY 1"
    )
    return panel(
        sandbox,
        "panel_events.html",
        "events",
        listed=Slice(with_outcome(store, listed.rows), listed.back, listed.forth, listed.names),
        kind=kind,
        request_id=request_id,
        kinds=[row["type"] for row in kinds],
    )


def _one(sandbox: Sandbox, event_id: str) -> Response:
    call, store = sandbox.call(), sandbox.store
    with store.lock:
        event = fetch(call, "event", event_id)
        obj = event["data"]["object"]
        return panel(
            sandbox,
            "panel_event.html",
            "events",
            event=event,
            about=(obj["object"], obj["id"]) if obj.get("id") in types_of(store, {obj.get("id") or ""}) else None,
            customer=obj["id"] if obj["object"] == "customer" else obj.get("customer"),
            body=linked_json(store, render(call, event)),
            deliveries=_deliveries(store, event_id),
            endpoints=destinations.enabled(call),
        )


def _deliveries(store: Store, event_id: str) -> list[dict[str, Any]]:
    """Every endpoint it was for, with every attempt to bring it there."""
    found = []
    for row in store.query("SELECT * FROM deliveries WHERE event_id = ? ORDER BY id", (event_id,)):
        endpoint = destinations.find(store, row["endpoint_id"])
        found.append(
            {
                "endpoint_id": row["endpoint_id"],
                "type": endpoint["object"] if endpoint else None,
                "address": destinations.address(endpoint) if endpoint else "an endpoint that is gone",
                "open": endpoint is not None and endpoint["status"] == "enabled",
                "state": row["state"],
                "faults": list(faults_of(store, row["id"])),
                "attempts": store.query("SELECT * FROM attempts WHERE delivery_id = ? ORDER BY id", (row["id"],)),
            }
        )
    return found


def _resend(sandbox: Sandbox, event_id: str) -> Response:
    call = sandbox.call()
    with sandbox.store.transaction():
        event, endpoint_id = fetch(call, "event", event_id), request.form.get("endpoint") or None
        if not deliveries.send_again(call, event, endpoint_id):
            raise invalid("No enabled endpoint is there to send it to.", "endpoint")
    return done(addresses.event(event_id), "resent")
