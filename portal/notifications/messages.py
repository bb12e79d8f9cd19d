"""The mails we send: one function a message, each with a folder of templates of its own name."""

from __future__ import annotations

from dataclasses import dataclass

from flask import render_template


@dataclass(frozen=True)
class Message:
    name: str
    recipient: str
    subject: str
    text: str
    html: str


def confirm_email(recipient: str, link: str) -> Message:
    return _render(
        "confirm_email", recipient, link=link, expires_in_words="2 days", why="you signed up with this address"
    )


def reset_password(recipient: str, link: str) -> Message:
    return _render(
        "reset_password",
        recipient,
        link=link,
        expires_in_words="60 minutes",
        why="a new password was asked for with this address",
    )


def password_reset_notice(recipient: str, link: str) -> Message:
    return _render("password_reset_notice", recipient, link=link, why="the password of your account was changed")


def already_registered(recipient: str, link: str) -> Message:
    return _render("already_registered", recipient, link=link, why="somebody signed up with this address")


def confirm_new_email(recipient: str, link: str) -> Message:
    return _render(
        "confirm_new_email",
        recipient,
        link=link,
        expires_in_words="60 minutes",
        why="an account is to use this address",
    )


def new_email_taken(recipient: str, link: str) -> Message:
    return _render("new_email_taken", recipient, link=link, why="another account was to use this address")


def email_changed_notice(recipient: str, new_email: str, link: str) -> Message:
    """To the old address and to the new one."""
    return _render(
        "email_changed_notice", recipient, new_email=new_email, link=link, why="the address of your account was changed"
    )


def two_factor_notice(recipient: str, state: str, link: str) -> Message:
    """`state`: on, off, or codes (new recovery codes were made)."""
    return _render(
        "two_factor_notice", recipient, state=state, link=link, why="the sign-in to your account was changed"
    )


def _render(name: str, recipient: str, **values: str) -> Message:
    context = {"recipient": recipient, **values}
    return Message(
        name=name,
        recipient=recipient,
        subject=" ".join(render_template(f"email/{name}/subject.txt", **context).split()),
        text=render_template(f"email/{name}/body.txt", **context),
        html=render_template(f"email/{name}/body.html", **context),
    )
