"""How many calls a key, its team and an address may make, and the headers that say how many are left.

The counts are kept apart, so that one team's flood costs no other team anything. Whoever sends keys that are not
valid has a count of their own: it refuses those tries and never a valid key beside them.
"""

from __future__ import annotations

import time

from flask import Flask, Response, current_app, g, request

from portal.api.version import API_VERSION, VERSION_HEADER
from portal.core.errors import API_PREFIX, API_TYPES, ApiError
from portal.core.limits import TOO_MANY, Counted, Quota, Window, client_address, count_all, count_each

REFUSED_KEYS = Quota("api-refused", "60 per minute")
# Each of them is a few calls to Stripe, which has limits of its own that all teams share.
PAGES = Quota("api-pages", "20 per minute")
# Each of them reads every use of up to a year.
SPANS = Quota("api-spans", "60 per minute")


def init_api_limits(app: Flask) -> None:
    @app.before_request
    def count_what_needs_no_key() -> None:
        """Whatever needs a key is counted once it is known whose call it is."""
        if request.path.startswith(API_PREFIX) and not _needs_key(app):
            count_stranger()

    @app.after_request
    def say_what_is_left(response: Response) -> Response:
        if request.path.startswith(API_PREFIX):
            response.headers[VERSION_HEADER] = API_VERSION
            # What was refused before anybody looked whose it is counts all the same.
            counted: Counted = g.get("counted") or count_all(_of_address())
            left = counted.tightest
            response.headers["X-RateLimit-Limit"] = str(left.limit)
            response.headers["X-RateLimit-Remaining"] = str(left.remaining)
            response.headers["X-RateLimit-Reset"] = str(int(time.time()) + left.reset_seconds)
        return response


def _needs_key(app: Flask) -> bool:
    return hasattr(app.view_functions.get(request.endpoint or ""), "api_scope")


def count_calls(times: int, key_id: str, team_id: str) -> list[Counted]:
    """Count calls with a valid key from one address; what comes of each.

    One key cannot use up its team's, and one host may speak for several teams.
    """
    return count_each(times, _calls("key", 1, key_id), _calls("team", 2, team_id), _of_address())


def note_counted(counted: Counted) -> None:
    """This request has been counted; 429 when the key, its team or the address has made too many."""
    g.counted = counted
    _refuse_unless_free(counted)


def count_stranger() -> None:
    """Count a call that no valid key came with; 429 when the address has made too many."""
    _count(_of_address())


def count_refused_key() -> None:
    """Count a try with a key that is not valid. Keys cannot be guessed; this tells whoever tries that it was noticed."""
    _count(Window(REFUSED_KEYS, client_address()), _of_address())


def _of_address() -> Window:
    return _calls("address", 4, client_address())


def _calls(name: str, times: int, subject: str) -> Window:
    """The limit on calls, this many times what one key has."""
    a_minute = current_app.config["SETTINGS"].api_requests_per_minute * times
    return Window(Quota(f"api-{name}", f"{a_minute} per minute"), subject)


def _count(*windows: Window) -> None:
    note_counted(count_all(*windows))


def count_for_team(quota: Quota, team_id: str) -> None:
    """Count what costs more than other calls; raises a 429 when the team has done it too often."""
    _refuse_unless_free(count_all(Window(quota, team_id)))


def _refuse_unless_free(counted: Counted) -> None:
    if not counted.free:
        headers = {"Retry-After": str(counted.tightest.wait_seconds)}
        raise ApiError(429, *API_TYPES[429], TOO_MANY, headers=headers)
