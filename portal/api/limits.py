"""How many calls a key and its team may make, and the headers that say how many are left.

The counts are kept apart, so that one team's flood costs no other team anything. Whoever sends keys that are not
valid has a count of their own: it refuses those tries and never a valid key beside them. What an address may do in
all is counted before anything else is done (`core/limits`).
"""

from __future__ import annotations

from flask import Flask, Response, g, request

from portal.api.version import API_VERSION, VERSION_HEADER
from portal.core.errors import API_PREFIX, API_TYPES, ApiError
from portal.core.limits import TOO_MANY, Quota, api_calls, client_address, count, limiter, standing, wait_seconds

REFUSED_TRIES = "60 per minute"
# Each of them is a few calls to Stripe, which has limits of its own that all teams share.
PAGES = Quota("api-pages", "20 per minute")
# Each of them reads every use of up to a year.
SPANS = Quota("api-spans", "60 per minute")


def init_api_headers(app: Flask) -> None:
    @app.after_request
    def say_what_is_left(response: Response) -> Response:
        if request.path.startswith(API_PREFIX):
            response.headers[VERSION_HEADER] = API_VERSION
            left = standing()
            if left is not None:
                response.headers["X-RateLimit-Limit"] = str(left.limit)
                response.headers["X-RateLimit-Remaining"] = str(left.remaining)
                response.headers["X-RateLimit-Reset"] = str(left.reset_at)
        return response


@limiter.shared_limit(api_calls(1), scope="api-key", key_func=lambda: g.caller.key_id, error_message=TOO_MANY)
@limiter.shared_limit(api_calls(2), scope="api-team", key_func=lambda: g.caller.team_id, error_message=TOO_MANY)
def count_call() -> None:
    """Count a call of the caller's; 429 when the key or the team has made too many. One key cannot use up its team's."""


@limiter.shared_limit(REFUSED_TRIES, scope="api-refused", key_func=client_address, error_message=TOO_MANY)
def count_refused_key() -> None:
    """Count a try with a key that is not valid. Keys cannot be guessed; this spares the database."""


def count_for_team(quota: Quota, team_id: str) -> None:
    """Count what costs more than other calls; raises a 429 when the team has done it too often."""
    if not count(quota, team_id):
        headers = {"Retry-After": str(max(1, wait_seconds(quota, team_id)))}
        raise ApiError(429, *API_TYPES[429], TOO_MANY, headers=headers)
