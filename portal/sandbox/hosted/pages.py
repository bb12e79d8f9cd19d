"""What all hosted pages share: headers, and the plain page that says one thing."""

from typing import Any
from urllib.parse import urlsplit

from flask import Response, make_response, redirect, render_template

from portal.sandbox import wording
from portal.sandbox.sandbox import Sandbox


def show(
    sandbox: Sandbox, template: str, status: int = 200, *, form_target: str | None = None, **values: Any
) -> Response:
    """Return a page. `form_target` is an address that a form's answer may redirect to."""
    html = render_template(f"sandbox/{template}", money=wording.money, wording=wording, sandbox=sandbox, **values)
    return guard(make_response(html, status), form_target)


def plain_page(sandbox: Sandbox, status: int, heading: str, text: str, link: tuple[str, str] | None = None) -> Response:
    """Return a page that says one thing; `link` is the address and the words of the way on."""
    return show(sandbox, "message.html", status, heading=heading, text=text, link=link)


def guarded_redirect(address: str, form_target: str | None = None) -> Response:
    """Return the answer to a form that leads on to another page."""
    answer = redirect(address, 303)
    return guard(Response(answer.get_data(), 303, headers=dict(answer.headers)), form_target)


def guard(response: Response, form_target: str | None = None) -> Response:
    """Set the headers that keep a page to itself."""
    targets = "'self'" + (f" {origin(form_target)}" if form_target else "")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action {targets}"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def origin(url: str) -> str:
    """Return scheme, host and port of an address, as a source in a content security policy."""
    parts = urlsplit(url)
    if ":" in (parts.hostname or ""):
        return f"{parts.scheme}:"  # The policy's grammar has no IPv6 addresses.
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
