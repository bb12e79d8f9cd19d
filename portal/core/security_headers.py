"""Headers of every answer: a strict content policy, no framing, no sniffing, nothing private in a cache."""

from __future__ import annotations

from flask import Flask, Response, request

from portal.settings import Settings

PUBLIC_ENDPOINTS = {"static", "bundles.bundle", "catalog.pricing", "catalog.accent_css"}


def content_policy(settings: Settings) -> str:
    """`form-action` names the hosted pages too, since browsers check it on the redirect that follows a form."""
    forms = " ".join(("'self'", *settings.hosted_page_origins))
    return (
        f"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {forms}"
    )


def init_security_headers(app: Flask, settings: Settings) -> None:
    policy = content_policy(settings)
    # Nobody else sets these, so they are appended unlooked-at.
    always = [
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
    ]
    if settings.secure:
        always.append(("Strict-Transport-Security", "max-age=31536000; includeSubDomains"))

    @app.after_request
    def add(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", policy)
        headers.extend(always)
        if request.endpoint not in PUBLIC_ENDPOINTS:
            # What names its own state may be kept by whoever asked, who then asks whether it is still right.
            headers["Cache-Control"] = "private, no-cache" if "ETag" in headers else "no-store"
        return response
