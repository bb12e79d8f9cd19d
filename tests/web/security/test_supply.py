"""What the portal is made of and runs on: locked packages, vendored files, the queue, keys, the database's roles."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import zlib
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis
from rq.exceptions import DeserializationError
from rq.serializers import JSONSerializer
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import ProgrammingError

import worker
from portal.core import jobs
from portal.core.database import db
from portal.core.database_roles import append_only_tables
from portal.settings import SettingsError, load_settings

ROOT = Path(__file__).resolve().parents[3]
VENDOR = ROOT / "static" / "vendor"


@pytest.mark.parametrize("name", ["base", "dev"])
def test_s80_every_package_is_locked_with_its_hashes(name: str) -> None:
    lock = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=[a-zA-Z0-9])", re.sub(r"(?m)^\s*#.*\n", "", lock).strip())
    assert len(entries) > 30
    for entry in entries:
        first = entry.splitlines()[0]
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+-]+", first), first
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), first
    assert "--index-url" not in lock
    assert "://" not in lock


@pytest.mark.parametrize("name", ["base", "dev"])
def test_s80_what_is_asked_for_is_what_is_locked(name: str) -> None:
    wanted = (ROOT / "requirements" / f"{name}.in").read_text()
    lock = (ROOT / "requirements" / f"{name}.txt").read_text().lower().replace("_", "-")
    for line in wanted.splitlines():
        package = re.match(r"[A-Za-z0-9_.-]+", line)
        if package and not line.startswith(("#", "-")):
            assert re.search(rf"(?m)^{re.escape(package[0].lower().replace('_', '-'))}(\[|==)", lock), line


def test_s80_vendored_files_are_those_of_the_manifest() -> None:
    rows = re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", (VENDOR / "MANIFEST.md").read_text())
    for name, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
    files = {path.name for path in VENDOR.rglob("*") if path.is_file()} - {"MANIFEST.md", "LICENSES.txt"}
    assert files == {Path(name).name for name, _ in rows}, "every file has its line, and every line its file"


def test_s80_no_page_loads_anything_from_elsewhere() -> None:
    for path in (ROOT / "templates").rglob("*.html"):
        for found in re.findall(r'<(?:script|link|img|iframe|source)[^>]*?(?:src|href)="([^"]*)"', path.read_text()):
            assert not re.match(r"(https?:)?//", found), (path.name, found)


class Boom:
    """What a pickle could do to whoever reads it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle was executed')",))


def test_s73_a_job_is_json_without_arguments(app: Flask, redis_url: str) -> None:
    redis = _redis(redis_url)
    assert jobs.hint()
    (key,) = list(redis.scan_iter("rq:job:*"))
    data, description = (redis.execute_command("HGET", key, field) for field in ("data", "description"))
    assert json.loads(zlib.decompress(data)) == [jobs.DRAIN, None, [], {}]
    assert description == f"{jobs.DRAIN}()".encode()


def test_s73_a_pickle_in_the_queue_is_not_opened(app: Flask, redis_url: str) -> None:
    """Whoever can write to Redis can make the worker look, and nothing more."""
    redis = _redis(redis_url)
    assert jobs.hint()
    (key,) = list(redis.scan_iter("rq:job:*"))
    redis.execute_command("HSET", key, "data", pickle.dumps(Boom()))
    rq_worker = worker.QueueWorker(app, redis)
    assert rq_worker.serializer is JSONSerializer
    found = rq_worker.dequeue_job_and_maintain_ttl(1)
    assert found is not None
    with pytest.raises(DeserializationError):
        _ = found[0].func_name


def _redis(redis_url: str) -> Redis:
    if redis_url == "none":
        pytest.skip("there is no redis-server on this machine")
    redis = Redis.from_url(redis_url)
    for key in list(redis.scan_iter("rq:*")):
        redis.delete(key)
    return redis


PRODUCTION = {
    "ENV": "production", "SECRET_KEY": "k" * 32, "BASE_URL": "https://billing.example.com", "MAIL_URL": "smtp://mail.example.com",
    "MAIL_FROM": "billing@example.com", "DATABASE_URL": "postgresql://app@127.0.0.1/turnpike", "STRIPE_WEBHOOK_SECRET": "whsec_1",
    "PROXY_HOPS": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "environment", "starts"),
    [
        ("sk_live_1", {}, True),
        ("rk_live_1", {}, True),
        ("sk_test_1", {}, False),
        ("rk_test_1", {}, False),
        ("sk_test_1", {"ALLOW_TEST_MODE": "true"}, True),
        ("sk_live_1", {"ENV": "development"}, False),
        ("rk_live_1", {"ENV": "test"}, False),
        ("sk_live_1", {"STRIPE_API_BASE": "http://127.0.0.1:12111"}, False),
        ("pk_live_1", {}, False),
        ("whsec_1", {}, False),
    ],
)
def test_s74_a_key_of_the_wrong_mode_refuses_to_start(key: str, environment: dict[str, str], starts: bool) -> None:
    wanted = PRODUCTION | {"STRIPE_SECRET_KEY": key} | environment
    if starts:
        assert load_settings(wanted).stripe_secret_key == key
        return
    with pytest.raises(SettingsError) as refused:
        load_settings(wanted)
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    "statement",
    [
        "create table canary (id int)", "alter table users add column canary int", "drop table api_keys",
        "create index canary on users (email)", "create function canary() returns int language sql as 'select 1'",
        "alter table credit_entries disable trigger all", "create schema canary",
        "truncate teams", "update alembic_version set version_num = '0'", "set session_replication_role = replica",
        "create role canary", "copy users to program 'cat'", "alter role current_user superuser",
    ],
)  # fmt: skip
def test_s75_the_app_may_not_change_the_shape_of_anything(app: Flask, statement: str) -> None:
    _refused(app, statement)


def test_s75_history_can_only_be_added_to(app: Flask) -> None:
    tables = append_only_tables()
    assert {"credit_entries", "audit_entries"} <= set(tables)
    for table in tables:
        for statement in ("delete from {}", "truncate {}"):
            _refused(app, statement.format(table))
        update = text("select has_any_column_privilege(current_user, :table, 'UPDATE')")
        assert db.session.execute(update, {"table": table}).scalar_one() is False, table


def test_s75_history_is_guarded_by_triggers_too(app: Flask) -> None:
    """Where owner and app are one role, the triggers alone do it."""
    query = text(
        "select tgrelid::regclass::text from pg_trigger where tgenabled in ('O', 'A') and not tgisinternal"
        " and (tgtype & 8) > 0 and (tgtype & 16) > 0"
    )
    engine = create_engine(app.config["SETTINGS"].database_owner_url)
    with engine.connect() as connection:
        guarded = {row[0] for row in connection.execute(query)}
    engine.dispose()
    assert set(append_only_tables()) - guarded == set()


def _refused(app: Flask, statement: str) -> None:
    settings = app.config["SETTINGS"]
    if settings.database_url == settings.database_owner_url:
        pytest.skip("one role for owner and app: the given server lets us make no other")
    engine = create_engine(settings.database_url, poolclass=NullPool)
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be owner|must be superuser"),
        engine.begin() as one,
    ):
        one.execute(text(statement))
    engine.dispose()
