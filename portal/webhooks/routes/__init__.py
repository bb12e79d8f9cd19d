"""`POST /webhooks/stripe`: verify, keep, answer. Nothing is applied here."""

from __future__ import annotations

import time

import structlog
from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from portal.core.failpoints import failpoint
from portal.core.unit_of_work import statement_unit
from portal.extensions import csrf
from portal.webhooks.counters import count_refused
from portal.webhooks.envelope import Malformed, open_envelope
from portal.webhooks.receive import keep
from portal.webhooks.signature import BadSignature, verify

log = structlog.get_logger(__name__)

bp = Blueprint("webhooks", __name__)
BLUEPRINTS = [bp]

KEPT = b'{"received":true}\n'


@bp.post("/webhooks/stripe")
@csrf.exempt  # programs send no token; the signature is what proves the sender
def stripe_webhook() -> ResponseReturnValue:
    """200 once the event is kept, also when it was before; 400 (413 for size) for anything Stripe would not send."""
    settings = current_app.config["SETTINGS"]
    body = request.get_data(cache=False)
    try:
        verify(body, request.headers.get("Stripe-Signature"), settings.stripe_webhook_secrets, time.time())
        envelope = open_envelope(body)
        if envelope.livemode != settings.livemode:
            raise Malformed("livemode is not this instance's")
    except (BadSignature, Malformed) as error:
        count_refused()
        log.warning("webhook_refused", reason=str(error), kind=type(error).__name__, bytes=len(body))
        return jsonify(error=str(error)), 400
    with statement_unit() as run:
        new = keep(envelope, body, run)
    failpoint("webhooks.kept")
    # For the line that every request leaves in the log: one of our own beside it would double the cost.
    structlog.contextvars.bind_contextvars(event_id=envelope.event_id, event_type=envelope.type, new=new)
    return Response(KEPT, mimetype="application/json")
