"""`flask doctor`: what is set up, what is missing, and what that means."""

from __future__ import annotations

import sys

import click
from flask import current_app
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from portal.billing.gateway import GatewayError, gateway
from portal.core import clock, health, jobs
from portal.core.database import db
from portal.core.unit_of_work import end_read
from portal.webhooks.models import StripeEvent

Check = tuple[bool, str, str]


@click.command("doctor")
def group() -> None:
    """Check settings, database, Redis, Stripe and the inbox. Exit code 1 when something must be mended."""
    checks = [_database(), _roles(), _clock(), _proxy(), _redis(), _billing(), _inbox(), _stripe()]
    for good, name, words in checks:
        click.echo(f"{'ok  ' if good else 'BAD '} {name:<10} {words}")
    sys.exit(0 if all(good for good, _, _ in checks) else 1)


def _database() -> Check:
    found = db.session.execute(text("select version_num from alembic_version")).scalar()
    version = db.session.execute(text("show server_version")).scalar()
    head = health.migration_head()
    return found == head, "database", f"PostgreSQL {version}, migration {found} of {head}"


def _roles() -> Check:
    settings = current_app.config["SETTINGS"]
    app, owner = make_url(settings.database_url).username, make_url(settings.database_owner_url).username
    if app == owner:
        return True, "roles", f"one role for both ({app}): triggers alone guard the history tables"
    return True, "roles", f"{owner} owns the tables, {app} may not change their shape"


def _clock() -> Check:
    ahead = clock.offset()
    production = current_app.config["SETTINGS"].production
    return not (production and ahead), "clock", f"moved by {ahead}" if ahead else "real time"


def _proxy() -> Check:
    """A warning and no more: production may well stand without a proxy, on a private network for one."""
    settings = current_app.config["SETTINGS"]
    if settings.proxy_hops:
        return True, "proxy", f"{settings.proxy_hops} in front, whose word on who asks is believed (PROXY_HOPS)"
    if settings.production:
        return True, "proxy", "WARNING: none (PROXY_HOPS=0); if one stands in front, all callers share one rate limit"
    return True, "proxy", "none in front (PROXY_HOPS=0)"


def _redis() -> Check:
    state = jobs.redis_state()
    words = {
        "ok": "answers; hints wake the worker at once",
        "none": "not configured; the worker polls",
        "degraded": "configured but away; the worker polls until it is back",
    }
    return state != "degraded", "redis", words[state]


def _billing() -> Check:
    settings = current_app.config["SETTINGS"]
    if not settings.billing_enabled:
        return True, "billing", "OFF (BILLING_ENABLED): pages are hidden, events are held until it is on again"
    return True, "billing", f"on for {settings.billing_rollout}"


def _inbox() -> Check:
    query = select(StripeEvent.state, func.count()).group_by(StripeEvent.state)
    counts = dict(db.session.execute(query).all())
    words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "empty"
    return not counts.get("dead"), "inbox", words


def _stripe() -> Check:
    end_read()
    settings = current_app.config["SETTINGS"]
    mode = "live" if settings.livemode else "test"
    try:
        gateway().find_prices(["turnpike_doctor"])
    except GatewayError as error:
        return False, "stripe", f"{settings.stripe_api_base} ({mode}): {error.message}"
    return True, "stripe", f"{settings.stripe_api_base} answers ({mode} mode)"
