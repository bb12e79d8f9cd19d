"""The guide of docs/developer.md, run as it stands: each block of shell in one shell, against a server on a port.

What a block prints is compared with the block that follows it: the same fields of the same types, and the same words
where they are no ids, moments, amounts or addresses.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.live import serving
from tests.web.api.backend import Backend, set_up_portal

ROOT = Path(__file__).resolve().parents[3]
HEADING = "## Integrate a product in ten minutes"
FENCE = re.compile(r"^```(sh|json|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== block {}"
# Texts that say which thing it is, and are the same in every answer.
WORDS = {"object", "type", "code", "kind", "mode", "key", "name", "meter", "status", "unit"}


@dataclass(frozen=True)
class Step:
    """A block of shell and what the guide says it prints."""

    shell: str
    kind: str
    printed: str


def steps() -> list[Step]:
    guide = (ROOT / "docs" / "developer.md").read_text().partition(HEADING)[2].partition("\n## ")[0]
    found: list[Step] = []
    for language, text in FENCE.findall(guide):
        if language == "sh":
            found.append(Step(text, "none", ""))
        else:
            found[-1] = replace(found[-1], kind=language, printed=text)
    return found


@pytest.fixture
def address(app: Flask, backend: Backend) -> Iterator[str]:
    """A server on which the guide's return addresses are allowed."""
    set_up_portal(app)
    settings = app.config["SETTINGS"]
    app.config["SETTINGS"] = replace(settings, return_origins=("https://app.example.com",))
    with serving(app) as address:
        yield address
    app.config["SETTINGS"] = settings


def run(address: str, key: str) -> list[str]:
    """What each block prints. All run in one shell that stops at the first mistake."""
    script = "".join(f"echo '{MARK.format(number)}'\n{step.shell}\necho\n" for number, step in enumerate(steps()))
    environment = {"PATH": os.environ["PATH"], "TURNPIKE": address, "TURNPIKE_KEY": key, "no_proxy": "*"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2000:]
    return [part.partition("\n")[2].strip() for part in done.stdout.split("=== block ")[1:]]


def test_the_guide_works_as_it_stands(address: str, backend: Backend) -> None:
    printed = run(address, backend.secret)
    assert len(printed) == len(steps()) >= 9
    for step, output in zip(steps(), printed, strict=True):
        if step.kind == "json":
            assert shape(json.loads(step.printed)) == shape(json.loads(output), like=json.loads(step.printed)), (
                step.shell
            )
        elif step.kind == "text":
            assert without_addresses(output) == without_addresses(step.printed.strip())
        else:
            assert output == ""
    assert printed[2] == printed[3], "the same use sent again is answered byte for byte"


def shape(value: Any, like: Any = None, name: str = "") -> Any:
    """The names and types of an answer, with its words. Of lists the first row counts; a guide may leave rows out.

    Of the entries of a map by key (features, meters) only those that the guide shows are looked at.
    """
    if isinstance(value, dict):
        names = like.keys() if isinstance(like, dict) and name in ("features", "meters") else value.keys()
        return {one: shape(value[one], like.get(one) if isinstance(like, dict) else None, one) for one in names}
    if isinstance(value, list):
        return "list"
    if isinstance(value, str):
        return value if name in WORDS else "text"
    return type(value).__name__


def without_addresses(text: str) -> str:
    return re.sub(r"http://\S+", "ADDRESS", text)
