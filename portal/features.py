"""The features in import order: a feature may import those before it. `create_app` and the migrations read this list."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

FEATURES = (
    "core",
    "accounts",
    "notifications",
    "exports",
    "catalog",
    "billing",
    "credits",
    "usage",
    "webhooks",
    "api",
    "cli",
)


def modules(name: str) -> list[ModuleType]:
    """The module `name` (models, routes, jobs, pages) of every feature that has one, in import order."""
    found = [f"portal.{feature}.{name}" for feature in FEATURES if find_spec(f"portal.{feature}.{name}")]
    return [import_module(module) for module in found]
