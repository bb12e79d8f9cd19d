"""Metering of routes in the same process: asked before the action, counted after it.

    @metered("analyze_lead")
    def analyze() -> Response: ...

    with metering("analyze_lead", team_id, quantity=3):
        ...

    @metered("generate_campaign", held_for=timedelta(minutes=10))
    def generate() -> Response: ...

Before the action the team must be able to pay, and the budgets of its API key and member must let it, else `UseRefused` is
raised and the action does not begin. After it, the use is recorded in a unit of its own. Of an action that failed (an
exception, or an answer of 400 and above) nothing is taken, unless the meter's `charge_failed` in the catalog says so. When the
database cannot be asked before the action, the meter's `when_unavailable` decides: `refuse` raises `MeteringUnavailable`,
`allow` lets the action pass.

Calls at the same moment are all let begin by the same credits, unless what one costs is `held_for` as long as it may take: then
those that the rest does not suffice for are refused. Once the action is over, or so much time has passed, nothing is held.

What was there before the action may be gone after it, the database too. The action is done then, and what it answers stands:
whoever was told otherwise would do it again. It stays uncounted, which the log and a metric tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from functools import partial, wraps
from typing import Any, TypeVar, cast

import structlog
from flask import g, has_request_context, make_response, request
from psycopg import OperationalError as DriverOperationalError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.accounts import audit
from portal.catalog.current import catalog
from portal.catalog.definition import Meter
from portal.core.database import db
from portal.core.ids import new_id
from portal.core.metrics import counter
from portal.core.unit_of_work import end_read, in_transaction, run_in_unit, unit_of_work
from portal.credits import holds
from portal.credits.auto_purchase import intend_for_refused
from portal.credits.errors import HoldClosed, InsufficientCredits
from portal.usage.budgets import mark_refused
from portal.usage.held_uses import hold_for
from portal.usage.metering import (
    BudgetExceeded,
    MeteringError,
    Recorded,
    Refusal,
    UnknownMeter,
    Use,
    record,
    refusal_of,
)

log = structlog.get_logger(__name__)

View = TypeVar("View", bound=Callable[..., Any])
Body = Callable[[Recorded], str]

FAILED = 400
DATABASE_ERRORS = (DBAPIError, DriverOperationalError, PoolTimeout)
KEY_HEADER = "Idempotency-Key"
CSRF_FIELD = "csrf_token"
UNCOUNTED = counter("billing_uncounted_uses_total", "Actions of routes that were done and not counted.", "meter", "why")

# The team whose uses pass uncounted in what runs now.
_bypassed: ContextVar[str | None] = ContextVar("bypassed", default=None)


class UseRefused(Exception):
    """The action did not begin: the team cannot pay for `use`, for the `reason` that metering has."""

    def __init__(self, use: Use, reason: Refusal) -> None:
        super().__init__(str(reason))
        self.use, self.reason = use, reason


class MeteringUnavailable(Exception):
    """The database cannot be asked, and the meter's uses are refused meanwhile."""


class Metered:
    """An action under way. `fail` says that it failed without raising; `quantity` may become what it came to. Of an action
    that came to nothing, 0, nothing is counted.
    """

    def __init__(self, use: Use) -> None:
        self.use, self.failed = use, False
        self.quantity = use.quantity

    @property
    def quantity(self) -> int:
        return self._quantity

    @quantity.setter
    def quantity(self, quantity: int) -> None:
        """Raises `ValueError` for less than nothing, where it is said and not when it is too late to be counted."""
        if quantity < 0:
            raise ValueError(f"an action cannot come to {quantity} uses")
        self._quantity = quantity

    def fail(self) -> None:
        self.failed = True


def metered(
    meter: str,
    *,
    quantity: int | Callable[..., int] = 1,
    team: Callable[..., str] | None = None,
    held_for: timedelta | None = None,
) -> Callable[[View], View]:
    """Meter each call of a view. `quantity` and `team` may be worked out from the view's arguments; `held_for` as `metering`.

    The team is by default the one that the guard of the page or the API key has found, and the use is then the member's or
    the key's. A request with an `Idempotency-Key` is counted once, however often it is sent; another request is another use,
    whatever key it carries. That a repeated one does nothing new is for the view to see to.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def counted(*args: Any, **values: Any) -> Any:
            whose = {"team_id": team(*args, **values)} if team else _caller_of_request()
            much = quantity(*args, **values) if callable(quantity) else quantity
            key = _key_of_request(whose.get("user_id", ""))
            with metering(meter, quantity=much, key=key, held_for=held_for, **whose) as action:
                answer = view(*args, **values)
                if make_response(answer).status_code >= FAILED:
                    action.fail()
            return answer

        return cast(View, counted)

    return decorate


@contextmanager
def metering(
    meter: str,
    team_id: str,
    *,
    quantity: int = 1,
    key: str | None = None,
    user_id: str | None = None,
    api_key_id: str | None = None,
    held_for: timedelta | None = None,
) -> Iterator[Metered]:
    """Meter what is done inside. Raises `UseRefused` and `MeteringUnavailable` before it, `UnknownMeter` for a meter that
    the catalog does not have, and `ValueError` for a quantity below 0.

    What it costs is `held_for` so long at most (a second to a week, as any hold); of a meter that takes no credits nothing is.
    """
    known = catalog().meter(meter)
    if known is None:
        raise UnknownMeter(f"there is no meter {meter!r}")
    action = Metered(Use(team_id, key or new_id("call"), meter, quantity, api_key_id, user_id))
    if _bypassed.get() == team_id:
        yield action
        return
    held: str | None = None
    if held_for is not None and known.mode == "credits":
        held = _hold(known, action.use, held_for)
    else:
        _ask(known, action.use)
    try:
        yield action
    except BaseException:
        action.fail()
        raise
    finally:
        if known.charge_failed or not action.failed:
            _count(known, action, held)
        else:
            _let_go(action.use.team_id, held)


@contextmanager
def unmetered(actor: audit.Actor, team_id: str, reason: str) -> Iterator[None]:
    """Let the team's uses inside pass without being asked or counted, as staff may have to; the audit trail keeps why."""
    with unit_of_work():
        audit.record(actor, "metering.bypassed", team_id=team_id, reason=reason)
    token = _bypassed.set(team_id)
    try:
        yield
    finally:
        _bypassed.reset(token)


def _ask(meter: Meter, use: Use) -> None:
    begun = in_transaction()
    try:
        refusal = refusal_of(use)
        if not begun:
            # The action may call Stripe, or open a unit of its own.
            end_read()
    except DATABASE_ERRORS as error:
        _without_asking(meter, error)
        return
    if refusal is not None:
        _leave_behind(use, refusal)
        raise UseRefused(use, refusal)


def _hold(meter: Meter, use: Use, held_for: timedelta) -> str | None:
    """The hold on what the use costs, where there is one: in a unit of its own, for all that begin at the same moment to see."""
    try:
        return run_in_unit(partial(hold_for, use, held_for))
    except (InsufficientCredits, MeteringError) as refused:
        _leave_behind(use, refused)
        raise UseRefused(use, refused) from refused
    except DATABASE_ERRORS as error:
        _without_asking(meter, error)
        return None


def _without_asking(meter: Meter, error: Exception) -> None:
    db.session.rollback()
    if meter.when_unavailable == "refuse":
        raise MeteringUnavailable(f"uses of {meter.key} cannot be counted at the moment") from error


def _count(meter: Meter, action: Metered, held: str | None) -> None:
    """The action is over, so whatever keeps it from being counted is told, not raised."""
    if not action.quantity:
        _let_go(action.use.team_id, held)
        return
    use = replace(action.use, quantity=action.quantity)
    try:
        _in_own_unit(partial(_record, use, held))
    except (InsufficientCredits, MeteringError) as refused:
        _let_go(use.team_id, held)
        _uncounted(meter, type(refused).__name__)
        _leave_behind(use, refused)
    except DATABASE_ERRORS:
        db.session.rollback()
        _uncounted(meter, "unavailable")


def _in_own_unit(work: Callable[[], None]) -> None:
    """Once more if that fails: an action that the database has failed leaves a transaction in which nothing can be done."""
    try:
        run_in_unit(work)
    except DATABASE_ERRORS:
        db.session.rollback()
        run_in_unit(work)


def _record(use: Use, held: str | None) -> None:
    """In one unit, so that nobody else gets in between what is given back and what is taken of it."""
    if held is not None:
        _release(use.team_id, held)
    record(use, _kept)


def _release(team_id: str, held: str) -> None:
    with suppress(HoldClosed):  # the action took longer than it was to be held
        holds.release(team_id, held)


def _let_go(team_id: str, held: str | None) -> None:
    """Give back what is held, if anything is. Where that fails the hold ends by itself."""
    if held is None:
        return
    try:
        _in_own_unit(partial(_release, team_id, held))
    except DATABASE_ERRORS as error:
        db.session.rollback()
        log.warning("hold_not_released", team_id=team_id, hold_id=held, reason=type(error).__name__)


def _leave_behind(use: Use, refused: Refusal) -> None:
    """Begin a purchase of what is missing, or mark the budget that was in the way, so that it is told of.

    In a unit of its own, since what was refused leaves nothing behind. The next one that is refused tries it again.
    """
    try:
        if isinstance(refused, InsufficientCredits) and refused.buys:
            run_in_unit(partial(intend_for_refused, use.team_id, refused))
        if isinstance(refused, BudgetExceeded) and refused.unmarked:
            run_in_unit(partial(mark_refused, use.team_id, [refused]))
    except DATABASE_ERRORS as error:
        db.session.rollback()
        log.warning("refusal_left_nothing", team_id=use.team_id, reason=type(error).__name__)


def _kept(recorded: Recorded) -> str:
    return f'{{"id": "{recorded.id}"}}'


def _uncounted(meter: Meter, why: str) -> None:
    log.error("use_not_counted", meter=meter.key, why=why)
    UNCOUNTED.labels(meter=meter.key, why=why).inc()


def _caller_of_request() -> dict[str, Any]:
    """The team that the guard has found, with the member who asked or the key that was sent."""
    member, caller = g.get("membership"), g.get("caller")
    if member is not None:
        return {"team_id": member.team_id, "user_id": member.user_id}
    if caller is not None:
        return {"team_id": caller.team_id, "api_key_id": caller.key_id}
    raise RuntimeError("there is no team in this request: say whose use it is with `team`")


def _key_of_request(user_id: str) -> str | None:
    """Of two routes, the same header names two things, and so it does of two requests or members: else one that was paid
    for once would open the route to all others for ever.
    """
    sent = request.headers.get(KEY_HEADER) if has_request_context() else None
    return f"{request.endpoint}"[:120] + f":{sent[:60]}:{_digest_of_request(sent, user_id)}" if sent else None


def _digest_of_request(key: str, user_id: str) -> str:
    """A form is read as its fields and files, whose order of bytes differs between two that say the same."""
    digest = hashlib.sha256(f"{key}\n{user_id}\n{request.method} {request.full_path}".encode())
    for name, text in request.form.items(multi=True):
        if name != CSRF_FIELD:  # another one each time that a page is shown
            digest.update(f"\n{len(name)} {name} {len(text)} {text}".encode())
    for name, file in request.files.items(multi=True):
        digest.update(f"\n{len(name)} {name} ".encode() + hashlib.sha256(file.stream.read()).digest())
        file.stream.seek(0)
    digest.update(request.get_data())
    return digest.hexdigest()
