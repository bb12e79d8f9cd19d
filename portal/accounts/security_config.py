"""How the accounts library is set: what it offers, at which addresses, in which words."""

from __future__ import annotations

from datetime import timedelta

from portal.accounts.freshness import FRESH_FOR
from portal.accounts.two_factor import METHOD, WINDOW_SECONDS, two_factor_keys
from portal.settings import Settings

TWO_FACTOR: dict[str, object] = {
    "SECURITY_TWO_FACTOR": True,
    "SECURITY_TWO_FACTOR_ENABLED_METHODS": [METHOD],
    "SECURITY_TWO_FACTOR_AUTHENTICATOR_VALIDITY": WINDOW_SECONDS,
    "SECURITY_TWO_FACTOR_ALWAYS_VALIDATE": True,
    "SECURITY_TWO_FACTOR_RESCUE_EMAIL": False,
    "SECURITY_TWO_FACTOR_TOKEN_VALIDATION_URL": "/login/code",
    "SECURITY_TWO_FACTOR_VERIFY_CODE_TEMPLATE": "security/code.html",
    "SECURITY_MULTI_FACTOR_RECOVERY_CODES": True,
    "SECURITY_MULTI_FACTOR_RECOVERY_CODES_N": 10,
    "SECURITY_MULTI_FACTOR_RECOVERY_URL": "/login/recovery-code",
    "SECURITY_MULTI_FACTOR_RECOVERY_TEMPLATE": "security/recovery_code.html",
    "SECURITY_TOTP_ISSUER": "Turnpike",
}

WORDS: dict[str, object] = {
    "SECURITY_MSG_GENERIC_AUTHN_FAILED": (
        "E-mail and password do not match, or the address is not confirmed yet.",
        "error",
    ),
    "SECURITY_MSG_INVALID_CONFIRMATION_TOKEN": (
        "This link is damaged or was replaced. Ask for a new one.",
        "error",
    ),
    "SECURITY_MSG_INVALID_RESET_PASSWORD_TOKEN": ("This link is damaged or was used. Ask for a new one.", "error"),
    "SECURITY_MSG_INVALID_EMAIL_ADDRESS": ("This is not an address mail can be sent to.", "error"),
    "SECURITY_MSG_CONFIRMATION_REQUEST": ("If this address waits for it, a link is on its way.", "info"),
    "SECURITY_MSG_PASSWORD_RESET_REQUEST": ("If this address has an account, a link is on its way.", "info"),
    "SECURITY_MSG_EMAIL_CONFIRMED": ("Your address is confirmed. Sign in to go on.", "success"),
    "SECURITY_MSG_INVALID_PASSWORD": ("This is not your password.", "error"),
    "SECURITY_MSG_REAUTHENTICATION_SUCCESSFUL": ("Thank you, go on.", "success"),
    "SECURITY_MSG_TWO_FACTOR_INVALID_TOKEN": (
        "This code is wrong or was used already. Wait for the next one.",
        "error",
    ),
    "SECURITY_MSG_TWO_FACTOR_LOGIN_SUCCESSFUL": ("You are signed in.", "success"),
    "SECURITY_MSG_TWO_FACTOR_PERMISSION_DENIED": ("Sign in with your password first.", "error"),
    "SECURITY_MSG_INVALID_RECOVERY_CODE": ("This is not one of your unused recovery codes.", "error"),
}


def security_config(settings: Settings) -> dict[str, object]:
    return {
        **TWO_FACTOR,
        **WORDS,
        "SECURITY_PASSWORD_SALT": settings.secret_key,
        "SECURITY_PASSWORD_HASH": "argon2",
        "SECURITY_PASSWORD_SCHEMES": ["argon2"],
        "SECURITY_DEPRECATED_PASSWORD_SCHEMES": [],
        "SECURITY_PASSWORD_SINGLE_HASH": True,
        # For fingerprints of password hashes in links: there is nothing to guess, so nothing to slow down.
        "SECURITY_HASHING_SCHEMES": ["hex_sha256"],
        "SECURITY_DEPRECATED_HASHING_SCHEMES": [],
        "SECURITY_PASSWORD_LENGTH_MIN": 8,
        "SECURITY_PASSWORD_CONFIRM_REQUIRED": False,
        "SECURITY_JOIN_USER_ROLES": False,  # roles belong to memberships
        "SECURITY_REGISTERABLE": True,
        "SECURITY_USE_REGISTER_V2": True,
        "SECURITY_CONFIRMABLE": True,
        "SECURITY_RECOVERABLE": True,
        "SECURITY_RETURN_GENERIC_RESPONSES": True,
        "SECURITY_FRESHNESS": FRESH_FOR,
        "SECURITY_FRESHNESS_GRACE_PERIOD": timedelta(),
        **two_factor_keys(settings),
        "SECURITY_CONFIRM_EMAIL_WITHIN": timedelta(days=2),
        "SECURITY_RESET_PASSWORD_WITHIN": timedelta(minutes=60),
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False, "test_environment": not settings.production},
        "SECURITY_EMAIL_SENDER": settings.mail_from,
        "SECURITY_LOGIN_URL": "/login",
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_REGISTER_URL": "/signup",
        "SECURITY_RESET_URL": "/reset",
        "SECURITY_CONFIRM_URL": "/confirm",
        "SECURITY_POST_LOGIN_VIEW": "/teams",
        "SECURITY_POST_LOGOUT_VIEW": "/pricing",
        "SECURITY_POST_REGISTER_VIEW": "/signup/check-mail",
        "SECURITY_POST_CONFIRM_VIEW": "/login",
        "SECURITY_UNAUTHORIZED_VIEW": None,
        "SECURITY_API_ENABLED_METHODS": ["session"],
        "SECURITY_DEFAULT_REMEMBER_ME": False,
        "SECURITY_REDIRECT_VALIDATE_MODE": "absolute",
        # Sessions are rows of ours; the library's own guesses at a stolen cookie would only end honest ones.
        "SESSION_PROTECTION": None,
    }
