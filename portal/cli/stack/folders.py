"""Where the stack keeps its things: all under `instance/`, but for sockets whose path would be too long."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from portal.cli.stack.errors import StackError

# A unix socket's path has room for 107 bytes on Linux and 103 on macOS; PostgreSQL's name needs 18 of them.
SOCKET_FOLDER_BYTES_MAX = 80


@dataclass(frozen=True)
class Folders:
    """The places of one stack. `instance` is absolute; everything else follows from it."""

    instance: Path

    @property
    def postgres(self) -> Path:
        return self.instance / "postgres"

    @property
    def redis(self) -> Path:
        return self.instance / "redis"

    @property
    def logs(self) -> Path:
        return self.instance / "logs"

    @property
    def metrics(self) -> Path:
        return self.instance / "metrics"

    @property
    def lock(self) -> Path:
        return self.instance / "stack.lock"

    @property
    def secrets(self) -> Path:
        return self.instance / "secrets.json"

    @property
    def dev_env(self) -> Path:
        return self.instance / "dev.env"

    @property
    def sandbox_state(self) -> Path:
        return self.instance / "sandbox.db"

    @property
    def supervisor_config(self) -> Path:
        return self.instance / "supervisord.conf"

    @property
    def sockets(self) -> Path:
        """The folder of unix sockets: beside the data, or under the temporary folder when that path is too long."""
        near = self.instance / "sockets"
        if len(os.fsencode(near)) <= SOCKET_FOLDER_BYTES_MAX:
            return near
        name = hashlib.sha256(os.fsencode(self.instance)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"turnpike-{os.geteuid()}-{name}"

    def make(self) -> None:
        """Make the folders, closed to other users (run as root, the database's user must be able to pass through)."""
        passable = 0o711 if os.geteuid() == 0 else 0o700
        for folder, mode in (
            (self.instance, passable),
            (self.sockets, passable),
            (self.logs, 0o700),
            (self.redis, 0o700),
        ):
            make_private(folder, mode)

    def forget_counts(self) -> None:
        """Counters begin anew with the stack; the files of processes that are gone would be added up for ever."""
        shutil.rmtree(self.metrics, ignore_errors=True)
        make_private(self.metrics)

    def forget_sockets(self) -> None:
        """Remove what lies outside `instance` once nothing listens there any more."""
        if not self.sockets.is_relative_to(self.instance):
            shutil.rmtree(self.sockets, ignore_errors=True)


def make_private(folder: Path, mode: int = 0o700) -> None:
    """Make `folder` with `mode`. Raises `StackError` when somebody else's folder or a link stands there."""
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StackError(f"{folder} is not a folder of ours. Remove it, or run as the user who owns it.")
    if stat.S_IMODE(found.st_mode) != mode:
        folder.chmod(mode)


def write_private(path: Path, text: str) -> None:
    """Replace the file `path` in one step by one that only its owner may read."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
