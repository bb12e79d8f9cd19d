"""The order of things: what `make run` starts, waits for, prints and stops again."""

from __future__ import annotations

import http.client
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError

from portal.cli.stack import configuration, database, interruption, ports, process, programs
from portal.cli.stack.composition import Composition
from portal.cli.stack.errors import StackError
from portal.cli.stack.follow import Follower
from portal.cli.stack.supervision import Supervisor

READY_SECONDS_MAX = 120
COMMAND_SECONDS_MAX = 600
TAIL_LINES = 25


def say(text: str) -> None:
    print(text, flush=True)


class Runner:
    """Brings one stack up and down again. `root` is the folder of the code."""

    def __init__(self, root: Path, stack: Composition) -> None:
        self._root = root
        self._stack = stack
        self._wish = stack.wish
        self._logs = stack.folders.logs
        self._supervisor = Supervisor(stack.folders, stack.programs, stack.environment, root)

    def up(self) -> None:
        """Start everything and wait until it serves. Raises `StackError` for what a person has to put right."""
        self._refuse_early()
        configuration.publish(self._stack.folders.dev_env, self._stack.settings)
        self._start_servers()
        self._command("Bringing the database up to date", programs.flask("db", "upgrade"))
        if self._wish.sandbox:
            self._start("sandbox", lambda: ports.answers(self._wish.sandbox_port))
        self._command("Bringing the catalog to Stripe", programs.flask("catalog", "sync"))
        say("Starting web and worker ...")
        self._supervisor.start_program("worker")
        self._start("web", self._ready)
        if self._stack.demo:
            self._command("Making demo data", programs.flask("demo", "seed"))

    def follow(self) -> None:
        """Show the logs until somebody asks to stop. Raises `StackError` when the supervisor itself ends."""
        follower = Follower([self._log(program.name) for program in self._stack.programs if program.shown])
        while self._supervisor.alive():
            interruption.check()
            for line in follower.lines():
                say(line)
            time.sleep(0.3)
        raise StackError(f"The supervisor ended, and with it everything else. See {self._log('supervisor')}.")

    def down(self) -> None:
        """Stop whatever was started: web and worker, the stand-in, Redis, PostgreSQL."""
        self._supervisor.stop()
        # It tells how to join a running stack; kept, it would send commands to a server that is gone.
        self._stack.folders.dev_env.unlink(missing_ok=True)

    def _refuse_early(self) -> None:
        """Everything that can be wrong with the wish is said before anything starts."""
        ports.check_free("PORT", self._wish.port)
        if self._wish.sandbox:
            ports.check_free("SANDBOX_PORT", self._wish.sandbox_port)
        self._stack.check()
        for variable in ("DATABASE_URL", "DATABASE_OWNER_URL"):
            if self._wish.given.get(variable):
                database.check_given(variable, self._wish.given[variable])
        if self._wish.redis_url not in ("", "none"):
            _look_at_redis(self._wish.redis_url)

    def _start_servers(self) -> None:
        postgres, redis = self._stack.postgres, self._stack.redis
        if postgres:
            if not postgres.data.exists():
                say(f"Making a PostgreSQL database in {postgres.data} ...")
            postgres.prepare(say)
        if redis:
            redis.prepare()
        self._stack.folders.forget_counts()
        self._supervisor.start()
        if postgres:
            self._supervisor.start_program("postgres")
        if redis:
            self._supervisor.start_program("redis")
            redis.wait(lambda: self._lives("redis"))
        elif self._stack.settings["REDIS_URL"] == "none":
            say("No Redis: the worker looks for work every two seconds.")
        if postgres:
            try:
                postgres.wait(lambda: self._lives("postgres"))
            except StackError as error:
                raise self._failure("postgres", str(error)) from None
            database.make_roles(postgres)

    def _start(self, name: str, ready: Callable[[], bool]) -> None:
        """Start a supervised program and wait until it is `ready`. Raises `StackError` with the end of its log."""
        self._supervisor.start_program(name)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not ready():
            if not self._lives(name):
                raise self._failure(name, f"{name} does not stay up.")
            if time.monotonic() > deadline:
                raise self._failure(name, f"{name} is not ready after {READY_SECONDS_MAX} s.")
            time.sleep(0.1)

    def _lives(self, name: str) -> bool:
        """Whether a program is kept up, asked in every wait for it: also the place to notice a wish to stop."""
        interruption.check()
        return self._supervisor.program_lives(name)

    def _ready(self) -> bool:
        """Whether the portal says it can serve, asked under the name people will use."""
        connection = http.client.HTTPConnection("127.0.0.1", self._wish.port, timeout=5)
        try:
            host = urlsplit(self._stack.settings["BASE_URL"]).netloc
            connection.request("GET", "/readyz", headers={"Host": host})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _command(self, what: str, command: Sequence[str]) -> None:
        """Run one of our commands to its end. Raises `StackError` with what it had to say if it fails."""
        interruption.check()
        say(f"{what} ...")
        self._log("setup").unlink(missing_ok=True)
        running = process.start(
            command, environment=self._stack.environment, folder=self._root, output=self._log("setup")
        )
        deadline = time.monotonic() + COMMAND_SECONDS_MAX
        try:
            while running.poll() is None and time.monotonic() < deadline:
                interruption.check()
                time.sleep(0.05)
        finally:
            process.stop(running, signal.SIGTERM, seconds_max=10)
        if running.returncode:
            raise self._failure("setup", f"{what}: failed.")

    def _failure(self, log: str, text: str) -> StackError:
        tail = self._log(log).read_text(errors="replace").splitlines()[-TAIL_LINES:] if self._log(log).exists() else []
        return StackError("\n".join([text, *(f"    {line}" for line in tail)]))

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def _look_at_redis(url: str) -> None:
    """Say so when the given Redis is away: everything works without it, later."""
    try:
        Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3).ping()
    except (RedisError, OSError, ValueError) as error:
        say(f"REDIS_URL does not answer ({error}). Going on without: the worker looks for work every two seconds.")
