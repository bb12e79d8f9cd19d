"""Asking for the password once more before what a stolen session must not do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Response, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.sign_in import current_session
from portal.core.htmx import is_htmx

View = TypeVar("View", bound=Callable[..., Any])

FRESH_FOR = timedelta(minutes=15)


def fresh(back: str) -> Callable[[View], View]:
    """Let a request pass only if the password was given within `FRESH_FOR`; else ask, and lead back to the page `back`.

    Stands below the guard that has let the person in. What a form held is not kept: it is sent again from its page.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **values: Any) -> Any:
            found = current_session()
            if found is None or found.proof_age > FRESH_FOR:
                return _ask(_address_of(back))
            return view(*args, **values)

        guarded.fresh_back = back  # type: ignore[attr-defined]  # read by the test that walks the URL map
        return cast(View, guarded)

    return decorate


def _address_of(endpoint: str) -> str:
    wanted = next(current_app.url_map.iter_rules(endpoint)).arguments
    given = request.view_args or {}
    return url_for(endpoint, **{name: value for name, value in given.items() if name in wanted})


def _ask(back: str) -> ResponseReturnValue:
    address = url_for("security.verify", next=back)
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": address})
    return redirect(address, 303)
