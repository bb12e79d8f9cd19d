"""How often somebody may try at the door, so that guessing is hopeless and nobody is locked out by a stranger.

Only failures count, for the account together with the address they come from. An account under attack from many
addresses leaves each of them one failure, and so does an address that failed often to each account, as behind one address
there may be a whole office. Unknown accounts are counted alike. Redis sees digests of accounts only.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

from flask import current_app
from werkzeug.exceptions import TooManyRequests

from portal.core.limits import Quota, Window, client_address, count, count_all, wait_seconds

FAILURES_FROM_ADDRESS = Quota("sign-in:address", "60 per 5 minutes")
# Beyond this nobody is let in from there: every look at a password costs us time.
MOST_FROM_ADDRESS = Quota("sign-in:address-most", "300 per 5 minutes")
FAILURES_OF_PAIR = Quota("sign-in:pair", "10 per 15 minutes")
FAILURES_OF_ACCOUNT = Quota("sign-in:account", "100 per hour")
FAILURE_UNDER_ATTACK = Quota("sign-in:attack", "1 per 15 minutes")
PROOFS = Quota("proof", "10 per 15 minutes")
# A code has six digits, and whoever may try it has given the right password.
CODES = (Quota("code:short", "5 per 15 minutes"), Quota("code:long", "20 per day"))
MAILS_FROM_ADDRESS = Quota("mails:address", "100 per hour")
# Of each kind, so that no mails of another kind use up those that somebody needs to get in.
MAILS_TO_ACCOUNT = Quota("mails:account", "5 per hour")
# The mails that ask whether an address may be used, whatever for.
NEW_ADDRESS = "new_address"
WARNINGS = Quota("warnings", "5 per hour")
# Mails in somebody's name to whoever they like. Those to one address are counted for all teams together, and apart from
# what strangers can make us send, so that nobody uses up the mails that somebody needs to get in.
INVITATIONS_OF_TEAM = (Quota("invitations:team", "20 per hour"), Quota("invitations:team-day", "60 per day"))
INVITATIONS_BY_PERSON = (Quota("invitations:person", "20 per hour"), Quota("invitations:person-day", "60 per day"))
INVITATIONS_TO_ADDRESS = Quota("invitations:address", "5 per hour")


def check_sign_in(email: str) -> None:
    """Before the password is looked at. Raises `TooManyRequests`."""
    address, account = client_address(), _account(email)
    _refuse(wait_seconds(MOST_FROM_ADDRESS, address))
    _refuse(wait_seconds(FAILURES_OF_PAIR, account, address))
    if wait_seconds(FAILURES_FROM_ADDRESS, address) or wait_seconds(FAILURES_OF_ACCOUNT, account):
        _refuse(wait_seconds(FAILURE_UNDER_ATTACK, account, address))


def note_failed_sign_in(email: str) -> None:
    address, account = client_address(), _account(email)
    count(MOST_FROM_ADDRESS, address)
    count(FAILURES_FROM_ADDRESS, address)
    count(FAILURES_OF_PAIR, account, address)
    count(FAILURES_OF_ACCOUNT, account)
    count(FAILURE_UNDER_ATTACK, account, address)


def check_proof(user_id: str) -> None:
    """Before a signed-in person's password is looked at once more. Raises `TooManyRequests`."""
    _refuse(wait_seconds(PROOFS, user_id))


def note_failed_proof(user_id: str) -> None:
    count(PROOFS, user_id)


def check_code(uniquifier: str) -> None:
    """Before a code is looked at. A new password makes a new `uniquifier`, and with it a new count."""
    for quota in CODES:
        _refuse(wait_seconds(quota, _digest(uniquifier)))


def note_failed_code(uniquifier: str) -> None:
    for quota in CODES:
        count(quota, _digest(uniquifier))


def check_mail_request() -> None:
    """Before a form is taken that sends a mail to whatever address it names. Raises `TooManyRequests`."""
    if not count(MAILS_FROM_ADDRESS, client_address()):
        _refuse(wait_seconds(MAILS_FROM_ADDRESS, client_address()))


def may_mail(email: str, kind: str = NEW_ADDRESS) -> bool:
    """Count a mail that a stranger can cause; beyond the quota none is sent, and the page says what it always says."""
    return count(MAILS_TO_ACCOUNT, kind, _account(email))


def may_warn(user_id: str) -> bool:
    """Count a warning that only a signed-in session can cause. No stranger's mails use it up."""
    return count(WARNINGS, user_id)


def may_invite(user_id: str, team_id: str, email: str) -> bool:
    """Count an invitation that is about to be mailed; whether the team, the person and the address may have it."""
    windows = [Window(quota, team_id) for quota in INVITATIONS_OF_TEAM]
    windows += [Window(quota, user_id) for quota in INVITATIONS_BY_PERSON]
    return count_all(*windows, Window(INVITATIONS_TO_ADDRESS, _account(email))).free


def _refuse(seconds: int) -> None:
    if seconds:
        raise TooManyRequests(retry_after=seconds)


def _account(email: str) -> str:
    """The same for every spelling by which the library finds the same person."""
    text = email.strip()
    with suppress(ValueError):  # not an address: counted as it was typed
        text = current_app.extensions["security"].mail_util.normalize(text)
    return _digest(text.lower())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
