"""What an error page says: what happened, what was not done, and the way out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorWords:
    title: str
    happened: str
    way_out: str


WORDS = {
    400: ErrorWords(
        "This request could not be read",
        "Something in it was damaged or out of date, for instance a form that was open for a long time. Nothing was changed or charged.",
        "Go back, load the page again and send the form once more.",
    ),
    401: ErrorWords(
        "Sign in first",
        "This page is for people who are signed in. Nothing was changed or charged.",
        "Sign in and you can go on from here.",
    ),
    403: ErrorWords(
        "Your role does not allow this",
        "Nothing was changed or charged.",
        "An owner of the team can do it for you or give you another role.",
    ),
    404: ErrorWords(
        "This page does not exist",
        "The address may be mistyped, or the page belongs to a team you are not in.",
        "Your own teams are one step away.",
    ),
    405: ErrorWords(
        "This address cannot be opened like that",
        "It answers to a button on another page. Nothing was changed or charged.",
        "Go back and use the button there.",
    ),
    413: ErrorWords(
        "That was too much to send",
        "The request is larger than we take. Nothing was changed or charged.",
        "Send less at once.",
    ),
    422: ErrorWords(
        "A field has a value we cannot use",
        "Nothing was changed or charged.",
        "Go back, load the page again and choose from what it offers.",
    ),
    429: ErrorWords(
        "Too many tries in a short time",
        "We slow down here to keep accounts and cards safe. Nothing was changed or charged.",
        "Wait a minute, then try again.",
    ),
    500: ErrorWords(
        "Something went wrong on our side",
        "We have been told about it. If you were about to pay, look at your overview first: a payment that went through stands there.",
        "Then try again.",
    ),
    503: ErrorWords(
        "We cannot answer right now",
        "The service is busy or being worked on, usually for less than a minute.",
        "Load the page again in a moment. Nothing is charged twice by trying again.",
    ),
}


def words_for(status: int) -> ErrorWords:
    """The words of a status; an unlisted one is told as its kind, the request's fault or ours."""
    return WORDS.get(status) or WORDS[500 if status >= 500 else 400]
