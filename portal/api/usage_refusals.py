"""Why a use was not recorded, in the API's words: the error of a call, or the result of one use among many."""

from __future__ import annotations

from functools import cached_property

from flask import Flask, current_app, url_for
from flask.typing import ResponseReturnValue

from portal.billing.bundle_sale import buy_path
from portal.core.errors import ApiError
from portal.credits.errors import InsufficientCredits
from portal.credits.purchase_standing import standing
from portal.usage.metered import MeteringUnavailable, UseRefused
from portal.usage.metering import Refusal
from portal.usage.queries import meter_names
from portal.usage.uses import (
    AHEAD_MAX,
    LATE_MAX,
    BudgetExceeded,
    CreditsFrozen,
    IncludedUsedUp,
    KeyReused,
    OutOfTime,
    UnknownMember,
    UnknownMeter,
    Use,
)

FROZEN = "The team's credits are frozen until its plan goes on: it is paused, or has to be paid. Nothing was recorded."
KEY_REUSED = "This Idempotency-Key was used for another request. Use a new key for a new use."

OUT_OF_TIME = f"Must be at most {LATE_MAX.days} days ago, and no more than {AHEAD_MAX.seconds // 60} minutes ahead."

UNAVAILABLE = "What is used cannot be counted at the moment, so nothing was done. Try again in a moment."


def init_metered_routes(app: Flask) -> None:
    """Answer for routes in the same process that `portal.usage.metered` lets not begin, as the API's own calls do."""

    @app.errorhandler(UseRefused)
    def refused(error: UseRefused) -> ResponseReturnValue:
        return app.handle_user_exception(Refusals(error.use.team_id).error(error.use, error.reason))

    @app.errorhandler(MeteringUnavailable)
    def unavailable(_error: MeteringUnavailable) -> ResponseReturnValue:
        return app.handle_user_exception(
            ApiError(503, "api_error", "internal", UNAVAILABLE, headers={"Retry-After": "1"})
        )


class Refusals:
    """The refusals of one call; what several of them say is looked up once."""

    def __init__(self, team_id: str) -> None:
        self._team_id = team_id

    def error(self, use: Use, refused: Refusal) -> ApiError:
        match refused:
            case InsufficientCredits():
                found = self._payment_required(refused)
            case IncludedUsedUp():
                found = self._limit_reached(use, refused)
            case BudgetExceeded():
                found = self._budget_exceeded(refused)
            case CreditsFrozen():
                found = ApiError(403, "permission_error", "credits_frozen", FROZEN)
            case KeyReused():
                found = ApiError(409, "idempotency_error", "key_reused", KEY_REUSED)
            case UnknownMeter():
                found = _wrong("unknown_meter", "meter", f"There is no meter {use.meter}. Meters: {self._meters}.")
            case UnknownMember():
                found = _wrong("unknown_user", "user", "There is no member of the team with this id.")
            case OutOfTime():
                found = _wrong("out_of_time", "occurred_at", OUT_OF_TIME)
            case _:
                raise refused
        return found

    @cached_property
    def _meters(self) -> str:
        return ", ".join(meter_names()) or "none"

    @cached_property
    def _base_url(self) -> str:
        return str(current_app.config["SETTINGS"].base_url)

    @cached_property
    def _buy_url(self) -> str:
        return self._base_url + buy_path(self._team_id)

    @cached_property
    def _auto_purchase(self) -> str:
        return standing(self._team_id)

    def _payment_required(self, refused: InsufficientCredits) -> ApiError:
        owed = f", and {refused.debt:,} are owed, which the next ones repay first" if refused.debt else ""
        message = f"This takes {refused.cost:,} credits and {refused.available:,} are left{owed}. Nothing was recorded."
        return ApiError(
            402,
            "insufficient_credits",
            "insufficient_credits",
            message,
            balance=refused.balance,
            available=refused.available,
            cost=refused.cost,
            shortfall=refused.shortfall,
            auto_purchase=self._auto_purchase,
            buy_url=self._buy_url,
        )

    def _limit_reached(self, use: Use, refused: IncludedUsedUp) -> ApiError:
        message = (
            f"The plan includes {refused.included:,} of {use.meter} a month, of which {refused.used:,} are used, and no more"
            " can be had with it. Nothing was recorded."
        )
        return ApiError(
            402,
            "usage_limit_reached",
            "usage_limit_reached",
            message,
            included=refused.included,
            used=refused.used,
            buy_url=self._base_url + url_for("catalog.pricing", team=self._team_id),
        )

    def _budget_exceeded(self, refused: BudgetExceeded) -> ApiError:
        of = "API key" if refused.kind == "api_key" else "member"
        units = refused.meter or "credits"
        message = (
            f"This takes {refused.takes:,} {units}, and the budget of this {of} has {max(refused.limit - refused.used, 0):,}"
            f" of {refused.limit:,} left for its month. Nothing was recorded."
        )
        takes = (
            {"cost": refused.takes} if refused.meter is None else {"meter": refused.meter, "quantity": refused.takes}
        )
        return ApiError(
            402,
            "budget_exceeded",
            "budget_exceeded",
            message,
            **takes,
            budget=refused.limit,
            used=refused.used,
            buy_url=self._base_url + url_for("usage.budgets", team_id=self._team_id),
        )


def _wrong(code: str, param: str, words: str) -> ApiError:
    return ApiError(422, "invalid_request_error", code, words, param=param)
