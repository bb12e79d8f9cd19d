"""The version of the API, by the day it came out. There is one; what breaks readers will make another."""

from __future__ import annotations

from flask import request

from portal.core.errors import ApiError

API_VERSION = "2026-11-25"
VERSION_HEADER = "Turnpike-Version"


def refuse_other_versions() -> None:
    """Whoever asks for a version must get that one. Raises `ApiError` 400."""
    wanted = request.headers.get(VERSION_HEADER)
    if wanted is not None and wanted != API_VERSION:
        message = f"There is no version {wanted[:32]!a} of this API; it is {API_VERSION}."
        raise ApiError(400, "invalid_request_error", "unknown_version", message, param=VERSION_HEADER)
