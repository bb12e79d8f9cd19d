"""Which passwords are taken: long enough, and not what everybody tries first. No rules about signs and digits."""

from __future__ import annotations

from threading import Lock
from typing import Any

from flask_security import PasswordUtil
from zxcvbn import zxcvbn

# Of 0 to 4: 2 stands above a million guesses, which rules out every common password and its usual disguises.
SCORE_MIN = 2
# What is longer is judged by its beginning (the checker is slow on long text), and kept whole.
JUDGED_CHARACTERS_MAX = 64
# The library takes no more.
LENGTH_MAX = 128

# The checker keeps the known words in one place for the whole process.
_one_at_a_time = Lock()

TOO_COMMON = "This password is among the first that others would try. Use a few words that do not belong together."
TOO_LONG = f"A password has at most {LENGTH_MAX} characters."


class PasswordRules(PasswordUtil):
    """The library's length and Unicode form, then how easily the password is guessed."""

    def validate(self, password: str, is_register: bool, **kwargs: Any) -> tuple[list[str] | None, str]:
        if len(self.normalize(password)) > LENGTH_MAX:
            return [TOO_LONG], password
        errors, normal = super().validate(password, is_register, **kwargs)
        if not errors and guessable(normal, _known_of(kwargs)):
            errors = [TOO_COMMON]
        return errors, normal


def guessable(password: str, known: list[str]) -> bool:
    """Whether somebody who knows these words about its owner would soon guess the password."""
    with _one_at_a_time:
        judged = zxcvbn(password[:JUDGED_CHARACTERS_MAX], user_inputs=known)
    return bool(judged["score"] < SCORE_MIN)


def _known_of(given: dict[str, Any]) -> list[str]:
    """Address and name, of the form at sign-up and of the user later."""
    user = given.get("user")
    values = [getattr(user, name, "") if user is not None else given.get(name, "") for name in ("email", "name")]
    words = [word for value in values for word in str(value or "").replace("@", " ").replace(".", " ").split()]
    return [*map(str, values), *words, "turnpike", "billing"]
