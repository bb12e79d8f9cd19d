"""From a preset's name or a file's path to a checked catalog."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from babel.numbers import list_currencies

from portal.catalog.addon_reading import read_addon
from portal.catalog.consistency import check_consistency
from portal.catalog.coupon_reading import read_coupon, read_promotion_code
from portal.catalog.definition import (
    ACCESS_DEFAULT,
    CANCEL_NOW,
    DUNNING_DAYS,
    UPGRADE_GRANTS,
    Bundle,
    Catalog,
    CheckoutOptions,
    CompareGroup,
    Feature,
    Meter,
    Portal,
)
from portal.catalog.plan_reading import read_access, read_plan
from portal.catalog.toml_reading import CatalogError, Table, did_you_mean, whole_fault

PRESETS = Path(__file__).parent / "presets"
PRESET_NAME = re.compile(r"[a-z][a-z0-9_-]*")
KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
EMAIL = re.compile(r"[^@\s<>?&%]+@[^@\s<>?&%]+\.[^@\s<>?&%.]+")

FILE_BYTES_MAX = 1_000_000
PRICE_CENTS_MAX = 99_999_999  # Stripe's own limit
CREDITS_MAX = 1_000_000_000
MONTHS_MAX = 120
PURCHASES_MAX = 10_000
DUNNING_DAYS_MAX = 60


def load_catalog(name_or_path: str) -> Catalog:
    """The catalog of a preset (`default`) or of a file (`plans.toml`).

    Raises `CatalogError` that names every mistake at once, each with the file, the key and the reason.
    """
    path = _path_of(name_or_path)
    return read_catalog(_parsed(path), path.name)


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def _path_of(name_or_path: str) -> Path:
    if not PRESET_NAME.fullmatch(name_or_path):
        return Path(name_or_path)
    names = preset_names()
    if name_or_path not in names:
        reason = f"there is no such preset (presets: {', '.join(names)}){did_you_mean(name_or_path, names)}"
        raise CatalogError([f"{name_or_path}: {reason}; a path has to end in .toml"])
    return PRESETS / f"{name_or_path}.toml"


def _parsed(path: Path) -> dict[str, Any]:
    try:
        body = path.read_bytes()
        if len(body) > FILE_BYTES_MAX:
            raise CatalogError([f"{path}: the file is larger than {FILE_BYTES_MAX} bytes"])
        return tomllib.loads(body.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CatalogError([f"{path}: {_reading_fault(error)}"]) from error


def _reading_fault(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 (byte {error.start})"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return f"is not TOML: {error}"


def read_catalog(data: dict[str, Any], source: str) -> Catalog:
    """Build and check a catalog from parsed TOML. Raises `CatalogError`."""
    problems: list[str] = []
    root = Table(data, "", problems, source)
    portal = _read_portal(root.table("portal"))
    billing = root.table("billing")
    currency = _read_currency(billing)
    access = read_access(billing.table("access"), ACCESS_DEFAULT)
    catalog = Catalog(
        source=source,
        portal=portal,
        currency=currency,
        spend_order=billing.choice("spend_order", ("expiry", "kind"), "expiry"),
        trial_grant=billing.choice("trial_grant", ("full", "none"), "full"),
        zero_invoice_grant=billing.flag("zero_invoice_grant", default=True),
        checkout=_read_checkout(billing),
        meters=tuple(_read_meter(table) for table in _keyed(root, "meters")),
        features=tuple(_read_feature(table) for table in _keyed(root, "features")),
        plans=tuple(read_plan(table, position, access) for position, table in enumerate(_keyed(root, "plans"))),
        bundles=tuple(_read_bundle(table, position) for position, table in enumerate(_keyed(root, "bundles"))),
        addons=tuple(read_addon(table, position) for position, table in enumerate(_keyed(root, "addons"))),
        dunning_days=_read_dunning_days(billing),
        cancel_now=billing.choice("cancel_now", CANCEL_NOW, "no_refund"),
        upgrade_grant=billing.choice("upgrade_grant", UPGRADE_GRANTS, "difference"),
        pause=billing.flag("pause", default=True),
        compare=tuple(_read_compare(table) for table in root.tables("compare")),
        coupons=tuple(read_coupon(table) for table in _keyed(root, "coupons")),
        promotion_codes=tuple(read_promotion_code(table) for table in root.tables("promotion_codes")),
        usage_history_feature=billing.optional_text("usage_history_feature", length_max=40),
    )
    billing.close()
    root.close()
    problems += check_consistency(catalog)
    if problems:
        raise CatalogError(problems)
    return catalog


def _read_dunning_days(billing: Table) -> tuple[int, ...]:
    """Days after the first failed try, each later than the one before; an empty list sends nothing."""
    if not billing.has("dunning_days"):
        billing.raw("dunning_days")
        return DUNNING_DAYS
    days = billing.raw("dunning_days")
    if not isinstance(days, list) or any(whole_fault(day, 0, DUNNING_DAYS_MAX) for day in days):
        billing.problem(
            "dunning_days", f"must be a list of whole numbers from 0 to {DUNNING_DAYS_MAX}, such as [0, 3, 5, 7]"
        )
        return DUNNING_DAYS
    if sorted(set(days)) != days:
        billing.problem("dunning_days", "each day must come after the one before")
    return tuple(days)


def _keyed(root: Table, name: str) -> list[Table]:
    """The tables of a list whose entries have a key; from here on messages name them by it."""
    tables = root.tables(name)
    first: dict[str, str] = {}
    for table in tables:
        place, key = table.path, table.text("key", length_max=40)
        if key and not KEY.fullmatch(key):
            table.problem("key", f'"{key}" must begin with a letter and have only a-z, 0-9 and _ in it')
        elif key in first:
            table.problem("key", f'"{key}" is used twice; {first[key]} has it already')
        elif key:
            first[key] = place
            table.path, table.key = f"{name}.{key}", key
    return tables


def _read_portal(table: Table) -> Portal:
    portal = Portal(
        name=table.text("name", length_max=60),
        accent=table.text("accent"),
        support_url=_read_url(table, "support_url"),
        terms_url=_read_url(table, "terms_url"),
        privacy_url=_read_url(table, "privacy_url"),
        refund_url=_read_url(table, "refund_url"),
        refund_text=table.optional_text("refund_text"),
        quote_email=table.optional_text("quote_email"),
        price_notes=table.texts("price_notes"),
    )
    if portal.accent and not COLOUR.fullmatch(portal.accent):
        table.problem("accent", f'"{portal.accent}" must be a colour such as "#4456d8"')
    if portal.quote_email and not EMAIL.fullmatch(portal.quote_email):
        table.problem("quote_email", f'"{portal.quote_email}" must be an address such as "sales@example.com"')
    table.close()
    return portal


def _read_url(table: Table, key: str) -> str | None:
    url = table.optional_text(key, length_max=2000)
    if url is not None and not _followable(url):
        table.problem(key, f'"{url[:80]}" must be an address that begins with https://, http:// or mailto:')
    return url


def _followable(url: str) -> bool:
    if re.search(r'[\s"\'<>\\]', url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (
        bool(EMAIL.fullmatch(parts.path))
        if parts.scheme == "mailto"
        else (parts.scheme in ("http", "https") and bool(parts.hostname))
    )


def _read_currency(billing: Table) -> str:
    currency = billing.text("currency", length_max=3)
    if currency and currency.upper() not in list_currencies():
        billing.problem("currency", f'"{currency}" is not an ISO 4217 currency such as "usd"')
    elif currency != currency.lower():
        billing.problem("currency", f'"{currency}" must be written in small letters: "{currency.lower()}"')
    return currency


def _read_checkout(billing: Table) -> CheckoutOptions:
    return CheckoutOptions(
        promotion_codes=billing.flag("promotion_codes", default=False),
        tax_ids=billing.flag("tax_ids", default=False),
        automatic_tax=billing.flag("automatic_tax", default=False),
        require_terms=billing.flag("require_terms", default=False),
    )


def _read_meter(table: Table) -> Meter:
    mode = table.choice("mode", ("credits", "metered"))
    cost = table.whole("cost_credits", least=1, most=CREDITS_MAX)
    if mode == "credits" and not table.has("cost_credits"):
        table.problem("cost_credits", "is missing: in mode credits each use costs some")
    if mode == "metered" and table.has("cost_credits"):
        table.problem(
            "cost_credits", "has no meaning in mode metered; the plans say what is included and what more costs"
        )
    meter = Meter(
        key=table.key,
        name=table.text("name", length_max=60),
        mode=mode,
        cost_credits=cost,
        charge_failed=table.flag("charge_failed", default=False),
        when_unavailable=table.choice("when_unavailable", ("refuse", "allow"), "refuse"),
    )
    table.close()
    return meter


def _read_feature(table: Table) -> Feature:
    kind = table.choice("kind", ("switch", "limit", "text"))
    unit = table.optional_text("unit", length_max=30)
    if unit and kind != "limit":
        table.problem("unit", "has a meaning only for kind limit")
    feature = Feature(key=table.key, name=table.text("name", length_max=60), kind=kind, unit=unit)
    table.close()
    return feature


def _read_bundle(table: Table, position: int) -> Bundle:
    amount = table.whole("credits", least=1, most=CREDITS_MAX, required=True) or 0
    bundle = Bundle(
        key=table.key,
        name=table.optional_text("name", length_max=60) or f"{amount:,} credits",
        position=position,
        credits=amount,
        price_cents=table.whole("price_cents", least=1, most=PRICE_CENTS_MAX, required=True) or 0,
        expires_after_months=table.whole("expires_after_months", least=1, most=MONTHS_MAX),
        limit_per_month=table.whole("limit_per_month", least=1, most=PURCHASES_MAX),
        lookup_key=table.optional_text("lookup_key", length_max=200) or f"turnpike_bundle_{table.key}",
    )
    table.close()
    return bundle


def _read_compare(table: Table) -> CompareGroup:
    group = CompareGroup(title=table.text("title", length_max=60), rows=table.texts("rows"))
    if not group.rows and table.clean:
        table.problem("rows", "must name at least one row")
    table.close()
    return group
