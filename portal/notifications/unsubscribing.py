"""The link in a mail that stops mails of its kind: signed, with nobody's address in it, and good for as long as the mail.

All it can do is switch off one kind of mail for one person, so it needs no end and no row.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer

from portal.core.addresses import own_address
from portal.core.derived_keys import derived_keys
from portal.notifications.kinds import KINDS

PURPOSE = "unsubscribe"


class NoSuchLink(Exception):
    """The link is damaged, or about a kind that is no more or cannot be switched off."""


@dataclass(frozen=True)
class Unsubscribing:
    user_id: str
    kind: str


def unsubscribe_address(user_id: str, kind: str) -> str:
    return own_address("inbox.unsubscribe", token=_serializer().dumps([user_id, kind]))


def read_token(token: str) -> Unsubscribing:
    """Raises `NoSuchLink`."""
    try:
        user_id, kind = _serializer().loads(token)
    except (BadSignature, ValueError, TypeError):
        raise NoSuchLink from None
    if kind not in KINDS or KINDS[kind].fixed or KINDS[kind].mail is None:
        raise NoSuchLink
    return Unsubscribing(user_id, kind)


def _serializer() -> URLSafeSerializer:
    """The signer takes the last key, and knows those before it."""
    keys = derived_keys(current_app.config["SETTINGS"], PURPOSE)
    return URLSafeSerializer(keys[::-1], salt=PURPOSE)
