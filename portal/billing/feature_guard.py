"""Routes that only some plans have: `@requires_feature` under `@team_page`, and `has_feature` in templates."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import g, request
from werkzeug.exceptions import Forbidden

from portal.accounts.access import current_team
from portal.billing.entitlements import effective
from portal.core.error_words import ErrorWords

View = TypeVar("View", bound=Callable[..., Any])
READING = frozenset({"GET", "HEAD", "OPTIONS"})


class FeatureMissing(Forbidden):
    """The team's plan does not have it."""

    words = ErrorWords(
        "Your plan does not include this",
        "Nothing was changed or charged.",
        "Another plan has it: see the plans, or ask an owner of the team.",
    )


class ReadingOnly(Forbidden):
    """What the subscription's state leaves of the plan is reading."""

    words = ErrorWords(
        "You can look, but not change anything at the moment",
        "The subscription is not in good order, so your plan is open for reading only. Nothing was changed or charged.",
        "Once the subscription is paid and running again, everything works as before.",
    )


def requires_feature(key: str) -> Callable[[View], View]:
    """403 unless the page's team has the feature; for whatever changes something also when it may only read."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **values: Any) -> Any:
            rights = effective(current_team().id)
            feature = rights.feature(key)
            if feature is None or not feature.enabled:
                raise FeatureMissing
            if rights.access != "full" and request.method not in READING:
                raise ReadingOnly
            return view(*args, **values)

        return cast(View, guarded)

    return decorate


def team_has(key: str) -> bool:
    """For templates: whether the page's team has the feature; False where no team is shown."""
    if "membership" not in g:
        return False
    feature = effective(current_team().id).feature(key)
    return feature is not None and feature.enabled
