"""Settings: read once from the environment into a frozen dataclass, refused when half configured."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from portal.core.rollout import Rollout, read_rollout

ROOT = Path(__file__).resolve().parent.parent
DEV_ENV = ROOT / "instance" / "dev.env"

STRIPE_API = "https://api.stripe.com"
STRIPE_HOSTED_PAGES = (
    "https://checkout.stripe.com",
    "https://billing.stripe.com",
    "https://invoice.stripe.com",
    "https://hooks.stripe.com",  # where a bank asks who is paying
)
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
TOKEN_CHARACTERS_MIN = 16
INSECURE_SECRETS = {"", "dev", "change-me", "changeme", "secret"}


class SettingsError(Exception):
    """The environment is incomplete or contradicts itself; the message names the variable and the way out."""


@dataclass(frozen=True)
class Settings:
    env: str
    secret_key: str
    secret_key_fallbacks: tuple[str, ...]
    base_url: str
    database_url: str
    database_owner_url: str
    redis_url: str | None
    stripe_secret_key: str
    stripe_webhook_secrets: tuple[str, ...]
    stripe_api_base: str
    hosted_page_origins: tuple[str, ...]
    catalog: str
    billing_enabled: bool
    billing_rollout: Rollout
    metrics_token: str | None
    alarm_mail: str | None
    sentry_dsn: str | None
    mail_url: str | None
    mail_from: str
    proxy_hops: int
    log_level: str
    port: int
    return_origins: tuple[str, ...]
    api_requests_per_minute: int
    web_threads: int

    @property
    def production(self) -> bool:
        return self.env == "production"

    @property
    def livemode(self) -> bool:
        """One instance is test or live, by its Stripe key."""
        return self.stripe_secret_key.startswith(("sk_live_", "rk_live_"))

    @property
    def sandbox_mode(self) -> bool:
        """Whether Stripe is the stand-in: the key is a test key and the calls do not go to Stripe."""
        return self.stripe_api_base != STRIPE_API

    @property
    def secure(self) -> bool:
        return self.base_url.startswith("https://")

    @property
    def trusted_hosts(self) -> list[str]:
        host = urlsplit(self.base_url).hostname or ""
        return [host] if self.production else sorted({host, "127.0.0.1", "localhost"})


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings. Raises `SettingsError` naming the first variable that is wrong."""
    env = _environment(os.environ if environ is None else environ, read_dev_env=environ is None)
    name = _one_of(env, "ENV", "development", ("development", "test", "production"))
    port = _integer(env, "PORT", 8000)
    database_url = _required(env, "DATABASE_URL", "`make run` starts a database of its own and writes instance/dev.env")
    settings = Settings(
        env=name,
        secret_key=_secret_key(env, name),
        secret_key_fallbacks=_list(env, "SECRET_KEY_FALLBACKS"),
        base_url=_origin(env, "BASE_URL", f"http://127.0.0.1:{port}"),
        database_url=_database_url(database_url),
        database_owner_url=_database_url(env.get("DATABASE_OWNER_URL") or database_url),
        redis_url=_redis_url(env.get("REDIS_URL")),
        stripe_secret_key=_required(env, "STRIPE_SECRET_KEY", "a secret or restricted key of your Stripe account"),
        stripe_webhook_secrets=_list(env, "STRIPE_WEBHOOK_SECRET"),
        stripe_api_base=_origin(env, "STRIPE_API_BASE", STRIPE_API),
        hosted_page_origins=STRIPE_HOSTED_PAGES + tuple(_origins(env, "HOSTED_PAGE_ORIGINS")),
        catalog=env.get("CATALOG") or "default",
        billing_enabled=_boolean(env, "BILLING_ENABLED", default=True),
        billing_rollout=_rollout(env),
        metrics_token=_metrics_token(env),
        alarm_mail=_alarm_mail(env),
        sentry_dsn=_sentry_dsn(env),
        mail_url=_mail_url(env.get("MAIL_URL")),
        mail_from=env.get("MAIL_FROM") or "billing@localhost",
        proxy_hops=_integer(env, "PROXY_HOPS", 0),
        log_level=_one_of(env, "LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        port=port,
        return_origins=tuple(_origins(env, "RETURN_ORIGINS")),
        api_requests_per_minute=_at_least_one(env, "API_REQUESTS_PER_MINUTE", 6_000),
        web_threads=_at_least_one(env, "WEB_THREADS", 16),
    )
    _check_stripe(settings)
    _check_production(settings, env)
    _check_mail(settings)
    return settings


def _environment(environ: Mapping[str, str], *, read_dev_env: bool) -> dict[str, str]:
    """The environment, completed from `instance/dev.env` so that commands can join a running development stack."""
    env = dict(environ)
    joining = read_dev_env and env.get("ENV", "development") != "production" and not env.get("DATABASE_URL")
    if joining and DEV_ENV.exists():
        return {key: value for key, value in dotenv_values(DEV_ENV).items() if value is not None} | env
    return env


def _check_stripe(settings: Settings) -> None:
    if not settings.stripe_secret_key.startswith(("sk_test_", "rk_test_", "sk_live_", "rk_live_")):
        raise SettingsError("STRIPE_SECRET_KEY must begin with sk_test_, rk_test_, sk_live_ or rk_live_")
    if not settings.stripe_webhook_secrets:
        raise SettingsError("STRIPE_WEBHOOK_SECRET is empty: without it no webhook can be trusted")
    if any(
        not secret.removeprefix("whsec_") or not secret.startswith("whsec_")
        for secret in settings.stripe_webhook_secrets
    ):
        raise SettingsError("STRIPE_WEBHOOK_SECRET must be a comma list of secrets that begin with whsec_")
    if settings.livemode and settings.env != "production":
        raise SettingsError("STRIPE_SECRET_KEY is a live key, so ENV must be production")
    if settings.livemode and settings.sandbox_mode:
        raise SettingsError("STRIPE_SECRET_KEY is a live key, so STRIPE_API_BASE must not point elsewhere")


def _check_production(settings: Settings, env: Mapping[str, str]) -> None:
    if not settings.production:
        return
    if not env.get("BASE_URL"):
        raise SettingsError("BASE_URL is required in production: links in mails are made from it")
    if not settings.mail_url:
        raise SettingsError("MAIL_URL is required in production: people confirm their address by mail")
    if not env.get("MAIL_FROM"):
        raise SettingsError("MAIL_FROM is required in production")
    if not env.get("PROXY_HOPS"):
        raise SettingsError("PROXY_HOPS is required in production: how many reverse proxies stand in front, 0 for none")
    if not settings.livemode and not _boolean(env, "ALLOW_TEST_MODE", default=False):
        raise SettingsError("STRIPE_SECRET_KEY is a test key in production; set ALLOW_TEST_MODE=true if that is meant")


def _check_mail(settings: Settings) -> None:
    """Without a mail server /dev/mail shows all mails to everybody, also the links that let their reader in."""
    if settings.mail_url is None and urlsplit(settings.base_url).hostname not in LOOPBACK:
        raise SettingsError("MAIL_URL is required unless BASE_URL is on 127.0.0.1 or localhost")


def _secret_key(env: Mapping[str, str], name: str) -> str:
    key = env.get("SECRET_KEY", "")
    if name == "production" and (key in INSECURE_SECRETS or len(key) < 32):
        raise SettingsError("SECRET_KEY must be at least 32 random characters in production")
    if not key:
        raise SettingsError("SECRET_KEY is required (any long random text)")
    return key


def _required(env: Mapping[str, str], name: str, hint: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is required: {hint}")
    return value


def _one_of(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name) or default
    if value not in allowed:
        raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def _integer(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name) or str(default)
    if not value.isascii() or not value.isdigit():
        raise SettingsError(f"{name} is {value!r}; it must be a whole number")
    return int(value)


def _at_least_one(env: Mapping[str, str], name: str, default: int) -> int:
    value = _integer(env, name, default)
    if value < 1:
        raise SettingsError(f"{name} is 0; it must be at least 1")
    return value


def _boolean(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = (env.get(name) or str(default)).lower()
    if value not in {"true", "false", "1", "0"}:
        raise SettingsError(f"{name} is {value!r}; it must be true or false")
    return value in {"true", "1"}


def _rollout(env: Mapping[str, str]) -> Rollout:
    try:
        return read_rollout(env.get("BILLING_ROLLOUT") or "all")
    except ValueError as error:
        raise SettingsError(f"BILLING_ROLLOUT: {error}") from error


def _metrics_token(env: Mapping[str, str]) -> str | None:
    token = env.get("METRICS_TOKEN") or None
    if token is not None and (len(token) < TOKEN_CHARACTERS_MIN or not token.isascii() or not token.isprintable()):
        raise SettingsError(f"METRICS_TOKEN must be at least {TOKEN_CHARACTERS_MIN} random ASCII characters")
    return token


def _alarm_mail(env: Mapping[str, str]) -> str | None:
    address = env.get("ALARM_MAIL") or None
    if address is not None and not re.fullmatch(r"[^@\s,]+@[^@\s,]+", address):
        raise SettingsError(f"ALARM_MAIL is {address!r}; it must be one mail address")
    return address


def _sentry_dsn(env: Mapping[str, str]) -> str | None:
    dsn = env.get("SENTRY_DSN") or None
    if dsn is not None:
        parts = urlsplit(dsn)
        if parts.scheme not in {"http", "https"} or not parts.username or not parts.path.strip("/"):
            raise SettingsError("SENTRY_DSN must be an address such as https://key@errors.example.com/1")
    return dsn


def _list(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _origin(env: Mapping[str, str], name: str, default: str) -> str:
    value = (env.get(name) or default).rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.username:
        raise SettingsError(f"{name} is {value!r}; it must be an origin such as https://billing.example.com")
    return value


def _origins(env: Mapping[str, str], name: str) -> list[str]:
    return [_origin({name: part}, name, "") for part in _list(env, name)]


def _database_url(value: str) -> str:
    """Accept the usual postgres:// spellings; the driver is psycopg 3."""
    for prefix in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if value.startswith(prefix):
            return "postgresql+psycopg://" + value.removeprefix(prefix)
    raise SettingsError("DATABASE_URL must begin with postgresql:// (PostgreSQL is the only database)")


def _redis_url(value: str | None) -> str | None:
    if not value or value == "none":
        return None
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError("REDIS_URL must begin with redis://, rediss:// or unix://, or be `none`")
    return value


def _mail_url(value: str | None) -> str | None:
    if not value:
        return None
    parts = urlsplit(value)
    try:
        known = parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        known = False
    if not known:
        raise SettingsError("MAIL_URL must be smtp:// or smtps:// with a host, such as smtp://user:password@host:587")
    return value
