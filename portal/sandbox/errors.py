"""The errors of the wire, with Stripe's types and codes, in our own words."""

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """An answer with an `error` body.

    `keeps_effects` says that what was written before the error stays (a declined payment leaves its failed charge);
    every other error takes back what its request had begun.
    """

    keeps_effects = False
    headers: Mapping[str, str] = {}

    def __init__(
        self,
        status: int,
        error_type: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.code = code
        self.param = param
        self.extra = extra or {}

    def body(self, request_log_url: str) -> dict[str, Any]:
        """Return the JSON body; members without a value are left out, as Stripe does."""
        error: dict[str, Any] = {"message": self.message, "type": self.error_type, "request_log_url": request_log_url}
        if self.code:
            error["code"] = self.code
            error["doc_url"] = f"https://docs.stripe.com/error-codes/{self.code.replace('_', '-')}"
        if self.param:
            error["param"] = self.param
        return {"error": error | self.extra}


class CardError(ApiError):
    """402: the card was refused. What the attempt left behind (intent, failed charge, events) is kept."""

    keeps_effects = True

    def __init__(self, message: str, *, code: str, decline_code: str | None, extra: dict[str, Any]) -> None:
        more = dict(extra)
        if decline_code:
            more["decline_code"] = decline_code
        super().__init__(402, "card_error", message, code=code, extra=more)
        self.decline_code = decline_code


class RateLimitedError(ApiError):
    """429: too many requests; nothing was done. The reason is told in a header, as Stripe does."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            429,
            "invalid_request_error",
            "Request rate limit exceeded. Send fewer requests at a time, and try again with growing pauses.",
            code="rate_limit",
        )
        self.headers = {"Stripe-Rate-Limited-Reason": reason}


def rate_limited(reason: str) -> RateLimitedError:
    """429: `reason` names the limit, such as `global-rate`."""
    return RateLimitedError(reason)


class _TakenBackError(CardError):
    """The refusal of a card for what was to be done whole or not at all."""

    keeps_effects = False


def taken_back(error: ApiError) -> ApiError:
    """Return the same refusal for a request that then leaves nothing behind, not even the attempt."""
    if not isinstance(error, CardError):
        return error
    code = (error.code or "").replace("invoice_payment_intent", "subscription_payment_intent")
    return _TakenBackError(error.message, code=code, decline_code=error.decline_code, extra={})


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400: the request cannot be carried out as it stands."""
    return ApiError(400, "invalid_request_error", message, param=param, code=code)


def unknown_parameter(name: str, hint: str = "") -> ApiError:
    """400: the endpoint takes no parameter of this name."""
    message = f"Received unknown parameter: {name}" + (f". {hint}" if hint else "")
    return invalid(message, name, "parameter_unknown")


def missing_parameter(name: str) -> ApiError:
    """400: a required parameter was not sent."""
    return invalid(f"Missing required param: {name}.", name, "parameter_missing")


def no_such(label: str, object_id: str, param: str, *, in_path: bool) -> ApiError:
    """The id names nothing: 404 when it stands in the address, 400 when it stands in the body."""
    return ApiError(
        404 if in_path else 400,
        "invalid_request_error",
        f"No such {label}: '{object_id}'",
        code="resource_missing",
        param=param,
    )


def not_authenticated(message: str) -> ApiError:
    """401: no key, or not the key of this sandbox."""
    return ApiError(401, "invalid_request_error", message)


def unrecognised_url(method: str, path: str) -> ApiError:
    """404: no endpoint stands at this address."""
    return ApiError(404, "invalid_request_error", f"Unrecognized request URL ({method}: {path}).")


def idempotency_mismatch(key: str) -> ApiError:
    """400: the key was first used for another request."""
    return ApiError(
        400,
        "idempotency_error",
        f"The idempotency key '{key}' was first used with other parameters or at another endpoint. "
        "Use a new key for a new request.",
    )


def idempotency_in_use(key: str) -> ApiError:
    """409: a request with this key is being carried out right now."""
    return ApiError(
        409,
        "idempotency_error",
        f"Another request with the idempotency key '{key}' is still in progress. Try again in a moment.",
        code="idempotency_key_in_use",
    )
