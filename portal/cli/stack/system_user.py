"""PostgreSQL refuses to run as root: then it gets a user of its own, and a way through the folders above it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal.cli.stack.errors import StackError

NAME = "turnpike-postgres"
WAY_OUT = "Run as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own."


@dataclass(frozen=True)
class SystemUser:
    name: str
    uid: int
    gid: int

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments that make `subprocess` run a program as this user and nothing more."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def reach(self, folders: Sequence[Path], programs: Sequence[Path], notice: Callable[[str], None]) -> None:
        """Let this user pass through to `folders` and run `programs`. Raises `StackError` where that cannot be had.

        Passing is all that is opened (x for others): what lies in a private folder still cannot be listed.
        """
        above = {parent for folder in folders for parent in (folder, *folder.parents)}
        closed = sorted(folder for folder in above if not self._passes(folder))
        for folder in closed:
            try:
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)
            except OSError as error:
                raise StackError(
                    f"{self.name}, the user PostgreSQL runs as, cannot pass {folder} ({error}). {WAY_OUT}"
                ) from None
        known = [str(folder) for folder in closed if not folder.is_relative_to(sys.prefix)]
        if known:
            notice(f"PostgreSQL runs as the user {self.name}; opened for it (chmod o+x): {', '.join(known)}")
        self._make_runnable(programs)

    def _make_runnable(self, programs: Sequence[Path]) -> None:
        if all(self._runs(program) for program in programs):
            return
        installed = programs[0].parents[1]
        for part in (installed, *installed.parents[1].glob(f"{installed.parent.name}*.libs")):
            _open_for_reading(part)
        for program in programs:
            if not self._runs(program):
                raise StackError(f"{self.name}, the user PostgreSQL runs as, cannot run {program}. {WAY_OUT}")

    def _passes(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == self.gid else stat.S_IXOTH))

    def _runs(self, program: Path) -> bool:
        try:
            done = subprocess.run([str(program), "--version"], check=False, capture_output=True, cwd="/", **self.popen)
        except OSError:
            return False
        return done.returncode == 0


def postgres_user() -> SystemUser | None:
    """The user for the embedded server: none of its own unless we are root. Raises `StackError` if none can be made."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        _add()
        entry = pwd.getpwnam(NAME)
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _add() -> None:
    if shutil.which("useradd"):
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", NAME]
    elif shutil.which("adduser"):
        command = ["adduser", "-S", "-D", "-H", "-s", "/bin/false", NAME]
    else:
        raise StackError(f"PostgreSQL does not run as root, and there is no useradd to make a user for it. {WAY_OUT}")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise StackError(
            f"PostgreSQL does not run as root, and no user could be made for it: {done.stderr.strip()} {WAY_OUT}"
        )


def _open_for_reading(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            executable = path.is_dir() or mode & stat.S_IXUSR
            path.chmod(mode | 0o044 | (0o011 if executable else 0))
