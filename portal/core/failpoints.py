"""Named places in the code where a test makes the process die, fail or wait. Nothing happens in production.

`FAILPOINT=name:kill9` kills the process as the kernel would, `name:raise` raises `FailpointError`, and
`name:hang:/a/file` waits for as long as the file is there.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import structlog
from flask import current_app

log = structlog.get_logger(__name__)

VARIABLE = "FAILPOINT"
LOOK_SECONDS = 0.02


class FailpointError(Exception):
    """What a failpoint raises when it was told to; also when it was told something it does not know."""


def failpoint(name: str) -> None:
    """Do what the environment asks for at this place; nothing unless it names it, and never in production."""
    wanted, _, what = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name or current_app.config["SETTINGS"].production:
        return
    log.warning("failpoint", name=name, what=what)
    action, _, argument = what.partition(":")
    if action == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "hang":
        while Path(argument).exists():
            time.sleep(LOOK_SECONDS)
    else:
        raise FailpointError(f"{name}: {what}")
