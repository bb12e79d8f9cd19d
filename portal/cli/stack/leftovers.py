"""What an earlier run left behind when it was killed: found by marks only our own programs carry, and stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress

import psutil

from portal.cli.stack.configuration import MARK
from portal.cli.stack.folders import Folders

STOP_SECONDS_MAX = 60


def stop_leftovers(folders: Folders) -> int:
    """Stop the supervisor and programs of this folder that nobody holds any more; returns how many there were.

    To be called only by who holds the stack's lock. A program is ours when its environment names this folder, or,
    since PostgreSQL and Redis write over theirs, when it is one of these two and works in our data folder.
    """
    supervisors = [p for p in _marked(folders) if "supervisor.supervisord" in _command(p)]
    count = _stop(supervisors, signal.SIGTERM)
    count += _stop(_marked(folders), signal.SIGTERM)
    count += _stop(_working_in(folders.redis, "redis-server"), signal.SIGTERM)
    servers = _working_in(folders.postgres, "postgres")
    ids = {server.pid for server in servers}
    count += _stop([server for server in servers if _parent(server) not in ids], signal.SIGINT)
    _stop(_working_in(folders.postgres, "postgres"), signal.SIGQUIT)
    # What stands in it now is the number of a dead process, which may since be anybody's: PostgreSQL would not start.
    (folders.postgres / "postmaster.pid").unlink(missing_ok=True)
    return count


def _marked(folders: Folders) -> list[psutil.Process]:
    """Programs that carry our mark, but for PostgreSQL: it is stopped last and with a signal of its own."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid in own or process.name().startswith("postgres"):
                continue
            if process.environ().get(MARK) == str(folders.instance):
                found.append(process)
    return found


def _working_in(folder: os.PathLike[str], name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name().startswith(name) and process.cwd() == os.fspath(folder):
                found.append(process)
    return found


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _parent(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _stop(processes: Iterable[psutil.Process], how: signal.Signals) -> int:
    """Send `how`, wait, kill what is left. psutil compares start times, so a number given anew is never signalled."""
    found = list(processes)
    for process in found:
        with suppress(psutil.Error):
            process.send_signal(how)
    _, alive = psutil.wait_procs(found, timeout=STOP_SECONDS_MAX)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(found)
