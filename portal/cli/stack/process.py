"""Starting a program so that it dies with us, and never hears the terminal's Ctrl-C before we do."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from portal.cli.stack.system_user import SystemUser

PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    output: Path | None = None,
    user: SystemUser | None = None,
    if_orphaned: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `command` in `folder` with a session of its own; its output goes to the file `output`, or nowhere.

    On Linux the kernel sends `if_orphaned` should we be killed. Elsewhere the next start finds what was left.
    """
    with (output or Path(os.devnull)).open("ab") as sink:
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent(if_orphaned),  # noqa: PLW1509  one thread, and only two system calls in it
            **(user.popen if user else {}),
        )


def _die_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(how), 0, 0, 0)
        if os.getppid() != parent:  # killed in between
            os._exit(1)

    return ask


def stop(process: subprocess.Popen[bytes], how: signal.Signals, seconds_max: float) -> None:
    """Send `how`, wait, and kill what is still there after `seconds_max`."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
