"""Failpoints do what the environment says, where it says so, and nothing in production."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from portal.core.failpoints import VARIABLE, FailpointError, failpoint


@pytest.fixture
def bare_app(monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An app with settings and nothing else."""
    from tests.unit.core.test_settings import DEVELOPMENT, load

    app = Flask("bare")
    app.config["SETTINGS"] = load(DEVELOPMENT)
    return app


def test_only_the_named_point_fires(bare_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with bare_app.app_context():
        failpoint("here")
        monkeypatch.setenv(VARIABLE, "here:raise")
        failpoint("elsewhere")
        with pytest.raises(FailpointError):
            failpoint("here")


@pytest.mark.parametrize("action", ["raise", "kill9", "hang:/", "nonsense"])
def test_production_ignores_them(bare_app: Flask, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    bare_app.config["SETTINGS"] = replace(bare_app.config["SETTINGS"], env="production")
    monkeypatch.setenv(VARIABLE, f"here:{action}")
    with bare_app.app_context():
        failpoint("here")


def test_a_hanging_one_waits_for_its_file_to_go(
    bare_app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    held.touch()
    monkeypatch.setenv(VARIABLE, f"here:hang:{held}")
    passed = threading.Event()

    def go() -> None:
        with bare_app.app_context():
            failpoint("here")
        passed.set()

    thread = threading.Thread(target=go)
    thread.start()
    assert not passed.is_set()
    held.unlink()
    thread.join(60)
    assert passed.is_set()


def test_an_unknown_action_is_an_error_rather_than_nothing(bare_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "here:explode")
    with bare_app.app_context(), pytest.raises(FailpointError, match="explode"):
        failpoint("here")
