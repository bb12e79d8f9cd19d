"""The sandbox's front page: what it is, which cards to try, and the newest events with their deliveries."""

from flask import Flask, Response

from portal.sandbox import cards, destinations
from portal.sandbox.hosted.pages import show
from portal.sandbox.sandbox import Sandbox

EVENTS_SHOWN = 50

_NEWEST = """
SELECT id, created, json_extract(body, '$.type') AS type, json_extract(body, '$.data.object.id') AS object_id,
       (SELECT count(*) FROM deliveries WHERE event_id = objects.id) AS endpoints,
       (SELECT count(*) FROM deliveries WHERE event_id = objects.id AND state = 'delivered') AS delivered,
       (SELECT count(*) FROM deliveries WHERE event_id = objects.id AND state = 'failed') AS failed,
       (SELECT sum(attempts) FROM deliveries WHERE event_id = objects.id) AS attempts,
       (SELECT coalesce(attempts.error, 'HTTP ' || attempts.status) FROM attempts
        JOIN deliveries ON deliveries.id = attempts.delivery_id
        WHERE deliveries.event_id = objects.id ORDER BY attempts.id DESC LIMIT 1) AS last_outcome
FROM objects WHERE type = 'event' ORDER BY seq DESC LIMIT ?
"""


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def home() -> Response:
        call = sandbox.call()
        return show(
            sandbox,
            "home.html",
            events=call.store.query(_NEWEST, (EVENTS_SHOWN,)),
            endpoints=destinations.all_of(call),
            address_of=destinations.address,
            hints=cards.HINTS,
            now=sandbox.clock.now(),
            offset_seconds=sandbox.clock.offset_seconds(),
        )

    app.add_url_rule("/", view_func=home)
