"""A customer's story: everything that happened to a customer, in order, each with its object and its event."""

import json
from itertools import groupby
from typing import Any

from flask import Flask, Response

from portal.sandbox.hosted.panel.event_words import detail_of, words_of
from portal.sandbox.hosted.panel.frame import Slice, add_page, oldest_first, panel
from portal.sandbox.hosted.panel.linking import types_of
from portal.sandbox.registry import fetch
from portal.sandbox.sandbox import Sandbox
from portal.sandbox.wording import date, time_of_day

# What belongs to a customer names it, or names what belongs to it.
_OF_CUSTOMER = """
SELECT seq, id, created, body FROM objects WHERE type = 'event' AND seq IN (
    SELECT seq FROM objects WHERE type = 'event' AND json_extract(body, '$.data.object.customer') = :customer
    UNION SELECT seq FROM objects WHERE type = 'event' AND json_extract(body, '$.data.object.id') IN (
        SELECT :customer
        UNION SELECT id FROM objects WHERE type = 'refund' AND json_extract(body, '$.payment_intent') IN (
            SELECT id FROM objects WHERE type = 'payment_intent' AND json_extract(body, '$.customer') = :customer)
        UNION SELECT id FROM objects WHERE type = 'invoice_payment' AND json_extract(body, '$.invoice') IN (
            SELECT id FROM objects WHERE type = 'invoice' AND json_extract(body, '$.customer') = :customer))
    UNION SELECT seq FROM objects WHERE type = 'event' AND json_extract(body, '$.type') = 'payment_method.detached'
        AND json_extract(body, '$.data.previous_attributes.customer') = :customer)
"""


def add(app: Flask, sandbox: Sandbox) -> None:
    """Give the page its address in the app."""

    def story(customer_id: str) -> Response:
        call = sandbox.call()
        with sandbox.store.lock:
            customer = fetch(call, "customer", customer_id, with_deleted=True)
            told = _told(sandbox, customer_id)
        return panel(sandbox, "panel_story.html", "objects", customer=customer, listed=told)

    add_page(app, sandbox, "/stories/<customer_id>", story)


def _told(sandbox: Sandbox, customer_id: str) -> Slice:
    sql = _OF_CUSTOMER.replace(":customer", "?")
    given = [customer_id] * sql.count("?")
    listed = oldest_first(lambda more, values: sandbox.store.query(sql + more, [*given, *values]))
    happened = [_entry(row) for row in listed.rows]
    there = types_of(sandbox.store, {one["object_id"] for one in happened})
    for one in happened:
        one["there"] = one["object_id"] in there
    days = [(day, list(entries)) for day, entries in groupby(happened, key=lambda one: one["day"])]
    return Slice(days, listed.back, listed.forth, listed.names)


def _entry(row: Any) -> dict[str, Any]:
    event = json.loads(row["body"])
    obj = event["data"]["object"]
    return {
        "id": row["id"],
        "type": event["type"],
        "day": date(row["created"]),
        "time": time_of_day(row["created"]),
        "words": words_of(event),
        "detail": detail_of(obj),
        "object_id": obj.get("id") or "",
        "object_type": obj["object"],
    }
