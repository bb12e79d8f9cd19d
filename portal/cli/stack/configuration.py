"""What the stack is asked for, and the environment its programs get. `instance/dev.env` holds the same for others."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from portal.cli.stack.errors import StackError
from portal.cli.stack.folders import write_private

# Every program of a stack carries its folder under this name, so that the next start can tell leftovers from strangers.
MARK = "TURNPIKE_STACK"
# Where web and worker count together.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

PUBLISHED = (
    "ENV",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "BASE_URL",
    "PORT",
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "REDIS_URL",
    "STRIPE_API_BASE",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "HOSTED_PAGE_ORIGINS",
    "ALLOW_TEST_MODE",
    "SANDBOX_PORT",
    "RETURN_ORIGINS",
    "API_REQUESTS_PER_MINUTE",
    "CATALOG",
    "BILLING_ENABLED",
    "BILLING_ROLLOUT",
    "METRICS_TOKEN",
    "ALARM_MAIL",
    "SENTRY_DSN",
    "MAIL_URL",
    "MAIL_FROM",
    "PROXY_HOPS",
    "LOG_LEVEL",
)


@dataclass(frozen=True)
class Wish:
    """What the person at the keyboard set, in the environment or in `.env`; the environment wins."""

    given: Mapping[str, str]
    port: int
    sandbox_port: int

    @property
    def sandbox(self) -> bool:
        """Without a key of a Stripe account, the stand-in."""
        return not self.given.get("STRIPE_SECRET_KEY")

    @property
    def database_url(self) -> str:
        return self.given.get("DATABASE_URL", "")

    @property
    def redis_url(self) -> str:
        return self.given.get("REDIS_URL", "")

    @property
    def production(self) -> bool:
        return self.given.get("ENV") == "production"


def read_wish(environ: Mapping[str, str], dotenv: Path) -> Wish:
    """Read what was asked for. Raises `StackError` naming the variable that makes no sense."""
    in_file = {name: value for name, value in dotenv_values(dotenv).items() if value} if dotenv.exists() else {}
    given = in_file | {name: value for name, value in environ.items() if value}
    wish = Wish(given, _port(given, "PORT", 8000), _port(given, "SANDBOX_PORT", 12111))
    if wish.sandbox and wish.port == wish.sandbox_port:
        raise StackError(f"PORT and SANDBOX_PORT are both {wish.port}; they must differ.")
    if wish.sandbox and given.get("STRIPE_API_BASE"):
        raise StackError("STRIPE_API_BASE is set and STRIPE_SECRET_KEY is not. Set both, or neither for the stand-in.")
    return wish


def _port(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise StackError(f"{name} is {text!r}; it must be a port between 1 and 65535.")
    return int(text)


def kept_secrets(path: Path) -> dict[str, str]:
    """The secrets of this folder's stack, made once: sessions, demo data and the stand-in's state outlive a restart."""
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict) or {"SECRET_KEY", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"} - found.keys():
            raise StackError(
                f"{path} is damaged. Remove it to have new secrets made, or start afresh with `make reset`."
            )
        return found
    made = {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(24)}",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}",
    }
    write_private(path, json.dumps(made, indent=1) + "\n")
    return made


def settings_for(
    wish: Wish, kept: Mapping[str, str], *, database_url: str, database_owner_url: str, redis_url: str
) -> dict[str, str]:
    """All settings in force: what was asked for, completed."""
    settings = {name: wish.given[name] for name in PUBLISHED if name in wish.given}
    settings |= {
        "ENV": wish.given.get("ENV", "development"),
        "PORT": str(wish.port),
        "BASE_URL": wish.given.get("BASE_URL", f"http://127.0.0.1:{wish.port}"),
        "DATABASE_URL": database_url,
        "DATABASE_OWNER_URL": database_owner_url,
        "REDIS_URL": redis_url,
    }
    if not wish.production:
        settings.setdefault("SECRET_KEY", kept["SECRET_KEY"])
    if wish.sandbox:
        stand_in = f"http://127.0.0.1:{wish.sandbox_port}"
        settings |= {
            "STRIPE_API_BASE": stand_in,
            "STRIPE_SECRET_KEY": kept["STRIPE_SECRET_KEY"],
            "STRIPE_WEBHOOK_SECRET": kept["STRIPE_WEBHOOK_SECRET"],
            "HOSTED_PAGE_ORIGINS": ",".join(filter(None, (stand_in, wish.given.get("HOSTED_PAGE_ORIGINS")))),
            "SANDBOX_PORT": str(wish.sandbox_port),
        }
    return settings


def environment_for(settings: Mapping[str, str], wish: Wish, instance: Path) -> dict[str, str]:
    """The environment of every program of the stack."""
    metrics = {METRICS_FOLDER: str(instance / "metrics")}
    return {**metrics, **os.environ, **wish.given, **settings, MARK: str(instance), "PYTHONUNBUFFERED": "1"}


def publish(path: Path, settings: Mapping[str, str]) -> None:
    """Write the settings so that python-dotenv and a POSIX shell both read them."""
    lines = ["# Written by `make run`, removed when it stops. `set -a; . instance/dev.env` joins the running stack."]
    lines += [f"{name}={_quoted(settings[name])}" for name in PUBLISHED if settings.get(name)]
    write_private(path, "\n".join(lines) + "\n")


def _quoted(value: str) -> str:
    if "'" in value or "\n" in value:
        raise StackError(
            f"a setting with a quotation mark or a line break cannot be written to dev.env: {value[:20]}..."
        )
    return f"'{value}'"
