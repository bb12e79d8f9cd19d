"""What a stack consists of for a given wish: which servers are our own, the settings in force, the programs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from portal.cli.stack import configuration, database, programs, redis_server
from portal.cli.stack.configuration import Wish
from portal.cli.stack.errors import StackError
from portal.cli.stack.folders import Folders
from portal.cli.stack.postgres import EmbeddedPostgres
from portal.cli.stack.programs import Program
from portal.cli.stack.redis_server import EmbeddedRedis
from portal.settings import SettingsError, load_settings


@dataclass(frozen=True)
class Composition:
    """Worked out once, before anything starts."""

    wish: Wish
    folders: Folders
    postgres: EmbeddedPostgres | None
    redis: EmbeddedRedis | None

    @classmethod
    def of(cls, wish: Wish, folders: Folders) -> Composition:
        """Decide which servers to bring. Raises `StackError` where one cannot be had."""
        program = None if wish.redis_url else redis_server.program()
        return cls(
            wish,
            folders,
            postgres=None if wish.database_url else EmbeddedPostgres(folders.postgres, folders.sockets),
            redis=EmbeddedRedis(program, folders.redis) if program else None,
        )

    @cached_property
    def settings(self) -> dict[str, str]:
        """All settings in force."""
        url = self.wish.database_url
        owner = self.wish.given.get("DATABASE_OWNER_URL", url)
        if self.postgres:
            url, owner = (self.postgres.url(role, database.DATABASE) for role in (database.APP, database.OWNER))
        return configuration.settings_for(
            self.wish,
            configuration.kept_secrets(self.folders.secrets),
            database_url=url,
            database_owner_url=owner,
            redis_url=self.redis.url if self.redis else self.wish.redis_url or "none",
        )

    @property
    def environment(self) -> dict[str, str]:
        return configuration.environment_for(self.settings, self.wish, self.folders.instance)

    @property
    def programs(self) -> list[Program]:
        found = [programs.web(), programs.worker()]
        if self.wish.sandbox:
            found.append(programs.sandbox(self.wish.sandbox_port, self.wish.port, self.folders.sandbox_state))
        if self.redis:
            found.append(programs.redis(self.redis.command))
        if self.postgres:
            user = self.postgres.user
            found.append(programs.postgres(self.postgres.command, user.name if user else None))
        return found

    @property
    def demo(self) -> bool:
        """Demo data is made in development, and only against the stand-in."""
        switched_off = self.wish.given.get("BILLING_ENABLED", "").lower() in ("false", "0")
        return self.wish.sandbox and not self.wish.production and not switched_off

    def check(self) -> None:
        """Raise `StackError` when the application would refuse these settings."""
        try:
            load_settings(self.environment)
        except SettingsError as error:
            raise StackError(str(error)) from None
