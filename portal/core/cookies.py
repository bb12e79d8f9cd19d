"""Flask's session cookie, which is for people: what programs call neither reads one nor sets one."""

from __future__ import annotations

from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from portal.core.errors import API_PREFIX

FOR_PROGRAMS = (API_PREFIX, "/webhooks/")


class Forgotten(SecureCookieSession):
    """The session of a program, which proves itself by key or signature: empty, and not kept."""


class PeoplesSessions(SecureCookieSessionInterface):
    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return Forgotten() if request.path.startswith(FOR_PROGRAMS) else super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if not isinstance(session, Forgotten):
            super().save_session(app, session, response)
