"""Settings are complete or refused; the message names the variable."""

from __future__ import annotations

import dataclasses

import pytest

from portal.settings import Settings, SettingsError, load_settings

DEVELOPMENT = {
    "SECRET_KEY": "a-long-random-text",
    "DATABASE_URL": "postgresql://app@127.0.0.1/turnpike",
    "STRIPE_SECRET_KEY": "sk_test_1",
    "STRIPE_WEBHOOK_SECRET": "whsec_1",
}
PRODUCTION = DEVELOPMENT | {
    "ENV": "production",
    "SECRET_KEY": "k" * 32,
    "BASE_URL": "https://billing.example.com",
    "STRIPE_SECRET_KEY": "sk_live_1",
    "MAIL_URL": "smtp://mail.example.com",
    "MAIL_FROM": "billing@example.com",
    "PROXY_HOPS": "1",
}


def load(base: dict[str, str], **changes: str | None) -> Settings:
    merged = {**base, **changes}
    return load_settings({name: value for name, value in merged.items() if value is not None})


def test_development_needs_little_and_says_what_it_chose() -> None:
    settings = load(DEVELOPMENT, PORT="8123")
    assert settings.base_url == "http://127.0.0.1:8123"
    assert settings.database_url.startswith("postgresql+psycopg://")
    assert settings.database_owner_url == settings.database_url
    assert settings.redis_url is None
    assert not settings.secure
    assert not settings.livemode
    assert settings.trusted_hosts == ["127.0.0.1", "localhost"]


def test_production_trusts_its_own_host_only() -> None:
    settings = load(PRODUCTION)
    assert settings.trusted_hosts == ["billing.example.com"]
    assert settings.secure
    assert settings.livemode
    assert not settings.sandbox_mode


def test_production_may_stand_without_a_proxy_when_that_is_said() -> None:
    assert load(PRODUCTION, PROXY_HOPS="0").proxy_hops == 0
    assert load(DEVELOPMENT).proxy_hops == 0


def test_several_webhook_secrets_while_one_rolls() -> None:
    assert load(DEVELOPMENT, STRIPE_WEBHOOK_SECRET="whsec_a, whsec_b").stripe_webhook_secrets == ("whsec_a", "whsec_b")


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(DEVELOPMENT).env = "production"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("base", "changes", "named"),
    [
        (DEVELOPMENT, {"DATABASE_URL": None}, "DATABASE_URL"),
        (DEVELOPMENT, {"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        (DEVELOPMENT, {"DATABASE_URL": "sqlite:///x.db"}, "DATABASE_URL"),
        (DEVELOPMENT, {"SECRET_KEY": None}, "SECRET_KEY"),
        (DEVELOPMENT, {"STRIPE_SECRET_KEY": None}, "STRIPE_SECRET_KEY"),
        (DEVELOPMENT, {"STRIPE_SECRET_KEY": "pk_test_1"}, "STRIPE_SECRET_KEY"),
        (DEVELOPMENT, {"STRIPE_SECRET_KEY": "sk_live_1"}, "ENV must be production"),
        (DEVELOPMENT, {"STRIPE_WEBHOOK_SECRET": None}, "STRIPE_WEBHOOK_SECRET"),
        (DEVELOPMENT, {"STRIPE_WEBHOOK_SECRET": " , "}, "STRIPE_WEBHOOK_SECRET"),
        (DEVELOPMENT, {"STRIPE_WEBHOOK_SECRET": "whsec_a,oops"}, "STRIPE_WEBHOOK_SECRET"),
        (DEVELOPMENT, {"STRIPE_WEBHOOK_SECRET": "whsec_"}, "STRIPE_WEBHOOK_SECRET"),
        (DEVELOPMENT, {"REDIS_URL": "127.0.0.1:6379"}, "REDIS_URL"),
        (DEVELOPMENT, {"PORT": "eighty"}, "PORT"),
        (DEVELOPMENT, {"ENV": "staging"}, "ENV"),
        (DEVELOPMENT, {"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        (DEVELOPMENT, {"BILLING_ENABLED": "maybe"}, "BILLING_ENABLED"),
        (DEVELOPMENT, {"BILLING_ROLLOUT": "25"}, "BILLING_ROLLOUT"),
        (PRODUCTION, {"ALLOW_TEST_MODE": "maybe", "STRIPE_SECRET_KEY": "sk_test_1"}, "ALLOW_TEST_MODE"),
        (DEVELOPMENT, {"BASE_URL": "billing.example.com"}, "BASE_URL"),
        (DEVELOPMENT, {"BASE_URL": "https://billing.example.com/portal"}, "BASE_URL"),
        (DEVELOPMENT, {"HOSTED_PAGE_ORIGINS": "javascript:alert(1)"}, "HOSTED_PAGE_ORIGINS"),
        (PRODUCTION, {"SECRET_KEY": "change-me"}, "SECRET_KEY"),
        (PRODUCTION, {"SECRET_KEY": "short"}, "SECRET_KEY"),
        (PRODUCTION, {"BASE_URL": None}, "BASE_URL"),
        (PRODUCTION, {"MAIL_URL": None}, "MAIL_URL"),
        (PRODUCTION, {"MAIL_URL": "mail.example.com:587"}, "MAIL_URL"),
        (PRODUCTION, {"MAIL_URL": "smtp+tls://mail.example.com"}, "MAIL_URL"),
        (PRODUCTION, {"MAIL_URL": "smtp://mail.example.com:smtp"}, "MAIL_URL"),
        (DEVELOPMENT, {"BASE_URL": "https://billing.example.com"}, "MAIL_URL is required"),
        (PRODUCTION, {"MAIL_FROM": None}, "MAIL_FROM"),
        (PRODUCTION, {"PROXY_HOPS": None}, "PROXY_HOPS is required in production"),
        (PRODUCTION, {"PROXY_HOPS": "one"}, "PROXY_HOPS"),
        (PRODUCTION, {"STRIPE_SECRET_KEY": "sk_test_1"}, "test key in production"),
        (PRODUCTION, {"STRIPE_API_BASE": "http://127.0.0.1:12111"}, "STRIPE_API_BASE"),
    ],
)
def test_half_configured_is_refused_by_name(base: dict[str, str], changes: dict[str, str | None], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load(base, **changes)
