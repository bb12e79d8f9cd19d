"""One stack in a folder at a time. The lock is the kernel's, so that a killed holder never leaves it behind."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from portal.cli.stack.errors import StackError

STOP_SECONDS_MAX = 300


class StackLock:
    """Held by the process that runs the stack; the file tells which one that is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> Self:
        """Take the lock. Raises `StackError` when another process holds it."""
        if not self._take():
            raise StackError(
                f"Turnpike is already running in this folder (process {self.holder()}). Stop that one with Ctrl-C there, "
                "or with `make reset`, which also removes the data."
            )
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def holder(self) -> int | None:
        """The process that holds, or last held, the lock."""
        text = os.pread(self._file, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None

    def stop_holder(self) -> None:
        """Ask a running stack to stop and wait until it has; nothing when none runs. Raises `StackError` if it stays."""
        deadline = time.monotonic() + STOP_SECONDS_MAX
        asked = False
        while not self._take():
            pid = self.holder()
            if not asked and pid is not None and _is_runner(pid):
                os.kill(pid, signal.SIGTERM)
                asked = True
            if time.monotonic() > deadline:
                raise StackError(f"The running stack (process {pid}) does not stop.")
            time.sleep(0.1)
        os.ftruncate(self._file, 0)

    def _take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _is_runner(pid: int) -> bool:
    try:
        return "portal.cli.stack" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
