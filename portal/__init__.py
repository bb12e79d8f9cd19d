"""Turnpike: a self-hosted billing portal for SaaS on Stripe.

Nothing heavy is imported here, because the stand-in for Stripe lives in this package and shares nothing with the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from portal.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask app, from `settings` or the environment. Raises `SettingsError` when they are half configured."""
    from flask import Flask
    from werkzeug.middleware.proxy_fix import ProxyFix

    from portal.core.bundles import init_bundles
    from portal.core.cookies import PeoplesSessions
    from portal.core.error_tracking import init_error_tracking
    from portal.core.errors import init_errors
    from portal.core.logging import configure_logging, init_request_logging
    from portal.core.metrics import init_metrics
    from portal.core.request_limits import init_request_limits
    from portal.core.same_origin import init_same_origin
    from portal.core.security_headers import init_security_headers
    from portal.core.static_files import init_static_files
    from portal.extensions import init_extensions
    from portal.features import modules
    from portal.settings import ROOT, load_settings

    settings = settings or load_settings()
    configure_logging(settings)
    init_error_tracking(settings)
    app = Flask(
        __name__,
        template_folder=str(ROOT / "templates"),
        static_folder=str(ROOT / "static"),
        instance_path=str(ROOT / "instance"),
    )
    app.config.from_mapping(_flask_config(settings))
    # No view and no hook is a coroutine. Flask would look at each of them anew in every request.
    app.ensure_sync = lambda func: func  # type: ignore[method-assign]
    app.session_interface = PeoplesSessions()
    if settings.proxy_hops:
        hops = settings.proxy_hops
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    init_request_logging(app)
    init_metrics(app, (read for module in modules("gauges") for read in module.GAUGES))
    init_errors(app)
    init_request_limits(app)
    init_same_origin(app, settings)
    init_extensions(app, settings)
    modules("models")
    for module in modules("setup"):
        module.init_app(app, settings)
    for module in modules("routes"):
        for blueprint in module.BLUEPRINTS:
            app.register_blueprint(blueprint)
    init_static_files(app)
    init_bundles(app)
    init_security_headers(app, settings)
    return app


def _flask_config(settings: Settings) -> dict[str, object]:
    return {
        "SETTINGS": settings,
        "SECRET_KEY": settings.secret_key,
        "SECRET_KEY_FALLBACKS": list(settings.secret_key_fallbacks),
        "TRUSTED_HOSTS": settings.trusted_hosts,
        "TESTING": settings.env == "test",
        "MAX_CONTENT_LENGTH": 1_000_000,
        "MAX_FORM_MEMORY_SIZE": 500_000,
        "MAX_FORM_PARTS": 200,
        "SESSION_COOKIE_NAME": "__Host-turnpike" if settings.secure else "turnpike",
        "SESSION_COOKIE_SECURE": settings.secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": 14 * 24 * 3600,
        "SESSION_REFRESH_EACH_REQUEST": False,
        "WTF_CSRF_TIME_LIMIT": None,
        # Our pages send no referrer, so it cannot be asked for; the origin is checked instead.
        "WTF_CSRF_SSL_STRICT": False,
        "JSON_SORT_KEYS": False,
    }
