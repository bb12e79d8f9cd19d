"""What metering and the ledger refuse, as the API's errors: whatever it is, nothing was done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app

from portal.billing.bundle_sale import buy_path
from portal.core.errors import ApiError
from portal.credits.ledger import InsufficientCredits
from portal.usage.metering import CreditsFrozen, KeyReused, MeterNotAvailable, UnknownMeter


@contextmanager
def refusals(team_id: str, meter: str | None) -> Iterator[None]:
    """Raises `ApiError` for what is refused inside: 402, 403, 409 or 422."""
    try:
        yield
    except InsufficientCredits as error:
        raise _payment_required(team_id, error) from error
    except CreditsFrozen as error:
        message = "The team's credits are frozen until its plan goes on: it is paused, or has to be paid. Nothing was recorded."
        raise ApiError(403, "permission_error", "credits_frozen", message) from error
    except KeyReused as error:
        message = "This Idempotency-Key was used for another request. Use a new key for a new use."
        raise ApiError(409, "idempotency_error", "key_reused", message) from error
    except UnknownMeter as error:
        known = ", ".join(error.known) or "none"
        message = f"There is no meter {error.name}. Meters that take credits: {known}."
        raise ApiError(422, "invalid_request_error", "unknown_meter", message, param="meter") from error
    except MeterNotAvailable as error:
        message = f"The meter {meter} is not paid in credits, and uses of it cannot be reported yet."
        raise ApiError(422, "invalid_request_error", "meter_not_available", message, param="meter") from error


def _payment_required(team_id: str, error: InsufficientCredits) -> ApiError:
    shortfall = error.cost - error.available
    return ApiError(
        402,
        "insufficient_credits",
        "insufficient_credits",
        f"This takes {error.cost:,} credits and {error.available:,} are left. Nothing was recorded.",
        balance=error.available,
        cost=error.cost,
        shortfall=shortfall,
        buy_url=current_app.config["SETTINGS"].base_url + buy_path(team_id),
    )
