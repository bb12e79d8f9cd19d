"""Rules of the house that a reviewer should not have to watch: who imports whom, and who may do what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from portal.features import FEATURES

ROOT = Path(__file__).resolve().parents[2]
PORTAL = ROOT / "portal"
SURFACES = ("webhooks", "api", "admin", "cli")
EDGES = ("routes", "jobs", "setup", "handlers", "cli", "apply", "receive")
RANK = {name: min(place, FEATURES.index("webhooks")) for place, name in enumerate(FEATURES)}


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Every module that a file names in an import, also inside functions."""
    tree = ast.parse(path.read_text())
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def python_files(folder: Path = PORTAL) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts)


def feature_of(path: Path) -> str:
    parts = path.relative_to(PORTAL).parts
    return parts[0] if len(parts) > 1 else ""


def is_edge(path: Path) -> bool:
    parts = path.relative_to(PORTAL).with_suffix("").parts
    return feature_of(path) in SURFACES or any(part in EDGES for part in parts[1:])


def features_named(path: Path) -> set[str]:
    named = {name.split(".")[1] for name in imports_of(path) if name.startswith("portal.") and name.count(".") >= 1}
    return named & (set(FEATURES) | {"sandbox"})


FILES = [path for path in python_files() if feature_of(path) in FEATURES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_domain_modules_import_downwards_only(path: Path) -> None:
    if is_edge(path):
        return
    own = RANK[feature_of(path)]
    upward = {name for name in features_named(path) - {feature_of(path)} if RANK.get(name, 99) >= own}
    assert not upward, f"{path.name} of {feature_of(path)} imports {upward}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_imports_an_edge_of_another_feature(path: Path) -> None:
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "portal" or len(parts) < 3 or parts[1] == feature_of(path):
            continue
        assert parts[1] == "core" or parts[2] not in ("routes", "jobs", "setup"), f"{path} imports {name}"
        assert parts[1] not in SURFACES or feature_of(path) in SURFACES, f"{path} imports the surface {name}"


def test_only_the_gateway_imports_stripe() -> None:
    users = {path for path in python_files() if any(name.split(".")[0] == "stripe" for name in imports_of(path))}
    assert users == {PORTAL / "billing" / "gateway.py"}


def test_only_core_commits() -> None:
    for path in python_files():
        if feature_of(path) in ("core", "sandbox"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            commits = isinstance(node, ast.Attribute) and node.attr == "commit"
            assert not commits or ast.unparse(node) == "unit_of_work.commit", f"{path} commits by itself"


def test_only_the_ledger_writes_entries_and_grants() -> None:
    writers = {"CreditEntry", "CreditConsumption"}
    for path in python_files():
        if path.parent.name == "credits" and path.name == "ledger.py":
            continue
        built = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not built & writers, f"{path} builds {built & writers}"


def test_the_stand_in_and_the_portal_do_not_know_each_other() -> None:
    for path in python_files():
        named = {name for name in imports_of(path) if name.startswith("portal.")}
        if feature_of(path) == "sandbox":
            assert all(name.startswith("portal.sandbox") for name in named), f"{path} imports {named}"
        elif path.relative_to(PORTAL).parts[:2] != ("cli", "stack"):
            assert not any(name.startswith("portal.sandbox") for name in named), f"{path} imports the stand-in"


def test_the_package_itself_imports_nothing_heavy() -> None:
    top = ast.parse((PORTAL / "__init__.py").read_text()).body
    eager = [node for node in top if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {getattr(node, "module", None) for node in eager} <= {"__future__", "typing"}


def test_rows_of_a_team_are_loaded_by_the_team() -> None:
    """A route never takes a row by its id alone; the development mailbox has no team."""
    for path in python_files():
        if "routes" not in path.parts or feature_of(path) == "notifications":
            continue
        assert "session.get(" not in path.read_text(), f"{path} loads a row without its team"


def test_no_floats_near_money() -> None:
    for feature in ("billing", "credits", "usage", "catalog"):
        for path in python_files(PORTAL / feature):
            names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
            assert "float" not in names, f"{path} uses float"
