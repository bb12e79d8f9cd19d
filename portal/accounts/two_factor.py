"""The second factor: codes of an authenticator app, each good once, and recovery codes for when the device is lost.

The library makes and checks them; here they are kept encrypted under SECRET_KEY, and a code that was used is not taken
again, whoever sends it at the same moment.
"""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any, cast

import qrcode
from flask import current_app
from flask_security import MfRecoveryCodesUtil, Totp
from passlib.exc import UsedTokenError
from passlib.totp import TOTP, AppWallet, TotpMatch
from qrcode.image.svg import SvgPathImage
from sqlalchemy import or_, update

from portal.accounts.models import User
from portal.core.database import db
from portal.core.derived_keys import derived_keys
from portal.settings import Settings

METHOD = "authenticator"
# Clocks of phones run apart by a little: the code before and after is taken too.
WINDOW_SECONDS = 30


class OneTimeCodes(Totp):
    """Remembers the last code of each person, so that one that was overheard is worth nothing."""

    def __init__(self, secrets: dict[str, str], issuer: str) -> None:
        """The first of `secrets` encrypts, all decrypt."""
        wallet = AppWallet(secrets, default_tag=next(iter(secrets)))
        self._totp = TOTP.using(issuer=issuer, wallet=wallet)

    def address(self, email: str, secret: str, issuer: str) -> str:
        """What an app reads from the picture. The issuer is the seller, whom the catalog names."""
        return str(self._totp.from_source(secret).to_uri(email, issuer=issuer))

    def get_last_counter(self, user: Any) -> int | None:
        return cast(User, user).tf_last_counter

    def set_last_counter(self, user: Any, tmatch: TotpMatch) -> None:
        """Raises `UsedTokenError` (which the caller takes for a wrong code) when another request was quicker."""
        unused = or_(User.tf_last_counter.is_(None), User.tf_last_counter < tmatch.counter)
        taken = db.session.execute(
            update(User).where(User.id == user.id, unused).values(tf_last_counter=tmatch.counter).returning(User.id)
        )
        if taken.one_or_none() is None:
            raise UsedTokenError


class RecoveryCodes(MfRecoveryCodesUtil):
    def check_recovery_code(self, user: Any, code: str) -> bool:
        """Look at the codes as they are once every other request that uses one is done."""
        db.session.refresh(user, with_for_update=True)
        return super().check_recovery_code(user, code)

    def delete_recovery_code(self, user: Any, code: str) -> bool:
        """By its value: a place in the list is another one as soon as some code cannot be decrypted any more."""
        before = user.mf_recovery_codes or []
        user.mf_recovery_codes = [stored for stored in before if self._decrypt_codes([stored]) != [code]]
        return len(user.mf_recovery_codes) < len(before)


def two_factor_keys(settings: Settings) -> dict[str, object]:
    """The library's settings for the keys. A key's name is made of the key, so that rotation renames none."""
    secrets = {hashlib.sha256(key).hexdigest()[:12]: key.hex() for key in derived_keys(settings, "totp secrets")}
    fernet = [base64.urlsafe_b64encode(key) for key in derived_keys(settings, "recovery codes")]
    return {"SECURITY_TOTP_SECRETS": secrets, "SECURITY_MULTI_FACTOR_RECOVERY_CODES_KEYS": fernet}


def is_on(user: User) -> bool:
    return bool(user.tf_primary_method and user.tf_totp_secret)


def new_secret() -> str:
    """A secret for an app, already encrypted."""
    return str(_security().totp_factory.generate_totp_secret())


def setup_values(user: User, secret: str, issuer: str) -> dict[str, str]:
    """What the page of the set-up shows: the picture for the camera and the key to type."""
    codes = _security().totp_factory
    address = codes.address(user.email, secret, issuer)
    return {"picture": _picture(address), "key": codes.get_totp_pretty_key(secret), "address": address}


def _picture(text: str) -> str:
    """A QR code as the address of an image, which a page may show without another request."""
    drawn = io.BytesIO()
    qrcode.make(text, image_factory=SvgPathImage, border=2).save(drawn)
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue()).decode()


def turn_on(user: User, secret: str, code: str) -> list[str] | None:
    """Ask for codes from now on, if `code` shows that the app has the secret; the recovery codes, or None."""
    security = _security()
    if not security.totp_factory.verify_totp(code, secret, user, WINDOW_SECONDS):
        return None
    security.datastore.tf_set(user, METHOD, totp_secret=secret)
    return new_recovery_codes(user)


def turn_off(user: User) -> None:
    datastore = _security().datastore
    datastore.tf_reset(user)
    datastore.mf_set_recovery_codes(user, None)
    user.tf_last_counter = None


def new_recovery_codes(user: User) -> list[str]:
    """Codes to print; those from before are void."""
    codes: list[str] = _security().mf_recovery_codes_util.create_recovery_codes(user)
    return codes


def recovery_codes_left(user: User) -> int:
    return len(user.mf_recovery_codes or [])


def _security() -> Any:
    return current_app.extensions["security"]
