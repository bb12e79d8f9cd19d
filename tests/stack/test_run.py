"""`make run` from start to stop, with small programs in the places of the portal's."""

from __future__ import annotations

import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.services import connect
from tests.stack.running import Run, living, make_root, until


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all: each start after the first finds its database made. Whatever fails, nothing is left."""
    made = make_root(tmp_path_factory.mktemp("stack") / "a folder; with #odd %(names)s")
    yield made
    for left in living(made):
        left.kill()


@pytest.fixture
def up(root: Path) -> Iterator[Run]:
    with Run(root) as run:
        run.wait_up()
        yield run


def test_it_serves_tells_how_to_join_and_leaves_nothing(up: Run, root: Path) -> None:
    assert up.master()
    settings = up.dev_env
    assert stat.S_IMODE((root / "instance" / "dev.env").stat().st_mode) == 0o600
    assert settings["BASE_URL"] == f"http://127.0.0.1:{up.port}"
    assert settings["STRIPE_API_BASE"] == f"http://127.0.0.1:{up.sandbox_port}"
    assert str(settings["STRIPE_SECRET_KEY"]).startswith("sk_test_")
    assert str(settings["STRIPE_WEBHOOK_SECRET"]).startswith("whsec_")
    for name, role in (("DATABASE_URL", "turnpike_app"), ("DATABASE_OWNER_URL", "turnpike_owner")):
        with connect(str(settings[name])) as connection:
            query = "select current_user::text, rolsuper from pg_roles where rolname = current_user"
            assert connection.execute(query).fetchone() == (role, False)

    assert up.stop(signal.SIGINT) == 0
    assert living(root) == []
    assert not (root / "instance" / "dev.env").exists()


def test_the_commands_run_in_order_as_the_owner(up: Run, root: Path) -> None:
    commands = (root / "commands.log").read_text().splitlines()[-3:]
    assert [" ".join(line.split()[:2]) for line in commands] == ["db upgrade", "catalog sync", "demo seed"]
    assert all("turnpike_owner@" in line for line in commands)


def test_what_dies_comes_back(up: Run) -> None:
    before = up.master()
    assert before
    psutil.Process(before).kill()
    until(lambda: up.master() not in (None, before), "a new web server")
    assert up.stop(signal.SIGTERM) == 0


def test_secrets_outlive_a_restart(root: Path) -> None:
    names = ("SECRET_KEY", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET")
    seen = []
    for _ in range(2):
        with Run(root) as run:
            run.wait_up()
            seen.append([run.dev_env[name] for name in names])
    assert seen[0] == seen[1]


def test_a_second_start_in_the_folder_is_refused(up: Run, root: Path) -> None:
    with Run(root) as second:
        assert second.process.wait(60) == 1
        assert f"already running in this folder (process {up.process.pid})" in second.output
    assert up.master()


def test_a_start_after_a_massacre_finds_and_stops_what_was_left(root: Path) -> None:
    with Run(root) as run:
        run.wait_up()
        supervisors = [p for p in living(root) if "supervisor.supervisord" in p.cmdline()]
        run.process.kill()
        for supervisor in supervisors:
            supervisor.kill()
        run.process.wait(60)
        assert living(root)

        with Run(root) as again:
            again.wait_up()
            assert "a killed run had left" in again.output
            assert again.stop(signal.SIGTERM) == 0
        assert living(root) == []


def test_a_killed_runner_takes_everything_with_it(up: Run, root: Path) -> None:
    up.process.kill()
    up.process.wait(60)
    until(lambda: not living(root), "the programs to end")


def test_ctrl_c_while_it_is_setting_up(root: Path) -> None:
    (root / "hold").touch()
    try:
        with Run(root) as run:
            until(lambda: "up to date ..." in run.output or run.process.poll() is not None, "the migrations")
            assert run.stop(signal.SIGINT) == 0
            assert living(root) == []
            assert not (root / "instance" / "dev.env").exists()
    finally:
        (root / "hold").unlink()


@pytest.mark.parametrize("variable", ["PORT", "SANDBOX_PORT"])
def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path, variable: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with Run(make_root(tmp_path / "root"), {variable: str(port)}) as run:
            assert run.process.wait(60) == 1
            assert f"Port {port} ({variable}) is taken" in run.output
            assert "Traceback" not in run.output
    assert not (tmp_path / "root" / "instance" / "postgres").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"PORT": "eighty"}, "PORT is 'eighty'"),
        ({"DATABASE_URL": "mysql://host/name"}, "DATABASE_URL must begin with postgresql://"),
        ({"DATABASE_URL": "postgresql://me:hush@127.0.0.1:9/x"}, "does not lead to a database"),
        ({"STRIPE_SECRET_KEY": "sk_test_mine"}, "STRIPE_WEBHOOK_SECRET is empty"),
        ({"STRIPE_SECRET_KEY": "pk_test_mine", "STRIPE_WEBHOOK_SECRET": "whsec_x"}, "STRIPE_SECRET_KEY must begin"),
    ],
)
def test_a_setting_that_cannot_be_is_told(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    with Run(make_root(tmp_path / "root"), settings) as run:
        assert run.process.wait(60) == 1
        assert message in run.output
        assert "Traceback" not in run.output
        assert "hush" not in run.output
