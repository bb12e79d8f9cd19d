"""The mails we send: one function a message, each with a folder of templates of its own name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

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


@dataclass(frozen=True)
class AlarmLine:
    kind: str
    subject: str
    raised_at: datetime
    meaning: str


def alarms(recipient: str, lines: list[AlarmLine]) -> Message:
    return _render("alarms", recipient, alarms=lines, why="ALARM_MAIL names this address")


def _render(name: str, recipient: str, **values: object) -> Message:
    context: dict[str, object] = {"recipient": recipient, **values}
    return Message(
        name=name,
        recipient=recipient,
        subject=" ".join(render_template(f"email/{name}/subject.txt", **context).split()),
        text=render_template(f"email/{name}/body.txt", **context),
        html=render_template(f"email/{name}/body.html", **context),
    )
