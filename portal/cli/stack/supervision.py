"""The supervisor that restarts what dies: its configuration, its start, and what we ask of it over its socket."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from portal.cli.stack import process
from portal.cli.stack.errors import StackError
from portal.cli.stack.folders import Folders, write_private
from portal.cli.stack.programs import Program

START_SECONDS_MAX = 20
ALIVE = {"STARTING", "RUNNING", "BACKOFF", "STOPPING"}

# Paths are relative to the folder it is started in, and commands come in by environment: in this file's format no
# quoting could save a folder called `a ;b %c`.
HEAD = """\
[supervisord]
nodaemon=true
silent=true
logfile=instance/logs/supervisor.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile=instance/supervisord.pid
identifier=turnpike
"""
CONTROL = """
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """
[program:{name}]
command=/bin/sh -c 'eval "exec $TURNPIKE_RUN_{variable}"'
priority={rank}
autostart=false
autorestart=true
startsecs=1
startretries=30
stopsignal={stop_signal}
stopwaitsecs={stop_seconds}
killasgroup={alone}
redirect_stderr=true
stdout_logfile=instance/logs/{name}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""


def configuration(programs: Sequence[Program], socket: str) -> str:
    """The supervisor's configuration. Nothing starts by itself: the runner starts each program when its time has come."""
    # Said outright, so that the supervisor does not warn of a root it would run as by chance.
    text = HEAD + ("user=root\n" if os.geteuid() == 0 else "") + CONTROL.format(socket=socket.replace("%", "%%"))
    for program in programs:
        text += PROGRAM.format(
            name=program.name,
            variable=program.name.upper(),
            rank=program.rank,
            stop_signal=program.stop_signal,
            stop_seconds=program.stop_seconds,
            # PostgreSQL takes its own children down; killing them beside it would look like a crash.
            alone="false" if program.name == "postgres" else "true",
        )
        text += f"user={program.user}\n" if program.user else ""
    return text


class Supervisor:
    """The supervisor process and its programs."""

    def __init__(
        self, folders: Folders, programs: Sequence[Program], environment: Mapping[str, str], root: Path
    ) -> None:
        self._folders = folders
        self._programs = programs
        self._root = root
        self._environment = dict(environment) | {
            f"TURNPIKE_RUN_{p.name.upper()}": shlex.join(p.command) for p in programs
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the supervisor itself. Raises `StackError` when it does not come up."""
        write_private(self._folders.supervisor_config, configuration(self._programs, self._socket))
        command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c"]
        self._process = process.start(
            [*command, str(self._folders.supervisor_config)],
            environment=self._environment,
            folder=self._root,
            output=self._folders.logs / "supervisor.out",
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if not self.alive() or time.monotonic() > deadline:
                log = self._folders.logs / "supervisor.out"
                raise StackError(f"The supervisor did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    @property
    def _socket(self) -> str:
        """Relative where it lies under the folder, as everything in the configuration."""
        path = self._folders.sockets / "supervisor.sock"
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)

    def start_program(self, name: str) -> None:
        """Start a program without waiting until it stands: who needs it asks it."""
        self._call("startProcess", name, False)

    def program_lives(self, name: str) -> bool:
        """Whether the supervisor still means to run it; after too many quick deaths it gives up."""
        return self.alive() and self._state(name) in ALIVE

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the programs, highest rank first and each rank only when the one before has ended, then the supervisor.

        Left to itself the supervisor does the same, but looks only once a second whether a program has ended.
        """
        if self._process is None:
            return
        with suppress(OSError, xmlrpc.client.Error):
            for rank in sorted({program.rank for program in self._programs}, reverse=True):
                self._stop_programs([program for program in self._programs if program.rank == rank])
            self._call("shutdown")
        process.stop(self._process, signal.SIGTERM, seconds_max=sum(p.stop_seconds for p in self._programs) + 10)

    def _stop_programs(self, programs: Sequence[Program]) -> None:
        for program in programs:
            with suppress(xmlrpc.client.Fault):  # it does not run
                self._call("stopProcess", program.name, False)
        # Past its time the supervisor kills a program, so that this ends.
        while any(self._state(program.name) in ALIVE for program in programs):
            time.sleep(0.05)

    def _state(self, name: str) -> str:
        return str(self._call("getProcessInfo", name)["statename"])

    def _answers(self) -> bool:
        try:
            self._call("getState")
        except OSError:
            return False
        return True

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        socket = f"unix://{self._folders.sockets / 'supervisor.sock'}"
        with xmlrpc.client.ServerProxy("http://127.0.0.1", SupervisorTransport(None, None, socket)) as server:
            return getattr(server.supervisor, method)(*arguments)
