"""Where the browser tests look for Chromium."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.browser import browser
from tests.browser.browser import NoBrowserError


@pytest.fixture
def playwright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Playwright whose own Chromium is not there, on a machine whose PATH is empty."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return SimpleNamespace(chromium=SimpleNamespace(executable_path=str(tmp_path / "own")))


def make_program(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_the_path_comes_before_playwrights_own(playwright: Any, tmp_path: Path) -> None:
    own = make_program(tmp_path / "own")
    assert browser.find(playwright) == own
    chromium = make_program(tmp_path / "bin" / "chromium")
    assert browser.find(playwright) == chromium
    shell = make_program(tmp_path / "bin" / "chromium-headless-shell")
    assert browser.find(playwright) == shell


def test_it_is_installed_when_there_is_none(playwright: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(command: list[str], **_: Any) -> Any:
        make_program(tmp_path / "own")
        return SimpleNamespace(stdout="", stderr="", returncode=0)

    monkeypatch.setattr(subprocess, "run", install)
    assert browser.find(playwright) == str(tmp_path / "own")


@pytest.mark.parametrize("there_is", ["chromium-headless-shell", "chromium"])
def test_debian_has_it_when_playwright_cannot_bring_its_own(
    playwright: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_is: str
) -> None:
    make_program(tmp_path / "bin" / "apt-get")
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def install(command: list[str], **_: Any) -> Any:
        found = command[0] == "apt-get" and command[-1] == there_is
        if found:
            make_program(tmp_path / "bin" / there_is)
        return SimpleNamespace(stdout="", stderr="", returncode=0 if found else 1)

    monkeypatch.setattr(subprocess, "run", install)
    assert browser.find(playwright) == str(tmp_path / "bin" / there_is)


def test_without_any_it_fails_aloud(playwright: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=1, stdout="", stderr="no way to the internet")
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: failed)
    with pytest.raises(NoBrowserError, match="no way to the internet"):
        browser.find(playwright)
