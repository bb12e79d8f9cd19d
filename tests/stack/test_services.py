"""What every test stands on: a database of its own, roles with no more rights than in production, no way out."""

from __future__ import annotations

import socket

import psycopg
import pytest
from redis import Redis

from tests import services
from tests.loopback import LeftTheMachineError
from tests.services import DatabaseUrls, connect


def test_the_app_role_reads_rows_and_makes_no_tables(database_urls: DatabaseUrls) -> None:
    if database_urls.app == database_urls.owner:
        return  # the given server's user may not make roles; the header of the run says so
    with connect(database_urls.app) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("create table mine ()")
        assert connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (False,)


def test_the_database_is_migrated(database_urls: DatabaseUrls) -> None:
    with connect(database_urls.app) as connection:
        assert connection.execute("select count(*) from alembic_version").fetchone() == (1,)


def test_redis_is_a_database_we_claimed(redis_url: str) -> None:
    if redis_url == "none":
        return  # a run without Redis has nothing to show here
    assert not redis_url.endswith("/0")
    with Redis.from_url(redis_url) as client:
        assert client.exists(services.CLAIM)


def test_a_socket_cannot_leave_the_machine() -> None:
    with socket.socket() as outward, pytest.raises(LeftTheMachineError):
        outward.connect(("192.0.2.1", 80))
