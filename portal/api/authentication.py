"""Who calls: the API key in the Authorization header says which team, and nothing else in the request does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import structlog
from flask import current_app, g, request
from sqlalchemy.exc import SQLAlchemyError

from portal.accounts.api_key_format import looks_like_key
from portal.accounts.api_keys import KnownKey, Scope, find_key, note_use
from portal.accounts.models import Team
from portal.api.limits import count_calls, count_refused_key, count_stranger, note_counted
from portal.api.version import refuse_other_versions
from portal.billing import switch
from portal.core.database import db
from portal.core.errors import ApiError
from portal.core.limits import Counted, client_address
from portal.core.together import Group, Together
from portal.core.unit_of_work import unit_of_work

View = TypeVar("View", bound=Callable[..., Any])

# The key that a request shows, where there is one, and what came of counting the request, where the key is valid.
# Without a database nobody can tell.
Shown = tuple[KnownKey | None, Counted | None] | SQLAlchemyError

HOW = "Send an API key of the team in the header Authorization: Bearer <key>."


@dataclass(frozen=True)
class Caller:
    """The team on whose behalf the request is made, and the key that proves it."""

    team_id: str
    key_id: str

    @property
    def team(self) -> Team:
        return db.session.get_one(Team, self.team_id)


def requires(scope: Scope, parameters: Collection[str] = ()) -> Callable[[View], View]:
    """Let a request pass only with a key that has `scope`; the view finds the team by `caller()`.

    `parameters` are those that the call takes in its address.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **values: Any) -> Any:
            key = _admitted(parameters)
            g.caller = Caller(key.team_id, key.id)
            structlog.contextvars.bind_contextvars(team_id=key.team_id, key_id=key.id)
            if scope not in key.scopes:
                message = f"This API key does not have the scope {scope.value}."
                raise ApiError(403, "permission_error", "missing_scope", message)
            _refuse_while_closed(scope, key.team_id)
            if not key.used_lately:
                with unit_of_work():
                    note_use(key.id)
            return view(*args, **values)

        guarded.api_scope = scope  # type: ignore[attr-defined]  # read by the test that walks the URL map
        return cast(View, guarded)

    return decorate


def _refuse_while_closed(scope: Scope, team_id: str) -> None:
    """Calls that lead a person to where money moves. Metering and reading go on: the customer's product needs them."""
    if scope.value in switch.SELLING_SCOPES and not switch.open_for(team_id):
        message = "Billing is not open for this team at the moment. Nothing was made or charged."
        raise ApiError(403, "permission_error", "billing_closed", message)


def caller() -> Caller:
    return cast(Caller, g.caller)


def _admitted(parameters: Collection[str]) -> KnownKey:
    """The caller's key, the call being counted, whatever comes of it. Raises `ApiError`."""
    try:
        _check_address(parameters)
        refuse_other_versions()
        shown = _shown.join((_bearer(), client_address()), None)
        if isinstance(shown, SQLAlchemyError):
            raise shown
        key, counted = shown
        if fault := _fault(key):
            raise fault
    except ApiError as error:
        (count_refused_key if error.status == 401 else count_stranger)()
        raise
    assert key is not None
    assert counted is not None
    note_counted(counted)
    return key


def _look(group: Group[None, Shown]) -> list[Shown]:
    """Requests that show the same key from one address at the same moment: looked up, and counted, at once."""
    group.gather()
    text, _address = group.name
    try:
        key = find_key(text)
    except SQLAlchemyError as error:
        group.gather()  # nobody is to wait for the same in vain again
        return [error] * len(group.members)
    times = len(group.members)
    if key is None or _fault(key) is not None:
        return [(key, None)] * times
    return [(key, counted) for counted in count_calls(times, key.id, key.team_id)]


_shown: Together[None, Shown] = Together(_look)


def _check_address(parameters: Collection[str]) -> None:
    """Keys in an address end up in logs; and of two values for one name, programs take different ones."""
    if not request.query_string:
        return
    names = set(request.args)
    if any(looks_like_key(value) for value in request.args.values()) or {"api_key", "key", "token"} & names:
        message = f"An API key does not belong into the address, where logs keep it: revoke it. {HOW}"
        raise ApiError(400, "invalid_request_error", "key_in_address", message)
    if names - set(parameters):
        known = f"takes {', '.join(sorted(parameters))}" if parameters else "takes no parameters"
        message = f"This call {known} in its address; anything else goes into the body as JSON."
        raise ApiError(400, "invalid_request_error", "unexpected_parameter", message)
    twice = [name for name, values in request.args.lists() if len(values) > 1]
    if twice:
        message = f"The address gives {twice[0]} more than once; which of them is meant?"
        raise ApiError(400, "invalid_request_error", "unexpected_parameter", message, param=twice[0])


def _bearer() -> str:
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not text.strip():
        raise _refused("key_missing", f"There is no API key. {HOW}")
    return text.strip()


def _fault(key: KnownKey | None) -> ApiError | None:
    """401 when there is no key that is valid now, 403 when it is one of the other mode."""
    if key is None:
        return _refused("key_invalid", "This API key is not one of ours.")
    if key.revoked:
        return _refused("key_revoked", "This API key is revoked.")
    if key.expired:
        return _refused("key_expired", "This API key has expired.")
    livemode = current_app.config["SETTINGS"].livemode
    if key.livemode != livemode:
        message = f"This is a {_mode(key.livemode)} key, and this service runs in {_mode(livemode)} mode."
        return ApiError(403, "permission_error", "wrong_mode", message)
    return None


def _refused(code: str, message: str) -> ApiError:
    return ApiError(401, "authentication_error", code, message)


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"
