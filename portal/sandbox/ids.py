"""Identifiers and secrets in the form Stripe gives them: a prefix that names the type, then random letters and digits."""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_PREFIX_ALPHABET = string.ascii_uppercase + string.digits


def random_text(length: int) -> str:
    """Return `length` random letters and digits that nobody can guess."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def digits(length: int) -> str:
    """Return `length` random digits, such as banks give to what they have done."""
    return "".join(secrets.choice(string.digits) for _ in range(length))


def new_id(prefix: str, length: int = 24) -> str:
    """Return a new identifier such as `sub_…`; `prefix` is given without the underscore."""
    return f"{prefix}_{random_text(length)}"


def invoice_prefix() -> str:
    """Return the eight capitals and digits that begin a customer's invoice numbers."""
    return "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(8))
