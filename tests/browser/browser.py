"""Chromium for the tests: the one on the PATH, else Playwright's own, else Debian's package. Never a silent skip.

Of those on the PATH its shell without windows comes first: it draws the same pages, and no window that nobody sees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright

SHELL = "chromium-headless-shell"
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_SECONDS_MAX = 600

# Nothing but what a page asks for, and nothing that leaves this machine: other names do not resolve.
ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


class NoBrowserError(RuntimeError):
    """There is no Chromium and none could be had; the message says what was tried."""


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window. Raises `NoBrowserError` when there is none to be had."""
    # As root Chromium refuses to start with its own sandbox.
    arguments = [*ARGUMENTS, "--no-sandbox"] if os.geteuid() == 0 else list(ARGUMENTS)
    return playwright.chromium.launch(executable_path=find(playwright), args=arguments)


def find(playwright: Playwright) -> str:
    """The path of a Chromium, fetched if there is none yet. Raises `NoBrowserError`."""
    own = Path(playwright.chromium.executable_path)
    if found := on_path():
        return found
    if own.exists():
        return str(own)
    debian_root = os.geteuid() == 0 and shutil.which("apt-get") is not None
    # A bare container also lacks the libraries that Playwright's Chromium needs; only root may add those.
    libraries = ["--with-deps"] if debian_root else []
    tried = [_run(sys.executable, "-m", "playwright", "install", *libraries, "chromium")]
    if own.exists():
        return str(own)
    if debian_root:
        tried.append(_run("apt-get", "update"))
        # Older releases have only the whole.
        for package in (SHELL, "chromium"):
            tried.append(_run("apt-get", "install", "--yes", "--no-install-recommends", package))
            if found := on_path():
                return found
    raise NoBrowserError("no Chromium for the browser tests; put one on the PATH. Tried:\n" + "\n".join(tried))


def on_path() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


def _run(*command: str) -> str:
    """Run an installer to its end; returns what it came to, in words for a person."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"  {' '.join(command)}: {error}"
    return f"  {' '.join(command)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}"
